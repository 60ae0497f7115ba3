//! `wasi:sockets`: the sockets and the lookups that the operator grants.
//!
//! The types, the errors and the behaviour are those of `wasmtime-wasi`. Its sockets are those
//! of Tokio, and need a runtime with threads or descriptors of its own. So the sockets here are
//! those of `interface network`, with the checks, limits and waits that they have there. None of
//! their calls waits: the guest waits for their pollables, as `poll.rs` does it.
//!
//! | file | contents |
//! |---|---|
//! | this one | `network` and `instance-network`, the result of a call, the checks of grants |
//! | `address` | the addresses that a call takes |
//! | `tcp`, `tcp_streams` | the states of a TCP socket, and the streams of a connection |
//! | `udp` | UDP sockets and their datagrams |
//! | `options` | the options of both |
//! | `lookup` | names |

mod address;
mod lookup;
mod options;
mod tcp;
mod tcp_streams;
mod udp;

pub(super) use lookup::add_ip_name_lookup;
pub(super) use tcp::{add_tcp, add_tcp_create_socket};
pub(super) use udp::{add_udp, add_udp_create_socket};

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, SockRef, Type};
use socketserver::{Address, Request};
use wasmtime::component::{Linker, Resource, ResourceTableError, ResourceType};
use wasmtime::{Result, StoreContextMut};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily};
use wasmtime_wasi_io::streams::Error;

use crate::host::grants::Grants;
use crate::host::opened_sockets::OpenedSockets;
use crate::host::state::State;
use crate::limits::kill::Kill;
use crate::network_grants::{Protocol, SocketGrant};

/// `network`, which stands for all networks. The grants say what a guest may reach.
struct Network;

type Cx<'a> = StoreContextMut<'a, State>;

/// The result of a call before it is one of the linker.
type Outcome<T> = std::result::Result<T, Failure>;

/// The reason for which a call failed.
enum Failure {
    /// The guest gets this error.
    Code(ErrorCode),
    /// The guest is ended.
    End(wasmtime::Error),
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Failure::Code(code)
    }
}

impl From<Kill> for Failure {
    fn from(kill: Kill) -> Self {
        Failure::End(kill.into())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Kill::of_opened(&error).map_or_else(|| ErrorCode::from(&error).into(), Failure::from)
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        io::Error::from(errno).into()
    }
}

impl From<ResourceTableError> for Failure {
    fn from(error: ResourceTableError) -> Self {
        Failure::End(error.into())
    }
}

/// Converts the result of a call into that of a host call.
fn reply<T>(outcome: Outcome<T>) -> Result<(std::result::Result<T, ErrorCode>,)> {
    match outcome {
        Ok(value) => Ok((Ok(value),)),
        Err(Failure::Code(code)) => Ok((Err(code),)),
        Err(Failure::End(error)) => Err(error),
    }
}

/// Defines methods of a resource, each with a function of the state and the parameters.
macro_rules! methods {
    ($instance:ident $resource:literal $($name:literal => $function:expr,)*) => {
        $($instance.func_wrap(
            concat!("[method]", $resource, ".", $name),
            |mut cx, params| $crate::host::wasi::sockets::reply($function(cx.data_mut(), params)),
        )?;)*
    };
}
use methods;

pub(super) fn add_network(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut network = linker.instance("wasi:sockets/network@0.2.0")?;
    network.resource("network", ResourceType::host::<Network>(), |mut cx, rep| {
        cx.data_mut().table.delete(Resource::<Network>::new_own(rep))?;
        Ok(())
    })?;
    network.func_wrap("network-error-code", |cx: Cx<'_>, (error,): (Resource<Error>,)| {
        let error = cx.data().table.get(&error)?;
        Ok((error.downcast_ref::<io::Error>().map(ErrorCode::from),))
    })
}

pub(super) fn add_instance_network(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut network = linker.instance("wasi:sockets/instance-network@0.2.0")?;
    network.func_wrap("instance-network", |mut cx: Cx<'_>, ()| {
        Ok((cx.data_mut().table.push(Network)?,))
    })
}

/// Opens a socket whose calls do not wait, if that is granted. An IPv6 socket is for IPv6 only,
/// as the interface demands.
fn open(
    state: &mut State,
    call: &str,
    protocol: Protocol,
    family: IpAddressFamily,
) -> Outcome<Request> {
    let (kind, example) = match protocol {
        Protocol::Udp => (Type::DGRAM, "--connect udp://HOST:PORT"),
        _ => (Type::STREAM, "--connect tcp://HOST:PORT"),
    };
    let opened = state.opened.as_deref().filter(|opened| opened.grants().may_open(protocol));
    let Some(opened) = opened else {
        return Err(denied(state, &format!("{call}: {example} would permit it")));
    };
    let domain = match family {
        IpAddressFamily::Ipv4 => Domain::IPV4,
        IpAddressFamily::Ipv6 => Domain::IPV6,
    };
    let socket = opened.socket(domain, kind, 0)?;
    if domain == Domain::IPV6 {
        SockRef::from(&socket).set_only_v6(true)?;
    }
    socket.settimeout(Some(Duration::ZERO));
    Ok(socket)
}

/// Returns the sockets that the guest has opened.
fn opened(state: &mut State) -> Outcome<&mut OpenedSockets> {
    state.opened.as_deref_mut().ok_or_else(|| ErrorCode::AccessDenied.into())
}

/// Fails if the guest may not bind a socket to `address`.
fn check_bind(state: &mut State, protocol: Protocol, address: &Address) -> Outcome<()> {
    if opened(state)?.grants().may_bind(protocol, address) {
        return Ok(());
    }
    Err(denied_listening(state, "bind to", protocol, address))
}

/// Fails if the guest may not listen with a socket that is bound to `address`.
fn check_listen(state: &mut State, address: &Address, has_bound_any_port: bool) -> Outcome<()> {
    let grants = opened(state)?.grants();
    if grants.may_listen_with(Protocol::Tcp, address, has_bound_any_port) {
        return Ok(());
    }
    Err(denied_listening(state, "listen at", Protocol::Tcp, address))
}

/// Fails if the guest may not connect or send to `address`.
fn check_destination(
    state: &mut State,
    call: &str,
    protocol: Protocol,
    address: &Address,
) -> Outcome<()> {
    if opened(state)?.may_connect(protocol, address) {
        return Ok(());
    }
    let grant = SocketGrant::of_address(protocol, address);
    let scheme = protocol.as_str();
    let call = format!("{call} {scheme}://{address}: --connect {grant} would permit it");
    Err(denied(state, &call))
}

fn denied_listening(
    state: &mut State,
    call: &str,
    protocol: Protocol,
    address: &Address,
) -> Failure {
    let grant = SocketGrant::of_address(protocol, address);
    denied(state, &format!("{call} {address}: --listen-grant {grant} would permit it"))
}

/// Denies the guest a call, and logs it.
fn denied(state: &mut State, call: &str) -> Failure {
    state.log_denial(call);
    ErrorCode::AccessDenied.into()
}
