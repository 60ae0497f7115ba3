//! `udp` and `udp-create-socket`: UDP sockets, and the streams of their datagrams.

#![allow(clippy::needless_pass_by_value, reason = "the Linker gives its functions values")]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustix::io::Errno;
use socketserver::{Address, Request, block_on};
use wasmtime::component::{
    ComponentType, Lift, Linker, LinkerInstance, Resource, ResourceType, WasmList,
};
use wasmtime::error::format_err;
use wasmtime::{Result, StoreContextMut};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress};
use wasmtime_wasi::p2::bindings::sockets::udp::IncomingDatagram;
use wasmtime_wasi_io::poll::{Pollable, subscribe};

use super::options::Buffer;
use super::tcp_streams::{READABLE, WRITABLE};
use super::{
    Cx, Failure, Network, Outcome, address, check_bind, check_destination, methods, open, opened,
    options, reply,
};
use crate::host::grants::Grants;
use crate::host::state::State;
use crate::host::wasi::poll::socket_is_ready;
use crate::network_grants::Protocol;

/// The most datagrams that one call receives or sends.
const MOST: usize = 16;
/// The most bytes of a datagram.
const LONGEST: usize = 65_535;

/// A UDP socket.
struct UdpSocket {
    socket: Request,
    family: IpAddressFamily,
    state: UdpState,
    /// The address that it is connected to.
    remote: Option<SocketAddr>,
    /// Has another owner for each stream.
    streams: Arc<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum UdpState {
    Unbound,
    BindInProgress,
    Bound,
}

/// The datagrams that come.
struct Incoming {
    socket: Request,
    remote: Option<SocketAddr>,
    _stream: Arc<()>,
}

/// The datagrams that the guest sends.
struct Outgoing {
    socket: Request,
    family: IpAddressFamily,
    remote: Option<SocketAddr>,
    /// The datagrams that the next call may send.
    permitted: usize,
    _stream: Arc<()>,
}

/// A datagram that a guest passes. Unlike the generated type it leaves the data in the guest's
/// memory.
#[derive(ComponentType, Lift)]
#[component(record)]
struct OutgoingDatagram {
    data: WasmList<u8>,
    #[component(name = "remote-address")]
    remote_address: Option<IpSocketAddress>,
}

type Socket = Resource<UdpSocket>;
type Streams = (Resource<Incoming>, Resource<Outgoing>);

pub(in crate::host::wasi) fn add_udp_create_socket(
    linker: &mut Linker<State>,
    _: &Arc<Grants>,
) -> Result<()> {
    let mut create = linker.instance("wasi:sockets/udp-create-socket@0.2.0")?;
    create.func_wrap("create-udp-socket", |mut cx, params| {
        reply(create_udp_socket(cx.data_mut(), params))
    })
}

pub(in crate::host::wasi) fn add_udp(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut udp = linker.instance("wasi:sockets/udp@0.2.0")?;
    udp.resource("udp-socket", ResourceType::host::<UdpSocket>(), |mut cx, rep| {
        cx.data_mut().table.delete(Socket::new_own(rep))?;
        Ok(())
    })?;
    udp.resource("incoming-datagram-stream", ResourceType::host::<Incoming>(), |mut cx, rep| {
        cx.data_mut().table.delete(Resource::<Incoming>::new_own(rep))?;
        Ok(())
    })?;
    udp.resource("outgoing-datagram-stream", ResourceType::host::<Outgoing>(), |mut cx, rep| {
        cx.data_mut().table.delete(Resource::<Outgoing>::new_own(rep))?;
        Ok(())
    })?;
    methods! { udp "udp-socket"
        "start-bind" => start_bind,
        "finish-bind" => finish_bind,
        "stream" => stream,
        "local-address" => local_address,
        "remote-address" => remote_address,
    }
    add_options(&mut udp)?;
    udp.func_wrap("[method]udp-socket.address-family", |cx: Cx<'_>, (this,): (Socket,)| {
        Ok((cx.data().table.get(&this)?.family,))
    })?;
    methods! { udp "incoming-datagram-stream"
        "receive" => receive,
    }
    methods! { udp "outgoing-datagram-stream"
        "check-send" => check_send,
    }
    udp.func_wrap("[method]outgoing-datagram-stream.send", |cx, params| reply(send(cx, params)))?;
    add_subscribe::<UdpSocket>(&mut udp, "[method]udp-socket.subscribe")?;
    add_subscribe::<Incoming>(&mut udp, "[method]incoming-datagram-stream.subscribe")?;
    add_subscribe::<Outgoing>(&mut udp, "[method]outgoing-datagram-stream.subscribe")
}

fn add_subscribe<T: Pollable>(udp: &mut LinkerInstance<'_, State>, name: &str) -> Result<()> {
    udp.func_wrap(name, |mut cx: Cx<'_>, (this,): (Resource<T>,)| {
        Ok((subscribe(&mut cx.data_mut().table, this)?,))
    })
}

fn add_options(udp: &mut LinkerInstance<'_, State>) -> Result<()> {
    fn get<T>(
        state: &mut State,
        this: Socket,
        get: impl FnOnce(&UdpSocket) -> Outcome<T>,
    ) -> Outcome<T> {
        get(state.table.get(&this)?)
    }
    type Of<T> = (Socket, T);
    methods! { udp "udp-socket"
        "unicast-hop-limit" => |state, (this,): (Socket,)|
            get(state, this, |one| options::hop_limit(&one.socket, one.family)),
        "set-unicast-hop-limit" => |state, (this, value): Of<u8>|
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

/// No call on the socket itself has to wait.
#[async_trait]
impl Pollable for UdpSocket {
    async fn ready(&mut self) {}
}

#[async_trait]
impl Pollable for Incoming {
    async fn ready(&mut self) {
        socket_is_ready(&self.socket, READABLE).await;
    }
}

#[async_trait]
impl Pollable for Outgoing {
    async fn ready(&mut self) {
        socket_is_ready(&self.socket, WRITABLE).await;
    }
}

fn create_udp_socket(state: &mut State, (family,): (IpAddressFamily,)) -> Outcome<Socket> {
    let socket = open(state, "create-udp-socket", Protocol::Udp, family)?;
    let (udp_state, remote, streams) = (UdpState::Unbound, None, Arc::default());
    Ok(state.table.push(UdpSocket { socket, family, state: udp_state, remote, streams })?)
}

fn start_bind(
    state: &mut State,
    (this, network, address): (Socket, Resource<Network>, IpSocketAddress),
) -> Outcome<()> {
    state.table.get(&network)?;
    let socket = state.table.get(&this)?;
    match socket.state {
        UdpState::Unbound => {}
        UdpState::BindInProgress => return Err(ErrorCode::ConcurrencyConflict.into()),
        UdpState::Bound => return Err(ErrorCode::InvalidState.into()),
    }
    let address = Address::from(address::of_family(socket.family, address)?);
    check_bind(state, Protocol::Udp, &address)?;
    let socket = state.table.get_mut(&this)?;
    socket.socket.bind(&address)?;
    socket.state = UdpState::BindInProgress;
    Ok(())
}

fn finish_bind(state: &mut State, (this,): (Socket,)) -> Outcome<()> {
    let socket = state.table.get_mut(&this)?;
    if socket.state != UdpState::BindInProgress {
        return Err(ErrorCode::NotInProgress.into());
    }
    socket.state = UdpState::Bound;
    Ok(())
}

/// Connects the socket, or disconnects it, and returns its streams. There is one pair at a time,
/// as the interface demands.
fn stream(
    state: &mut State,
    (this, remote): (Socket, Option<IpSocketAddress>),
) -> Outcome<Streams> {
    let socket = state.table.get(&this)?;
    if Arc::strong_count(&socket.streams) > 1 {
        return Err(Failure::End(format_err!("it has not dropped the streams of its socket")));
    }
    if socket.state != UdpState::Bound {
        return Err(ErrorCode::InvalidState.into());
    }
    let remote = remote.map(|remote| address::remote(socket.family, remote)).transpose()?;
    if let Some(remote) = remote {
        let address = Address::from(remote);
        check_destination(state, "connect", Protocol::Udp, &address)?;
        opened(state)?.count_connect()?;
        connect(&state.table.get(&this)?.socket, &address)?;
    } else if socket.remote.is_some() {
        socket.socket.disconnect()?;
    }
    let udp = state.table.get_mut(&this)?;
    udp.remote = remote;
    let (socket, family) = (udp.socket.clone(), udp.family);
    let of_stream = || Arc::clone(&udp.streams);
    let incoming = Incoming { socket: socket.clone(), remote, _stream: of_stream() };
    let outgoing = Outgoing { socket, family, remote, permitted: 0, _stream: of_stream() };
    Ok((state.table.push(incoming)?, state.table.push(outgoing)?))
}

/// Connects. Linux does not choose another local address for another network by itself.
fn connect(socket: &Request, address: &Address) -> io::Result<()> {
    match block_on(socket.connect_async(address)) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => {
            socket.disconnect()?;
            block_on(socket.connect_async(address))
        }
        connected => connected,
    }
}

fn local_address(state: &mut State, (this,): (Socket,)) -> Outcome<IpSocketAddress> {
    let socket = state.table.get(&this)?;
    if socket.state != UdpState::Bound {
        return Err(ErrorCode::InvalidState.into());
    }
    address::to_guest(&socket.socket.getsockname()?)
}

fn remote_address(state: &mut State, (this,): (Socket,)) -> Outcome<IpSocketAddress> {
    let remote = state.table.get(&this)?.remote;
    Ok(remote.ok_or(ErrorCode::InvalidState)?.into())
}

/// Receives the datagrams that are there, as many as one call may allocate for, and one at
/// least.
fn receive(
    state: &mut State,
    (this, max_results): (Resource<Incoming>, u64),
) -> Outcome<Vec<IncomingDatagram>> {
    let most = usize::try_from(max_results).unwrap_or(usize::MAX).min(MOST);
    let call_memory = state.call_memory;
    let stream = state.table.get(&this)?;
    let (mut datagrams, mut sum) = (Vec::new(), 0);
    while datagrams.len() < most && (datagrams.is_empty() || sum + LONGEST <= call_memory) {
        let (data, from) = match block_on(stream.socket.recvfrom_async(LONGEST, 0)) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            // The next call reports an error of the kernel, if it lasts.
            Err(error) if !datagrams.is_empty() && error.raw_os_error().is_some() => break,
            Err(error) => return Err(error.into()),
        };
        let Some(from) = from.and_then(|from| from.to_socket_addr()) else { continue };
        // It may have come before the socket was connected.
        if stream.remote.is_some_and(|remote| remote != from) {
            continue;
        }
        sum += data.len();
        datagrams.push(IncomingDatagram {
            // Its memory has room for the longest datagram.
            data: data.as_slice().to_vec(),
            remote_address: from.into(),
        });
    }
    Ok(datagrams)
}

/// Permits datagrams if the kernel takes one. It may not take all of them.
fn check_send(state: &mut State, (this,): (Resource<Outgoing>,)) -> Outcome<u64> {
    let stream = state.table.get_mut(&this)?;
    stream.permitted = if stream.socket.is_ready(WRITABLE)? { MOST } else { 0 };
    Ok(stream.permitted as u64)
}

/// Sends datagrams until one fails, and returns their number. An error is one of the first.
fn send(
    mut cx: StoreContextMut<'_, State>,
    (this, datagrams): (Resource<Outgoing>, WasmList<OutgoingDatagram>),
) -> Outcome<u64> {
    let stream = cx.data_mut().table.get_mut(&this)?;
    let permitted = std::mem::take(&mut stream.permitted);
    if datagrams.len() > permitted {
        // The list is counted before it is copied.
        return Err(Failure::End(format_err!(
            "it sent {} datagrams at once, and {permitted} were permitted",
            datagrams.len()
        )));
    }
    let datagrams = datagrams.iter(&mut cx).and_then(Iterator::collect::<Result<Vec<_>>>);
    let mut sent = 0;
    for datagram in datagrams.map_err(Failure::End)? {
        match send_one(&mut cx, &this, &datagram) {
            Ok(()) => sent += 1,
            Err(Failure::Code(ErrorCode::WouldBlock)) => break,
            Err(Failure::Code(_)) if sent > 0 => break,
            Err(failure) => return Err(failure),
        }
    }
    Ok(sent)
}

fn send_one(
    cx: &mut Cx<'_>,
    this: &Resource<Outgoing>,
    datagram: &OutgoingDatagram,
) -> Outcome<()> {
    if datagram.data.len() > LONGEST {
        return Err(ErrorCode::DatagramTooLarge.into());
    }
    let state = cx.data_mut();
    let stream = state.table.get(this)?;
    let to = datagram.remote_address.map(|to| address::remote(stream.family, to)).transpose()?;
    let to = match (to, stream.remote) {
        (Some(to), Some(remote)) if to != remote => return Err(ErrorCode::InvalidArgument.into()),
        (to, remote) => to.or(remote).ok_or(ErrorCode::InvalidArgument)?,
    };
    let (to, is_connected) = (Address::from(to), stream.remote.is_some());
    // That of a connected socket was checked when it was connected.
    if !is_connected {
        check_destination(state, "send", Protocol::Udp, &to)?;
    }
    let socket = state.table.get(this)?.socket.clone();
    block_on(socket.sendto_async(datagram.data.as_le_slice(&*cx), &to))?;
    Ok(())
}
