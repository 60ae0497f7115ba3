//! `interface sockets`: the sockets that a guest holds.

#![allow(clippy::needless_pass_by_value, reason = "the Linker gives its functions values")]

use std::io;
use std::net::Shutdown;
use std::time::Duration;

use rustix::io::Errno;
use socketserver::{IdleTimeout, Request};
use wasmtime::component::{Linker, Resource, ResourceType, WasmList};
use wasmtime::{Result, StoreContextMut};

use crate::bindings::types::{self, ErrorCode, ShutdownHow};
use crate::failure::Kill;
use crate::policy::MAX_RECV;
use crate::state::State;

pub(super) const NAME: &str = "socketserver:handler/sockets@0.1.0";

/// Longer timeouts count as none: `Duration::from_secs_f64` has an end too.
const LONGEST_TIMEOUT: f64 = 1e9;

type Cx<'a> = StoreContextMut<'a, State>;
type Socket = Resource<Request>;
/// What a guest gets: the host ends it if the outer result is an error.
type Answer<T> = Result<(std::result::Result<T, ErrorCode>,)>;

pub(super) fn add_to_linker(linker: &mut Linker<State>) -> Result<()> {
    let mut sockets = linker.instance(NAME)?;
    sockets.resource("socket", ResourceType::host::<Request>(), |mut cx, rep| {
        cx.data_mut().table.delete(Socket::new_own(rep))?;
        Ok(())
    })?;
    sockets.func_wrap("[method]socket.recv", recv)?;
    sockets.func_wrap("[method]socket.send", send)?;
    sockets.func_wrap("[method]socket.sendall", sendall)?;
    sockets.func_wrap("[method]socket.shutdown", shutdown)?;
    sockets.func_wrap("[method]socket.close", close)?;
    sockets.func_wrap("[method]socket.getpeername", getpeername)?;
    sockets.func_wrap("[method]socket.getsockname", getsockname)?;
    sockets.func_wrap("[method]socket.settimeout", settimeout)?;
    sockets.func_wrap("[method]socket.gettimeout", gettimeout)
}

fn recv(mut cx: Cx<'_>, (socket, bufsize): (Socket, u32)) -> Answer<Vec<u8>> {
    let received = cx.data().table.get(&socket)?.recv(bounded(bufsize));
    answer(&mut cx, received)
}

/// How many bytes are allocated for a `recv` of `bufsize`.
fn bounded(bufsize: u32) -> usize {
    usize::try_from(bufsize).unwrap_or(MAX_RECV).min(MAX_RECV)
}

/// The data is sent from where it lies in the guest's memory.
fn send(mut cx: Cx<'_>, (socket, data): (Socket, WasmList<u8>)) -> Answer<u32> {
    let sent = cx.data().table.get(&socket)?.send(data.as_le_slice(&cx));
    answer(&mut cx, sent.map(|sent| u32::try_from(sent).unwrap_or(u32::MAX)))
}

fn sendall(mut cx: Cx<'_>, (socket, data): (Socket, WasmList<u8>)) -> Answer<()> {
    let sent = cx.data().table.get(&socket)?.sendall(data.as_le_slice(&cx));
    answer(&mut cx, sent)
}

fn shutdown(mut cx: Cx<'_>, (socket, how): (Socket, ShutdownHow)) -> Answer<()> {
    let how = match how {
        ShutdownHow::ShutRd => Shutdown::Read,
        ShutdownHow::ShutWr => Shutdown::Write,
        ShutdownHow::ShutRdwr => Shutdown::Both,
    };
    let shut = cx.data().table.get(&socket)?.shutdown(how);
    answer(&mut cx, shut)
}

fn close(cx: Cx<'_>, (socket,): (Socket,)) -> Result<()> {
    cx.data().table.get(&socket)?.close();
    Ok(())
}

fn getpeername(mut cx: Cx<'_>, (socket,): (Socket,)) -> Answer<types::Address> {
    let address = cx.data().table.get(&socket)?.getpeername();
    answer(&mut cx, address.map(|address| (&address).into()))
}

fn getsockname(mut cx: Cx<'_>, (socket,): (Socket,)) -> Answer<types::Address> {
    let address = cx.data().table.get(&socket)?.getsockname();
    answer(&mut cx, address.map(|address| (&address).into()))
}

fn settimeout(cx: Cx<'_>, (socket, timeout): (Socket, Option<f64>)) -> Answer<()> {
    let socket = cx.data().table.get(&socket)?;
    let timeout = match timeout {
        Some(seconds) if seconds.is_nan() || seconds < 0.0 => {
            return Ok((Err(ErrorCode::InvalidArgument),));
        }
        Some(seconds) if seconds < LONGEST_TIMEOUT => Some(Duration::from_secs_f64(seconds)),
        _ => None,
    };
    socket.settimeout(timeout);
    Ok((Ok(()),))
}

fn gettimeout(cx: Cx<'_>, (socket,): (Socket,)) -> Result<(Option<f64>,)> {
    Ok((cx.data().table.get(&socket)?.gettimeout().map(|timeout| timeout.as_secs_f64()),))
}

/// Turns what a socket said into what a guest is told.
fn answer<T>(cx: &mut Cx<'_>, result: io::Result<T>) -> Answer<T> {
    let error = match result {
        Ok(value) => return Ok((Ok(value),)),
        Err(error) => error,
    };
    if let Some(idle) = error.get_ref().and_then(|inner| inner.downcast_ref::<IdleTimeout>()) {
        return Err(Kill::Idle { limit: idle.limit }.into());
    }
    let code = error_code(&error);
    if matches!(
        code,
        ErrorCode::ConnectionReset | ErrorCode::ConnectionAborted | ErrorCode::BrokenPipe
    ) {
        cx.data_mut().connection_lost = true;
    }
    if code == ErrorCode::Other {
        tracing::debug!(handler = &*cx.data().handler, "a socket call failed: {error}");
    }
    Ok((Err(code),))
}

fn error_code(error: &io::Error) -> ErrorCode {
    let Some(errno) = error.raw_os_error() else {
        return match error.kind() {
            io::ErrorKind::TimedOut => ErrorCode::TimedOut,
            _ => ErrorCode::Other,
        };
    };
    match Errno::from_raw_os_error(errno) {
        Errno::TIMEDOUT => ErrorCode::TimedOut,
        Errno::AGAIN => ErrorCode::WouldBlock,
        Errno::INPROGRESS => ErrorCode::InProgress,
        Errno::ALREADY => ErrorCode::Already,
        Errno::BADF => ErrorCode::Closed,
        Errno::ACCESS | Errno::PERM => ErrorCode::Denied,
        Errno::CONNRESET => ErrorCode::ConnectionReset,
        Errno::CONNABORTED => ErrorCode::ConnectionAborted,
        Errno::CONNREFUSED => ErrorCode::ConnectionRefused,
        Errno::PIPE => ErrorCode::BrokenPipe,
        Errno::NOTCONN => ErrorCode::NotConnected,
        Errno::ISCONN => ErrorCode::IsConnected,
        Errno::ADDRINUSE => ErrorCode::AddressInUse,
        Errno::ADDRNOTAVAIL => ErrorCode::AddressNotAvailable,
        Errno::AFNOSUPPORT => ErrorCode::AddressFamilyNotSupported,
        Errno::DESTADDRREQ => ErrorCode::DestinationAddressRequired,
        Errno::HOSTUNREACH => ErrorCode::HostUnreachable,
        Errno::NETUNREACH => ErrorCode::NetworkUnreachable,
        Errno::NETDOWN => ErrorCode::NetworkDown,
        Errno::MSGSIZE => ErrorCode::MessageTooLong,
        Errno::INVAL => ErrorCode::InvalidArgument,
        Errno::NOENT => ErrorCode::NoSuchFile,
        Errno::NOPROTOOPT => ErrorCode::NoProtocolOption,
        Errno::PROTONOSUPPORT => ErrorCode::ProtocolNotSupported,
        Errno::PROTOTYPE => ErrorCode::WrongProtocolType,
        Errno::OPNOTSUPP => ErrorCode::NotSupported,
        Errno::NOBUFS => ErrorCode::NoBufferSpace,
        Errno::NOMEM => ErrorCode::NotEnoughMemory,
        Errno::MFILE | Errno::NFILE => ErrorCode::TooManyOpenFiles,
        _ => ErrorCode::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_recv_allocates_more_than_the_limit() {
        assert_eq!(bounded(0), 0);
        assert_eq!(bounded(1024), 1024);
        assert_eq!(bounded(u32::MAX), MAX_RECV);
    }
}
