//! `interface network`: the sockets that a guest opens. Each call is checked against the
//! grants before the kernel sees it.

#![allow(clippy::needless_pass_by_value, reason = "the Linker gives its functions values")]

use std::io;

use rustix::io::Errno;
use socket2::{Domain, Type};
use socketserver::{Address, Request};
use wasmtime::component::{Linker, Resource, WasmList};
use wasmtime::error::format_err;
use wasmtime::{Result, StoreContextMut, bail};

use crate::host::bindings::network::Ready;
use crate::host::bindings::types::{self, ErrorCode, Family, SocketKind};
use crate::host::opened_sockets::OpenedSockets;
use crate::host::state::State;
use crate::host::waits::{Waits, define_waiting};
use crate::limits::kill::Kill;
use crate::network_grants::{Protocol, SocketGrant};

use super::address::GuestAddress;
use super::errno::error_code;
use super::lookup;
use super::sockets::{HostResult, deny, host_result, result_of, seconds};

pub(super) const NAME: &str = "socketserver:handler/network@0.1.0";

pub(super) type Cx<'a> = StoreContextMut<'a, State>;
type Socket = Resource<Request>;
type Outcome<T> = std::result::Result<T, ErrorCode>;

pub(super) fn add_to_linker(linker: &mut Linker<State>, waits: Waits) -> Result<()> {
    let mut network = linker.instance(NAME)?;
    network.func_wrap("create-socket", create_socket)?;
    network.func_wrap("socketpair", socketpair)?;
    network.func_wrap("bind", bind)?;
    network.func_wrap("listen", listen)?;
    // The calls that wait are async functions.
    define_waiting!(network, waits, "accept", accept)?;
    define_waiting!(network, waits, "connect", connect)?;
    define_waiting!(network, waits, "connect-ex", connect_ex)?;
    define_waiting!(network, waits, "select", select)?;
    define_waiting!(network, waits, "getaddrinfo", lookup::getaddrinfo)
}

fn create_socket(
    mut cx: Cx<'_>,
    (family, kind, proto): (Family, SocketKind, i32),
) -> HostResult<Socket> {
    let protocol = match protocol(family, kind, proto) {
        Ok(protocol) => protocol,
        Err(code) => return Ok((Err(code),)),
    };
    if !network(&cx)?.grants().may_open(protocol) {
        let example = example(protocol);
        return Ok(denied(&mut cx, &format!("socket of {}", protocol.as_str()), example));
    }
    let opened = network(&cx)?.socket(domain(family), socket_type(kind), proto);
    match opened {
        Ok(opened) => Ok((Ok(cx.data_mut().table.push(opened)?),)),
        Err(error) => Ok((Err(error_code(&error)),)),
    }
}

fn socketpair(
    mut cx: Cx<'_>,
    (family, kind, proto): (Family, SocketKind, i32),
) -> HostResult<(Socket, Socket)> {
    // It leads nowhere, but a handler that may open no socket opens none.
    if network(&cx)?.grants().is_empty() {
        return Ok(denied(&mut cx, "socketpair", example(Protocol::Unix)));
    }
    let Ok(protocol) = protocol(family, kind, proto) else {
        return Ok((Err(ErrorCode::ProtocolNotSupported),));
    };
    if protocol != Protocol::Unix {
        return Ok((Err(ErrorCode::NotSupported),));
    }
    let opened = network(&cx)?.socketpair(socket_type(kind));
    match opened {
        Ok((one, other)) => {
            let table = &mut cx.data_mut().table;
            Ok((Ok((table.push(one)?, table.push(other)?)),))
        }
        Err(error) => Ok((Err(error_code(&error)),)),
    }
}

fn bind(mut cx: Cx<'_>, (socket, address): (Socket, GuestAddress)) -> HostResult<()> {
    let (protocol, address) = match opened(&cx, &socket, &address)? {
        Ok(opened) => opened,
        Err(code) => return Ok((Err(code),)),
    };
    if !network(&cx)?.grants().may_bind(protocol, &address) {
        let flag = format!("--listen-grant {}", SocketGrant::of_address(protocol, &address));
        return Ok(denied(&mut cx, &format!("bind to {address}"), &flag));
    }
    let bound = cx.data().table.get(&socket)?.bind(&address);
    host_result(&mut cx, &socket, bound)
}

/// Lets others connect, if the address of the socket is granted for that: it may have bound a
/// free port for its own connections.
fn listen(mut cx: Cx<'_>, (socket, backlog): (Socket, i32)) -> HostResult<()> {
    let request = cx.data().table.get(&socket)?;
    let checked = protocol_of(request).and_then(|protocol| {
        let address = request.getsockname().map_err(|error| error_code(&error))?;
        Ok((protocol, address))
    });
    let (protocol, address) = match checked {
        Ok(checked) => checked,
        Err(code) => return Ok((Err(code),)),
    };
    let any_port = request.has_bound_any_port();
    let granted = network(&cx)?.grants().may_listen_with(protocol, &address, any_port);
    if !granted {
        let flag = format!("--listen-grant {}", SocketGrant::of_address(protocol, &address));
        return Ok(denied(&mut cx, &format!("listen at {address}"), &flag));
    }
    let listening = cx.data().table.get(&socket)?.listen(backlog);
    host_result(&mut cx, &socket, listening)
}

async fn accept(mut cx: Cx<'_>, (socket,): (Socket,)) -> HostResult<(Socket, types::Address)> {
    let network = network_mut(&mut cx)?;
    network.count_connect()?;
    let permit = match network.permit() {
        Ok(permit) => permit,
        Err(error) => return Ok((Err(error_code(&error.into())),)),
    };
    let accepted = cx.data().table.get(&socket)?.accept_async().await;
    match accepted {
        Ok((connection, address)) => {
            permit.keep_in(&connection);
            let connection = cx.data_mut().table.push(connection)?;
            Ok((Ok((connection, (&address).into())),))
        }
        Err(error) => host_result(&mut cx, &socket, Err(error)),
    }
}

async fn connect(mut cx: Cx<'_>, (socket, address): (Socket, GuestAddress)) -> HostResult<()> {
    let connected = try_connect(&mut cx, &socket, &address).await?;
    match connected {
        Ok(connected) => host_result(&mut cx, &socket, connected),
        Err(code) => Ok((Err(code),)),
    }
}

async fn connect_ex(mut cx: Cx<'_>, (socket, address): (Socket, GuestAddress)) -> Result<(i32,)> {
    let errno = match try_connect(&mut cx, &socket, &address).await? {
        Ok(Ok(())) => return Ok((0,)),
        Ok(Err(error)) => {
            let errno = error.raw_os_error();
            // Python's number for a timeout of its own.
            let errno = errno.unwrap_or(Errno::AGAIN.raw_os_error());
            // A limit ends the guest.
            let _ = host_result::<()>(&mut cx, &socket, Err(error))?;
            errno
        }
        Err(ErrorCode::Denied) => Errno::ACCESS.raw_os_error(),
        Err(ErrorCode::Closed) => Errno::BADF.raw_os_error(),
        Err(ErrorCode::AddressFamilyNotSupported) => Errno::AFNOSUPPORT.raw_os_error(),
        Err(ErrorCode::NotSupported) => Errno::OPNOTSUPP.raw_os_error(),
        Err(_) => Errno::INVAL.raw_os_error(),
    };
    Ok((errno,))
}

/// Connects. An inner error of the host's checks has a code only, one of the kernel has all.
async fn try_connect(
    cx: &mut Cx<'_>,
    socket: &Socket,
    address: &GuestAddress,
) -> Result<Outcome<io::Result<()>>> {
    let (protocol, address) = match opened(cx, socket, address)? {
        Ok(opened) => opened,
        Err(code) => return Ok(Err(code)),
    };
    if let Err(code) = check_destination(cx, "connect", protocol, &address)? {
        return Ok(Err(code));
    }
    network_mut(cx)?.count_connect()?;
    Ok(Ok(cx.data().table.get(socket)?.connect_async(&address).await))
}

/// Checks that the guest may send datagrams from a socket that it opened to `address`.
pub(super) fn check_send(
    cx: &mut Cx<'_>,
    socket: &Socket,
    address: &GuestAddress,
) -> Result<Outcome<Address>> {
    let (protocol, address) = match opened(cx, socket, address)? {
        Ok(opened) => opened,
        Err(code) => return Ok(Err(code)),
    };
    Ok(check_destination(cx, "sendto", protocol, &address)?.map(|()| address))
}

fn check_destination(
    cx: &mut Cx<'_>,
    call: &str,
    protocol: Protocol,
    address: &Address,
) -> Result<Outcome<()>> {
    if network(cx)?.may_connect(protocol, address) {
        return Ok(Ok(()));
    }
    let flag = match protocol {
        Protocol::Raw => "--raw".to_owned(),
        _ => format!("--connect {}", SocketGrant::of_address(protocol, address)),
    };
    let call = format!("{call} {}://{address}: {flag} would permit it", protocol.as_str());
    Ok(Err(deny(cx, &call)))
}

async fn select(
    mut cx: Cx<'_>,
    (readers, writers, exceptional, timeout): (
        WasmList<Socket>,
        WasmList<Socket>,
        WasmList<Socket>,
        Option<f64>,
    ),
) -> HostResult<Ready> {
    let Ok(timeout) = seconds(timeout) else { return Ok((Err(ErrorCode::InvalidArgument),)) };
    let lists = [readers, writers, exceptional];
    // The lists are counted before they are copied.
    let count = lists.iter().map(WasmList::len).max().unwrap_or(0);
    let most = cx.data().max_handles;
    if count > most {
        bail!("it selected from {count} sockets at once, and {most} are the most");
    }
    let mut sockets = Vec::with_capacity(lists.len());
    for list in lists {
        sockets.push(list.iter(&mut cx)?.collect::<Result<Vec<_>>>()?);
    }
    let request = network(&cx)?.request.clone();
    let table = &cx.data().table;
    let mut lists = [Vec::new(), Vec::new(), Vec::new()];
    for (list, sockets) in lists.iter_mut().zip(&sockets) {
        for socket in sockets {
            list.push(table.get(socket)?.clone());
        }
    }
    let ready = request.select_async(lists.each_ref().map(Vec::as_slice), timeout).await;
    let indices = |list: Vec<usize>| {
        list.into_iter().map(|index| u32::try_from(index).unwrap_or(u32::MAX)).collect()
    };
    let ready = ready.map(|ready| Ready {
        readers: indices(ready.readers),
        writers: indices(ready.writers),
        exceptional: indices(ready.exceptional),
    });
    // As in Python, a wait for no socket is a sleep.
    let is_sleep = lists.iter().all(Vec::is_empty);
    let only_opened = lists.iter().flatten().all(Request::is_opened);
    match ready {
        Ok(ready) => Ok((Ok(ready),)),
        Err(error) => match Kill::of_sleep(&error).filter(|_| is_sleep) {
            Some(kill) => Err(kill.into()),
            // The client can end a wait for its socket too.
            None => result_of(&mut cx, only_opened, Err(error)),
        },
    }
}

/// Returns the sockets that the guest has opened.
///
/// # Errors
///
/// There is no request yet. The error ends the guest.
pub(super) fn network<'a>(cx: &'a Cx<'_>) -> Result<&'a OpenedSockets> {
    cx.data().opened.as_deref().ok_or_else(before_the_request)
}

pub(super) fn network_mut<'a>(cx: &'a mut Cx<'_>) -> Result<&'a mut OpenedSockets> {
    cx.data_mut().opened.as_deref_mut().ok_or_else(before_the_request)
}

fn before_the_request() -> wasmtime::Error {
    format_err!("there are no sockets before the first request")
}

/// Returns the kind of a socket that a guest opened, and an address that it passed.
fn opened(
    cx: &Cx<'_>,
    socket: &Socket,
    address: &GuestAddress,
) -> Result<Outcome<(Protocol, Address)>> {
    let Some(address) = address.to_address(cx) else { return Ok(Err(ErrorCode::InvalidArgument)) };
    let request = cx.data().table.get(socket)?;
    let protocol = match protocol_of(request) {
        Ok(protocol) => protocol,
        Err(code) => return Ok(Err(code)),
    };
    let is_unix = matches!(address, Address::Unix(_));
    if is_unix != (protocol == Protocol::Unix) {
        return Ok(Err(ErrorCode::AddressFamilyNotSupported));
    }
    Ok(Ok((protocol, address)))
}

fn protocol_of(request: &Request) -> Outcome<Protocol> {
    let (domain, kind, _) = request.opened_as().map_err(|error| error_code(&error))?;
    Ok(Protocol::of_socket(domain.into(), kind.into()))
}

/// Returns the kind of socket that a guest asks for.
fn protocol(family: Family, kind: SocketKind, proto: i32) -> Outcome<Protocol> {
    let protocol = Protocol::of_new_socket(domain(family), socket_type(kind), proto);
    protocol.map_err(|errno| error_code(&errno.into()))
}

fn example(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "--connect tcp://HOST:PORT",
        Protocol::Udp => "--connect udp://HOST:PORT",
        Protocol::Unix => "--connect unix://PATH",
        Protocol::Raw => "--raw",
    }
}

fn denied<T>(cx: &mut Cx<'_>, call: &str, flag: &str) -> (Outcome<T>,) {
    (Err(deny(cx, &format!("{call}: {flag} would permit it"))),)
}

fn domain(family: Family) -> Domain {
    match family {
        Family::AfInet => Domain::IPV4,
        Family::AfInet6 => Domain::IPV6,
        Family::AfUnix => Domain::UNIX,
    }
}

fn socket_type(kind: SocketKind) -> Type {
    match kind {
        SocketKind::SockStream => Type::STREAM,
        SocketKind::SockDgram => Type::DGRAM,
        SocketKind::SockSeqpacket => Type::SEQPACKET,
        SocketKind::SockRaw => Type::RAW,
        SocketKind::SockRdm => Type::from(libc::SOCK_RDM),
    }
}
