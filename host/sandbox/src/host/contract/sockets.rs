//! `interface sockets`: the sockets that a guest holds.

#![allow(clippy::needless_pass_by_value, reason = "the Linker gives its functions values")]

use std::io;
use std::net::Shutdown;
use std::time::Duration;

use rustix::io::Errno;
use socketserver::{
    Address, IdleTimeout, Reason, ReceiveLimit, Request, SendLimit, SocketType, WallTimeout,
};
use wasmtime::component::{Linker, Resource, ResourceType, WasmList};
use wasmtime::{Result, StoreContextMut};

use crate::host::bindings::types::{self, ErrorCode, ShutdownHow};
use crate::host::state::State;
use crate::instance::failure::Kill;
use crate::policy::MAX_LOG_LINE;
use socketserver::printable;

use super::address::Named;
use super::errno::error_code;

pub(super) const NAME: &str = "socketserver:handler/sockets@0.1.0";

/// Longer timeouts count as none: `Duration::from_secs_f64` has an end too.
const LONGEST_TIMEOUT: f64 = 1e9;

/// The first number that `fileno` gives: those before it are the standard
/// streams' everywhere else.
const FIRST_FILENO: u32 = 3;

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
    sockets.func_wrap("[method]socket.sendto", sendto)?;
    sockets.func_wrap("[method]socket.shutdown", shutdown)?;
    sockets.func_wrap("[method]socket.close", close)?;
    sockets.func_wrap("[method]socket.getpeername", getpeername)?;
    sockets.func_wrap("[method]socket.getsockname", getsockname)?;
    sockets.func_wrap("[method]socket.settimeout", settimeout)?;
    sockets.func_wrap("[method]socket.gettimeout", gettimeout)?;
    sockets.func_wrap("[method]socket.getsockopt", getsockopt)?;
    sockets.func_wrap("[method]socket.setsockopt", setsockopt)?;
    sockets.func_wrap("[method]socket.fileno", fileno)
}

fn recv(mut cx: Cx<'_>, (socket, bufsize): (Socket, u32)) -> Answer<Vec<u8>> {
    // What is allocated is the host's: a guest may ask for 4 GiB.
    let bufsize = usize::try_from(bufsize).unwrap_or(usize::MAX).min(cx.data().call_memory);
    let received = cx.data().table.get(&socket)?.recv(bufsize);
    answer(&mut cx, received)
}

/// The data is sent from where it lies in the guest's memory.
fn send(mut cx: Cx<'_>, (socket, data): (Socket, WasmList<u8>)) -> Answer<u32> {
    let sent = cx.data().table.get(&socket)?.send(data.as_le_slice(&cx));
    answer(&mut cx, sent.map(count))
}

fn count(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn sendall(mut cx: Cx<'_>, (socket, data): (Socket, WasmList<u8>)) -> Answer<()> {
    let sent = cx.data().table.get(&socket)?.sendall(data.as_le_slice(&cx));
    answer(&mut cx, sent)
}

/// The kernel is given the address that the datagram came from, never one that
/// a guest has written: that one is only compared.
fn sendto(mut cx: Cx<'_>, (socket, data, to): (Socket, WasmList<u8>, Named)) -> Answer<u32> {
    let request = cx.data().table.get(&socket)?;
    let client = &cx.data().peer()?.client_address;
    // On a connection the address is not looked at.
    if request.socket_type() == SocketType::Dgram && request.fileno().is_some() {
        let to = to.to_address(&cx);
        if to.as_ref() != Some(client) {
            let to = to.map_or_else(|| "a name that no socket has".to_owned(), |to| to.to_string());
            let why = format!("sendto {to}: a handler may send to its own client, {client}, only");
            return Ok((Err(denied(&mut cx, &why)),));
        }
    }
    let sent = request.sendto(data.as_le_slice(&cx), client);
    if let Some(reason) = sent.as_ref().err().and_then(|error| unanswerable(client, error)) {
        cx.data_mut().lost = Some(reason);
    }
    answer(&mut cx, sent.map(count))
}

/// The reason, if sending to `client` failed because of that client: its Unix
/// socket has gone, or has no name, or one that is too long, or its name leads to
/// something else by now, or to one that nobody else may write to; or it claims an
/// address that no route leads to, or that is everybody's, or the port 0, to which
/// nothing can be sent.
fn unanswerable(client: &Address, error: &io::Error) -> Option<Reason> {
    let errno = Errno::from_io_error(error)?;
    match client {
        Address::Inet(_) | Address::Inet6(_) => match errno {
            Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::ACCESS => Some(Reason::NoAddress),
            Errno::INVAL if client.to_socket_addr()?.port() == 0 => Some(Reason::NoAddress),
            _ => None,
        },
        Address::Unix(_) => match errno {
            Errno::CONNREFUSED
            | Errno::NOENT
            | Errno::NOTDIR
            | Errno::LOOP
            | Errno::PROTOTYPE
            | Errno::ACCESS
            | Errno::PERM => Some(Reason::ConnectionLost),
            Errno::DESTADDRREQ | Errno::NAMETOOLONG => Some(Reason::NoAddress),
            _ => None,
        },
    }
}

fn shutdown(mut cx: Cx<'_>, (socket, how): (Socket, ShutdownHow)) -> Answer<()> {
    let how = match how {
        ShutdownHow::ShutRd => Shutdown::Read,
        ShutdownHow::ShutWr => Shutdown::Write,
        ShutdownHow::ShutRdwr => Shutdown::Both,
    };
    let shut = cx.data().table.get(&socket)?.shutdown(how);
    if shut.is_ok() && how != Shutdown::Read {
        cx.data_mut().finished_sending = true;
    }
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

fn getsockopt(mut cx: Cx<'_>, (socket, level, optname): (Socket, i32, i32)) -> Answer<i32> {
    let value = cx.data().table.get(&socket)?.getsockopt(level, optname);
    answer(&mut cx, value)
}

fn setsockopt(
    mut cx: Cx<'_>,
    (socket, level, optname, value): (Socket, i32, i32, i32),
) -> Answer<()> {
    let set = cx.data().table.get(&socket)?.setsockopt(level, optname, value);
    if set.as_ref().is_err_and(|error| error_code(error) == ErrorCode::Denied) {
        let why = format!("setsockopt({level}, {optname}): a handler may only read this option");
        return Ok((Err(denied(&mut cx, &why)),));
    }
    answer(&mut cx, set)
}

/// Not the descriptor, which is nobody's business: the place of the socket
/// among those that the guest holds.
fn fileno(cx: Cx<'_>, (socket,): (Socket,)) -> Result<(i32,)> {
    let number = cx.data().table.get(&socket)?.fileno().map(|_| {
        let number = socket.rep().saturating_add(FIRST_FILENO);
        i32::try_from(number).unwrap_or(i32::MAX)
    });
    Ok((number.unwrap_or(-1),))
}

/// Denies a guest what it wanted to do. The log says so once for each request:
/// a guest can try as often as it likes.
fn denied(cx: &mut Cx<'_>, what: &str) -> ErrorCode {
    let state = cx.data_mut();
    if !std::mem::replace(&mut state.denial_logged, true) {
        let peer = state.peer.as_ref().map(|peer| peer.client_address.to_string());
        let (handler, peer) = (&*state.handler, peer.as_deref());
        tracing::info!(call = printable(what, MAX_LOG_LINE), handler, peer, "denied");
    }
    ErrorCode::Denied
}

/// Turns what a socket said into what a guest is told.
fn answer<T>(cx: &mut Cx<'_>, result: io::Result<T>) -> Answer<T> {
    let error = match result {
        Ok(value) => return Ok((Ok(value),)),
        Err(error) => error,
    };
    if let Some(kill) = error.get_ref().and_then(limit_of) {
        return Err(kill.into());
    }
    let code = error_code(&error);
    let lost = match code {
        ErrorCode::ConnectionReset | ErrorCode::ConnectionAborted => true,
        ErrorCode::BrokenPipe => !cx.data().finished_sending,
        _ => false,
    };
    if lost {
        cx.data_mut().lost = Some(Reason::ConnectionLost);
    }
    if code == ErrorCode::Denied {
        denied(cx, &format!("a call on a socket: {error}"));
    }
    if code == ErrorCode::Other {
        tracing::debug!(handler = &*cx.data().handler, "a socket call failed: {error}");
    }
    Ok((Err(code),))
}

/// Which of its limits a request has reached, if that is why a call failed.
fn limit_of(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Option<Kill> {
    if let Some(IdleTimeout { limit }) = error.downcast_ref() {
        return Some(Kill::Idle { limit: *limit });
    }
    if let Some(WallTimeout { limit }) = error.downcast_ref() {
        return Some(Kill::WallTime { limit: *limit });
    }
    if let Some(ReceiveLimit { limit }) = error.downcast_ref() {
        return Some(Kill::Received { limit: *limit });
    }
    error.downcast_ref().map(|SendLimit { limit }| Kill::Sent { limit: *limit })
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use super::*;

    #[test]
    fn only_a_unix_client_can_be_one_that_cannot_be_answered() {
        use socketserver::UnixAddress;
        let unix = Address::Unix(UnixAddress::Pathname("/client".into()));
        let udp = Address::from(std::net::SocketAddr::from(([127, 0, 0, 1], 1)));
        for (errno, reason) in [
            (Errno::CONNREFUSED, Some(Reason::ConnectionLost)),
            (Errno::NOENT, Some(Reason::ConnectionLost)),
            (Errno::PROTOTYPE, Some(Reason::ConnectionLost)),
            (Errno::LOOP, Some(Reason::ConnectionLost)),
            (Errno::NOTDIR, Some(Reason::ConnectionLost)),
            (Errno::DESTADDRREQ, Some(Reason::NoAddress)),
            (Errno::NAMETOOLONG, Some(Reason::NoAddress)),
            (Errno::MSGSIZE, None),
            (Errno::NOBUFS, None),
            (Errno::BADF, None),
        ] {
            assert_eq!(unanswerable(&unix, &errno.into()), reason, "{errno}");
            assert_eq!(unanswerable(&udp, &errno.into()), None, "{errno}");
        }
        assert_eq!(unanswerable(&unix, &Errno::ACCESS.into()), Some(Reason::ConnectionLost));
    }

    #[test]
    fn nothing_can_be_sent_to_port_0() {
        for host in [IpAddr::from([127, 0, 0, 1]), Ipv6Addr::LOCALHOST.into()] {
            let client = |port| Address::from(std::net::SocketAddr::from((host, port)));
            let (invalid, large) = (io::Error::from(Errno::INVAL), Errno::MSGSIZE.into());
            assert_eq!(unanswerable(&client(0), &invalid), Some(Reason::NoAddress));
            assert_eq!(unanswerable(&client(0), &large), None);
            assert_eq!(unanswerable(&client(1), &invalid), None);
        }
    }

    #[test]
    fn who_cannot_be_reached_is_to_blame() {
        let client = Address::from(std::net::SocketAddr::from(([192, 0, 2, 1], 1)));
        for errno in [Errno::NETUNREACH, Errno::HOSTUNREACH, Errno::ACCESS] {
            assert_eq!(unanswerable(&client, &errno.into()), Some(Reason::NoAddress), "{errno}");
        }
    }
}
