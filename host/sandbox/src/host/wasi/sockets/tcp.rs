//! `tcp` and `tcp-create-socket`: the states of a TCP socket.

#![allow(clippy::needless_pass_by_value, reason = "the Linker gives its functions values")]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use socket2::SockRef;
use socketserver::{Address, Request, block_on};
use wasmtime::Result;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress};
use wasmtime_wasi::p2::bindings::sockets::tcp::ShutdownType;
use wasmtime_wasi_io::poll::{Pollable, subscribe};
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream};

use super::options::{Buffer, KeepAliveTime};
use super::tcp_streams::{Connection, READABLE, WRITABLE};
use super::{
    Cx, Network, Outcome, address, check_bind, check_destination, check_listen, methods, open,
    opened, options, reply,
};
use crate::host::grants::Grants;
use crate::host::state::State;
use crate::host::wasi::poll::socket_is_ready;
use crate::network_grants::Protocol;

/// The number of connections that wait, unless the guest says another.
const BACKLOG: i32 = 128;

/// A TCP socket.
struct TcpSocket {
    socket: Request,
    family: IpAddressFamily,
    state: TcpState,
    backlog: i32,
}

/// The state of a TCP socket, by the interface's names.
enum TcpState {
    Unbound,
    BindInProgress,
    Bound,
    ListenInProgress,
    Listening,
    /// With the error if it failed at once.
    ConnectInProgress(Option<io::Error>),
    Connected(Connection),
    Closed,
}

type Socket = Resource<TcpSocket>;
type Streams = (Resource<DynInputStream>, Resource<DynOutputStream>);

pub(in crate::host::wasi) fn add_tcp_create_socket(
    linker: &mut Linker<State>,
    _: &Arc<Grants>,
) -> Result<()> {
    let mut create = linker.instance("wasi:sockets/tcp-create-socket@0.2.0")?;
    create.func_wrap("create-tcp-socket", |mut cx, params| {
        reply(create_tcp_socket(cx.data_mut(), params))
    })
}

pub(in crate::host::wasi) fn add_tcp(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut tcp = linker.instance("wasi:sockets/tcp@0.2.0")?;
    tcp.resource("tcp-socket", ResourceType::host::<TcpSocket>(), |mut cx, rep| {
        cx.data_mut().table.delete(Socket::new_own(rep))?;
        Ok(())
    })?;
    methods! { tcp "tcp-socket"
        "start-bind" => start_bind,
        "finish-bind" => finish_bind,
        "start-connect" => start_connect,
        "finish-connect" => finish_connect,
        "start-listen" => start_listen,
        "finish-listen" => finish_listen,
        "accept" => accept,
        "local-address" => local_address,
        "remote-address" => remote_address,
        "set-listen-backlog-size" => set_listen_backlog_size,
        "shutdown" => shutdown,
    }
    add_options(&mut tcp)?;
    tcp.func_wrap("[method]tcp-socket.is-listening", |cx: Cx<'_>, (this,): (Socket,)| {
        Ok((matches!(cx.data().table.get(&this)?.state, TcpState::Listening),))
    })?;
    tcp.func_wrap("[method]tcp-socket.address-family", |cx: Cx<'_>, (this,): (Socket,)| {
        Ok((cx.data().table.get(&this)?.family,))
    })?;
    tcp.func_wrap("[method]tcp-socket.subscribe", |mut cx: Cx<'_>, (this,): (Socket,)| {
        Ok((subscribe(&mut cx.data_mut().table, this)?,))
    })
}

fn add_options(tcp: &mut wasmtime::component::LinkerInstance<'_, State>) -> Result<()> {
    fn get<T>(
        state: &mut State,
        this: Socket,
        get: impl FnOnce(&TcpSocket) -> Outcome<T>,
    ) -> Outcome<T> {
        get(state.table.get(&this)?)
    }
    type Of<T> = (Socket, T);
    methods! { tcp "tcp-socket"
        "keep-alive-enabled" => |state, (this,): (Socket,)|
            get(state, this, |one| options::keep_alive_enabled(&one.socket)),
        "set-keep-alive-enabled" => |state, (this, value): Of<bool>|
            get(state, this, |one| options::set_keep_alive_enabled(&one.socket, value)),
        "keep-alive-idle-time" => |state, (this,): (Socket,)|
            get(state, this, |one| options::keep_alive_time(&one.socket, KeepAliveTime::Idle)),
        "set-keep-alive-idle-time" => |state, (this, value): Of<u64>| get(state, this, |one| {
            options::set_keep_alive_time(&one.socket, KeepAliveTime::Idle, value)
        }),
        "keep-alive-interval" => |state, (this,): (Socket,)|
            get(state, this, |one| options::keep_alive_time(&one.socket, KeepAliveTime::Interval)),
        "set-keep-alive-interval" => |state, (this, value): Of<u64>| get(state, this, |one| {
            options::set_keep_alive_time(&one.socket, KeepAliveTime::Interval, value)
        }),
        "keep-alive-count" => |state, (this,): (Socket,)|
            get(state, this, |one| options::keep_alive_count(&one.socket)),
        "set-keep-alive-count" => |state, (this, value): Of<u32>|
            get(state, this, |one| options::set_keep_alive_count(&one.socket, value)),
        "hop-limit" => |state, (this,): (Socket,)|
            get(state, this, |one| options::hop_limit(&one.socket, one.family)),
        "set-hop-limit" => |state, (this, value): Of<u8>|
            get(state, this, |one| options::set_hop_limit(&one.socket, one.family, value)),
        "receive-buffer-size" => |state, (this,): (Socket,)|
            get(state, this, |one| options::buffer_size(&one.socket, Buffer::Receive)),
        "set-receive-buffer-size" => |state, (this, value): Of<u64>|
            get(state, this, |one| options::set_buffer_size(&one.socket, Buffer::Receive, value)),
        "send-buffer-size" => |state, (this,): (Socket,)|
            get(state, this, |one| options::buffer_size(&one.socket, Buffer::Send)),
        "set-send-buffer-size" => |state, (this, value): Of<u64>|
            get(state, this, |one| options::set_buffer_size(&one.socket, Buffer::Send, value)),
    }
    Ok(())
}

impl TcpSocket {
    fn new(socket: Request, family: IpAddressFamily, state: TcpState) -> Self {
        TcpSocket { socket, family, state, backlog: BACKLOG }
    }

    /// Fails unless the socket is new, or bound if `may_be_bound`.
    fn check_unused(&self, may_be_bound: bool) -> Outcome<()> {
        match self.state {
            TcpState::Unbound => Ok(()),
            TcpState::Bound if may_be_bound => Ok(()),
            TcpState::BindInProgress
            | TcpState::ListenInProgress
            | TcpState::ConnectInProgress(_) => Err(ErrorCode::ConcurrencyConflict.into()),
            _ => Err(ErrorCode::InvalidState.into()),
        }
    }
}

/// The events that the guest waits for before it calls a function again.
#[async_trait]
impl Pollable for TcpSocket {
    async fn ready(&mut self) {
        match self.state {
            TcpState::ConnectInProgress(None) => socket_is_ready(&self.socket, WRITABLE).await,
            TcpState::Listening => socket_is_ready(&self.socket, READABLE).await,
            _ => {}
        }
    }
}

fn create_tcp_socket(state: &mut State, (family,): (IpAddressFamily,)) -> Outcome<Socket> {
    let socket = open(state, "create-tcp-socket", Protocol::Tcp, family)?;
    Ok(state.table.push(TcpSocket::new(socket, family, TcpState::Unbound))?)
}

fn start_bind(
    state: &mut State,
    (this, network, address): (Socket, Resource<Network>, IpSocketAddress),
) -> Outcome<()> {
    state.table.get(&network)?;
    let socket = state.table.get(&this)?;
    socket.check_unused(false)?;
    let address = address::of_family(socket.family, address)?;
    address::check_unicast(address)?;
    let address = Address::from(address);
    check_bind(state, Protocol::Tcp, &address)?;
    let socket = state.table.get_mut(&this)?;
    // Connections that have just ended do not keep the address, as the interface demands.
    SockRef::from(&socket.socket).set_reuse_address(true)?;
    socket.socket.bind(&address)?;
    socket.state = TcpState::BindInProgress;
    Ok(())
}

fn finish_bind(state: &mut State, (this,): (Socket,)) -> Outcome<()> {
    let socket = state.table.get_mut(&this)?;
    let TcpState::BindInProgress = socket.state else {
        return Err(ErrorCode::NotInProgress.into());
    };
    socket.state = TcpState::Bound;
    Ok(())
}

fn start_connect(
    state: &mut State,
    (this, network, address): (Socket, Resource<Network>, IpSocketAddress),
) -> Outcome<()> {
    state.table.get(&network)?;
    let socket = state.table.get(&this)?;
    socket.check_unused(true)?;
    let address = address::remote(socket.family, address)?;
    address::check_unicast(address)?;
    let address = Address::from(address);
    check_destination(state, "connect", Protocol::Tcp, &address)?;
    opened(state)?.count_connect()?;
    let socket = state.table.get_mut(&this)?;
    let failed = match block_on(socket.socket.connect_async(&address)) {
        Ok(()) => None,
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::INPROGRESS) => None,
            Some(_) => Some(error),
            None => return Err(error.into()),
        },
    };
    socket.state = TcpState::ConnectInProgress(failed);
    Ok(())
}

fn finish_connect(state: &mut State, (this,): (Socket,)) -> Outcome<Streams> {
    let socket = state.table.get_mut(&this)?;
    let TcpState::ConnectInProgress(failed) = &mut socket.state else {
        return Err(ErrorCode::NotInProgress.into());
    };
    let failed = match failed.take() {
        Some(error) => Some(error),
        None if !socket.socket.is_ready(WRITABLE)? => return Err(ErrorCode::WouldBlock.into()),
        None => SockRef::from(&socket.socket).take_error()?,
    };
    if let Some(error) = failed {
        socket.state = TcpState::Closed;
        // There is no free port.
        if Errno::from_io_error(&error) == Some(Errno::ADDRNOTAVAIL) {
            return Err(ErrorCode::AddressInUse.into());
        }
        return Err(error.into());
    }
    let request = socket.socket.clone();
    let (connection, streams) = streams(state, &request)?;
    state.table.get_mut(&this)?.state = TcpState::Connected(connection);
    Ok(streams)
}

fn start_listen(state: &mut State, (this,): (Socket,)) -> Outcome<()> {
    let socket = state.table.get(&this)?;
    socket.check_unused(true)?;
    let TcpState::Bound = socket.state else { return Err(ErrorCode::InvalidState.into()) };
    let (address, any_port) = (socket.socket.getsockname()?, socket.socket.has_bound_any_port());
    check_listen(state, &address, any_port)?;
    let socket = state.table.get_mut(&this)?;
    socket.socket.listen(socket.backlog)?;
    socket.state = TcpState::ListenInProgress;
    Ok(())
}

fn finish_listen(state: &mut State, (this,): (Socket,)) -> Outcome<()> {
    let socket = state.table.get_mut(&this)?;
    let TcpState::ListenInProgress = socket.state else {
        return Err(ErrorCode::NotInProgress.into());
    };
    socket.state = TcpState::Listening;
    Ok(())
}

fn accept(
    state: &mut State,
    (this,): (Socket,),
) -> Outcome<(Socket, Resource<DynInputStream>, Resource<DynOutputStream>)> {
    let socket = state.table.get(&this)?;
    let (listening, family) = (socket.socket.clone(), socket.family);
    let TcpState::Listening = socket.state else { return Err(ErrorCode::InvalidState.into()) };
    let permit = opened(state)?.permit()?;
    let (accepted, _) = block_on(listening.accept_async()).map_err(error_of_accept)?;
    opened(state)?.count_connect()?;
    permit.keep_in(&accepted);
    accepted.settimeout(Some(Duration::ZERO));
    let (connection, (input, output)) = streams(state, &accepted)?;
    let accepted = TcpSocket::new(accepted, family, TcpState::Connected(connection));
    Ok((state.table.push(accepted)?, input, output))
}

/// Returns the error of `accept`. Linux reports errors of the new connection as its errors.
fn error_of_accept(error: io::Error) -> io::Error {
    match Errno::from_io_error(&error) {
        Some(
            Errno::CONNRESET
            | Errno::NETRESET
            | Errno::HOSTUNREACH
            | Errno::HOSTDOWN
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::PROTO
            | Errno::NOPROTOOPT
            | Errno::NONET
            | Errno::OPNOTSUPP,
        ) => Errno::CONNABORTED.into(),
        _ => error,
    }
}

/// Returns a connection with its streams. What the guest writes to it is sent while the guest
/// waits.
fn streams(state: &mut State, request: &Request) -> Outcome<(Connection, Streams)> {
    let connection = Connection::new(request, state.call_memory);
    state.sleep.go_on_with(connection.background());
    let input: DynInputStream = Box::new(connection.input());
    let output: DynOutputStream = Box::new(connection.output());
    Ok((connection, (state.table.push(input)?, state.table.push(output)?)))
}

fn local_address(state: &mut State, (this,): (Socket,)) -> Outcome<IpSocketAddress> {
    let socket = state.table.get(&this)?;
    match socket.state {
        TcpState::Bound
        | TcpState::ListenInProgress
        | TcpState::Listening
        | TcpState::Connected(_) => address::to_guest(&socket.socket.getsockname()?),
        _ => Err(ErrorCode::InvalidState.into()),
    }
}

fn remote_address(state: &mut State, (this,): (Socket,)) -> Outcome<IpSocketAddress> {
    let socket = state.table.get(&this)?;
    match socket.state {
        TcpState::Connected(_) => address::to_guest(&socket.socket.getpeername()?),
        _ => Err(ErrorCode::InvalidState.into()),
    }
}

/// Sets the number of connections that wait. The kernel lowers it.
fn set_listen_backlog_size(state: &mut State, (this, size): (Socket, u64)) -> Outcome<()> {
    let socket = state.table.get_mut(&this)?;
    if size == 0 {
        return Err(ErrorCode::InvalidArgument.into());
    }
    let size = i32::try_from(size).unwrap_or(i32::MAX);
    match socket.state {
        TcpState::Unbound | TcpState::BindInProgress | TcpState::Bound => {}
        TcpState::ListenInProgress | TcpState::Listening => socket.socket.listen(size)?,
        _ => return Err(ErrorCode::InvalidState.into()),
    }
    socket.backlog = size;
    Ok(())
}

fn shutdown(state: &mut State, (this, how): (Socket, ShutdownType)) -> Outcome<()> {
    match &state.table.get(&this)?.state {
        TcpState::Connected(connection) => Ok(connection.shutdown(how.into())?),
        _ => Err(ErrorCode::InvalidState.into()),
    }
}
