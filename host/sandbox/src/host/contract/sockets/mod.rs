//! `interface sockets`: the sockets that a guest holds.

#![allow(clippy::needless_pass_by_value, reason = "the Linker gives its functions values")]

mod flags;
mod options;

use std::io;
use std::net::Shutdown;
use std::time::Duration;

use socketserver::{Reason, Request};
use wasmtime::component::{Linker, Resource, ResourceType, WasmList};
use wasmtime::{Result, StoreContextMut};

use crate::host::bindings::types::{self, ErrorCode, ShutdownHow};
use crate::host::state::State;
use crate::host::unreachable::unreachable_client;
use crate::host::waits::{Waits, define_waiting};
use crate::limits::kill::Kill;

use crate::host::contract::address::GuestAddress;
use crate::host::contract::errno::error_code;
use crate::host::contract::{network, server};

pub(in crate::host::contract) const NAME: &str = "socketserver:handler/sockets@0.1.0";

/// The longest timeout, in seconds. Longer ones count as none, because
/// `Duration::from_secs_f64` has a limit too.
const MAX_TIMEOUT: f64 = 1e9;

/// The first number that `fileno` returns. Elsewhere the numbers below it are those of the
/// standard streams.
const FIRST_FILENO: u32 = 3;

pub(in crate::host::contract) type Cx<'a> = StoreContextMut<'a, State>;
pub(in crate::host::contract) type Socket = Resource<Request>;
/// The result of a host call. An outer error ends the guest; the guest receives an inner
/// error.
pub(in crate::host::contract) type HostResult<T> = Result<(std::result::Result<T, ErrorCode>,)>;

pub(in crate::host::contract) fn add_to_linker(
    linker: &mut Linker<State>,
    waits: Waits,
) -> Result<()> {
    let mut sockets = linker.instance(NAME)?;
    sockets.resource("socket", ResourceType::host::<Request>(), |mut cx, rep| {
        cx.data_mut().table.delete(Socket::new_own(rep))?;
        Ok(())
    })?;
    // The calls that wait are async functions.
    define_waiting!(sockets, waits, "[method]socket.recv", recv)?;
    define_waiting!(sockets, waits, "[method]socket.send", send)?;
    define_waiting!(sockets, waits, "[method]socket.sendall", sendall)?;
    define_waiting!(sockets, waits, "[method]socket.sendto", sendto)?;
    flags::add_to_linker(&mut sockets, waits)?;
    options::add_to_linker(&mut sockets)?;
    sockets.func_wrap("[method]socket.shutdown", shutdown)?;
    sockets.func_wrap("[method]socket.close", close)?;
    sockets.func_wrap("[method]socket.getpeername", getpeername)?;
    sockets.func_wrap("[method]socket.getsockname", getsockname)?;
    sockets.func_wrap("[method]socket.settimeout", settimeout)?;
    sockets.func_wrap("[method]socket.gettimeout", gettimeout)?;
    sockets.func_wrap("[method]socket.fileno", fileno)?;
    sockets.func_wrap("[method]socket.family", family)?;
    sockets.func_wrap("[method]socket.socket-type", socket_type)?;
    sockets.func_wrap("[method]socket.proto", proto)
}

async fn recv(mut cx: Cx<'_>, (socket, bufsize): (Socket, u32)) -> HostResult<Vec<u8>> {
    let bufsize = clamped(&cx, bufsize);
    let received = cx.data().table.get(&socket)?.recv_async(bufsize).await;
    host_result(&mut cx, &socket, received)
}

/// Returns the size of the buffer for a call that receives. The buffer is the host's memory,
/// and a guest may ask for 4 GiB.
fn clamped(cx: &Cx<'_>, bufsize: u32) -> usize {
    usize::try_from(bufsize).unwrap_or(usize::MAX).min(cx.data().call_memory)
}

/// Sends data without a copy, from the guest's memory.
async fn send(mut cx: Cx<'_>, (socket, data): (Socket, WasmList<u8>)) -> HostResult<u32> {
    let request = cx.data().table.get(&socket)?;
    let sent = request.send_async(data.as_le_slice(&cx)).await;
    host_result(&mut cx, &socket, sent.map(count))
}

fn count(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

async fn sendall(mut cx: Cx<'_>, (socket, data): (Socket, WasmList<u8>)) -> HostResult<()> {
    let request = cx.data().table.get(&socket)?;
    let sent = request.sendall_async(data.as_le_slice(&cx)).await;
    host_result(&mut cx, &socket, sent)
}

async fn sendto(
    cx: Cx<'_>,
    (socket, data, to): (Socket, WasmList<u8>, GuestAddress),
) -> HostResult<u32> {
    flags::sendto(cx, (socket, data, 0, to)).await
}

fn shutdown(mut cx: Cx<'_>, (socket, how): (Socket, ShutdownHow)) -> HostResult<()> {
    let how = match how {
        ShutdownHow::ShutRd => Shutdown::Read,
        ShutdownHow::ShutWr => Shutdown::Write,
        ShutdownHow::ShutRdwr => Shutdown::Both,
    };
    let shut = cx.data().table.get(&socket)?.shutdown(how);
    if shut.is_ok() && how != Shutdown::Read && !cx.data().table.get(&socket)?.is_opened() {
        cx.data_mut().finished_sending = true;
    }
    host_result(&mut cx, &socket, shut)
}

fn close(mut cx: Cx<'_>, (socket,): (Socket,)) -> Result<()> {
    let State { table, opened, .. } = cx.data_mut();
    let socket = table.get_mut(&socket)?;
    match opened {
        Some(opened) => socket.close_descriptor(&opened.request),
        None => socket.close(),
    }
    Ok(())
}

fn getpeername(mut cx: Cx<'_>, (socket,): (Socket,)) -> HostResult<types::Address> {
    let address = cx.data().table.get(&socket)?.getpeername();
    host_result(&mut cx, &socket, address.map(|address| (&address).into()))
}

fn getsockname(mut cx: Cx<'_>, (socket,): (Socket,)) -> HostResult<types::Address> {
    let address = cx.data().table.get(&socket)?.getsockname();
    host_result(&mut cx, &socket, address.map(|address| (&address).into()))
}

fn settimeout(cx: Cx<'_>, (socket, timeout): (Socket, Option<f64>)) -> HostResult<()> {
    let Ok(timeout) = seconds(timeout) else { return Ok((Err(ErrorCode::InvalidArgument),)) };
    cx.data().table.get(&socket)?.settimeout(timeout);
    Ok((Ok(()),))
}

/// Returns a timeout that a guest passes. An error stands for one that is below zero or no
/// number.
pub(in crate::host::contract) fn seconds(
    timeout: Option<f64>,
) -> std::result::Result<Option<Duration>, ()> {
    match timeout {
        Some(seconds) if seconds.is_nan() || seconds < 0.0 => Err(()),
        Some(seconds) if seconds < MAX_TIMEOUT => Ok(Some(Duration::from_secs_f64(seconds))),
        _ => Ok(None),
    }
}

fn gettimeout(cx: Cx<'_>, (socket,): (Socket,)) -> Result<(Option<f64>,)> {
    Ok((cx.data().table.get(&socket)?.gettimeout().map(|timeout| timeout.as_secs_f64()),))
}

/// Returns the index of the socket among the guest's handles. The real descriptor is not
/// for the guest.
fn fileno(cx: Cx<'_>, (socket,): (Socket,)) -> Result<(i32,)> {
    let number = cx.data().table.get(&socket)?.fileno().map(|_| {
        let number = socket.rep().saturating_add(FIRST_FILENO);
        i32::try_from(number).unwrap_or(i32::MAX)
    });
    Ok((number.unwrap_or(-1),))
}

/// Returns the address family. A failure is one of the host: every socket has a family.
fn family(cx: Cx<'_>, (socket,): (Socket,)) -> Result<(types::Family,)> {
    Ok((server::family(cx.data().table.get(&socket)?.family()?),))
}

fn socket_type(cx: Cx<'_>, (socket,): (Socket,)) -> Result<(types::SocketKind,)> {
    Ok((server::socket_type(cx.data().table.get(&socket)?.socket_type()),))
}

/// Returns the protocol that the socket was created with. That of a request is, as in Python,
/// the protocol of the listening socket, which is the default.
fn proto(cx: Cx<'_>, (socket,): (Socket,)) -> Result<(i32,)> {
    let request = cx.data().table.get(&socket)?;
    Ok((request.opened_as().map_or(0, |(_, _, proto)| proto),))
}

/// Denies the guest a call.
pub(in crate::host::contract) fn deny(cx: &mut Cx<'_>, call: &str) -> ErrorCode {
    cx.data_mut().log_denial(call);
    ErrorCode::Denied
}

/// Converts the result of a call on a socket into that of a host call.
pub(in crate::host::contract) fn host_result<T>(
    cx: &mut Cx<'_>,
    socket: &Socket,
    result: io::Result<T>,
) -> HostResult<T> {
    match result {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => {
            let is_opened = cx.data().table.get(socket)?.is_opened();
            result_of(cx, is_opened, Err(error))
        }
    }
}

/// Converts the result of a call on the request, or on a socket that the guest opened, into
/// that of a host call.
pub(in crate::host::contract) fn result_of<T>(
    cx: &mut Cx<'_>,
    is_opened: bool,
    result: io::Result<T>,
) -> HostResult<T> {
    let error = match result {
        Ok(value) => return Ok((Ok(value),)),
        Err(error) => error,
    };
    if let Some(kill) = Kill::of_call(&error) {
        return Err(match kill {
            Kill::Idle { limit } if is_opened => Kill::Outbound { limit }.into(),
            kill => kill.into(),
        });
    }
    let code = error_code(&error);
    let lost = match code {
        ErrorCode::ConnectionReset | ErrorCode::ConnectionAborted => true,
        ErrorCode::BrokenPipe => !cx.data().finished_sending,
        _ => false,
    };
    if lost && !is_opened {
        cx.data_mut().client_lost = Some(Reason::ConnectionLost);
    }
    if code == ErrorCode::Denied {
        deny(cx, &format!("a call on a socket: {error}"));
    }
    if code == ErrorCode::Other {
        tracing::debug!(handler = cx.data().log.lock().handler(), "a socket call failed: {error}");
    }
    Ok((Err(code),))
}
