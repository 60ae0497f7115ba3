//! `wasi:sockets`: everything is denied.
//!
//! The libraries of Python, JavaScript, Go and Rust import these interfaces whether or not a
//! program uses them, so they can be linked. Three functions ask for something, and each of
//! them is denied: no socket is created and no name is looked up. All other functions need a
//! handle that only those three would return.

#![allow(clippy::needless_pass_by_value, reason = "the Linker gives its functions values")]

use std::sync::Arc;

use wasmtime::component::{
    ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType, Val, WasmStr,
};
use wasmtime::{Result, StoreContextMut, bail};

use crate::host::grants::Grants;
use crate::host::state::State;

/// `network`, of which a guest may have handles. They allow nothing.
struct Network;

/// Resources of which no handle exists.
struct TcpSocket;
struct UdpSocket;
struct IncomingDatagrams;
struct OutgoingDatagrams;
struct ResolvedAddresses;

/// `ip-address-family`.
#[derive(Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "guests choose one, and the host does not look at it")]
enum IpAddressFamily {
    #[component(name = "ipv4")]
    Ipv4,
    #[component(name = "ipv6")]
    Ipv6,
}

macro_rules! error_codes {
    ($($case:ident $name:literal,)*) => {
        /// `error-code`, of which the host returns one.
        #[derive(Clone, Copy, ComponentType, Lower)]
        #[component(enum)]
        #[repr(u8)]
        #[allow(dead_code, reason = "the type has all errors of the interface")]
        enum ErrorCode {
            $(#[component(name = $name)] $case,)*
        }
    };
}

error_codes! {
    Unknown "unknown",
    AccessDenied "access-denied",
    NotSupported "not-supported",
    InvalidArgument "invalid-argument",
    OutOfMemory "out-of-memory",
    Timeout "timeout",
    ConcurrencyConflict "concurrency-conflict",
    NotInProgress "not-in-progress",
    WouldBlock "would-block",
    InvalidState "invalid-state",
    NewSocketLimit "new-socket-limit",
    AddressNotBindable "address-not-bindable",
    AddressInUse "address-in-use",
    RemoteUnreachable "remote-unreachable",
    ConnectionRefused "connection-refused",
    ConnectionReset "connection-reset",
    ConnectionAborted "connection-aborted",
    DatagramTooLarge "datagram-too-large",
    NameUnresolvable "name-unresolvable",
    TemporaryResolverFailure "temporary-resolver-failure",
    PermanentResolverFailure "permanent-resolver-failure",
}

type Cx<'a> = StoreContextMut<'a, State>;
/// The result of a function that is denied.
type Denied<T> = (std::result::Result<Resource<T>, ErrorCode>,);

pub(super) fn add_network(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut network = linker.instance("wasi:sockets/network@0.2.0")?;
    network.resource("network", ResourceType::host::<Network>(), |mut cx, rep| {
        cx.data_mut().table.delete(Resource::<Network>::new_own(rep))?;
        Ok(())
    })?;
    // No error of a stream comes from a socket.
    network.func_new("network-error-code", |_, _, _, results| {
        results.fill(Val::Option(None));
        Ok(())
    })
}

pub(super) fn add_instance_network(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut network = linker.instance("wasi:sockets/instance-network@0.2.0")?;
    network.func_wrap("instance-network", |mut cx: Cx<'_>, ()| {
        Ok((cx.data_mut().table.push(Network)?,))
    })
}

pub(super) fn add_tcp_create_socket(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut create = linker.instance("wasi:sockets/tcp-create-socket@0.2.0")?;
    create.func_wrap("create-tcp-socket", |cx: Cx<'_>, (_,): (IpAddressFamily,)| {
        Ok(deny::<TcpSocket>(cx, "create-tcp-socket"))
    })
}

pub(super) fn add_udp_create_socket(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut create = linker.instance("wasi:sockets/udp-create-socket@0.2.0")?;
    create.func_wrap("create-udp-socket", |cx: Cx<'_>, (_,): (IpAddressFamily,)| {
        Ok(deny::<UdpSocket>(cx, "create-udp-socket"))
    })
}

/// Defines the look-up of names. The host does not read the name.
pub(super) fn add_ip_name_lookup(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut lookup = linker.instance("wasi:sockets/ip-name-lookup@0.2.0")?;
    without_handles::<ResolvedAddresses>(
        &mut lookup,
        "resolve-address-stream",
        &["resolve-next-address", "subscribe"],
    )?;
    lookup.func_wrap("resolve-addresses", |cx: Cx<'_>, (_, _): (Resource<Network>, WasmStr)| {
        Ok(deny::<ResolvedAddresses>(cx, "resolve-addresses"))
    })
}

pub(super) fn add_tcp(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut tcp = linker.instance("wasi:sockets/tcp@0.2.0")?;
    without_handles::<TcpSocket>(&mut tcp, "tcp-socket", &TCP_METHODS)
}

pub(super) fn add_udp(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut udp = linker.instance("wasi:sockets/udp@0.2.0")?;
    without_handles::<UdpSocket>(&mut udp, "udp-socket", &UDP_METHODS)?;
    without_handles::<IncomingDatagrams>(
        &mut udp,
        "incoming-datagram-stream",
        &["receive", "subscribe"],
    )?;
    without_handles::<OutgoingDatagrams>(
        &mut udp,
        "outgoing-datagram-stream",
        &["check-send", "send", "subscribe"],
    )
}

const TCP_METHODS: [&str; 28] = [
    "start-bind",
    "finish-bind",
    "start-connect",
    "finish-connect",
    "start-listen",
    "finish-listen",
    "accept",
    "local-address",
    "remote-address",
    "is-listening",
    "address-family",
    "set-listen-backlog-size",
    "keep-alive-enabled",
    "set-keep-alive-enabled",
    "keep-alive-idle-time",
    "set-keep-alive-idle-time",
    "keep-alive-interval",
    "set-keep-alive-interval",
    "keep-alive-count",
    "set-keep-alive-count",
    "hop-limit",
    "set-hop-limit",
    "receive-buffer-size",
    "set-receive-buffer-size",
    "send-buffer-size",
    "set-send-buffer-size",
    "subscribe",
    "shutdown",
];

const UDP_METHODS: [&str; 13] = [
    "start-bind",
    "finish-bind",
    "stream",
    "local-address",
    "remote-address",
    "address-family",
    "unicast-hop-limit",
    "set-unicast-hop-limit",
    "receive-buffer-size",
    "set-receive-buffer-size",
    "send-buffer-size",
    "set-send-buffer-size",
    "subscribe",
];

fn deny<T>(mut cx: Cx<'_>, call: &str) -> Denied<T> {
    cx.data_mut().log_denial(call);
    (Err(ErrorCode::AccessDenied),)
}

/// Defines a resource of which a guest never has a handle. The engine ends a guest that calls
/// a method without one.
fn without_handles<T: 'static>(
    instance: &mut LinkerInstance<'_, State>,
    resource: &str,
    methods: &[&str],
) -> Result<()> {
    instance.resource(resource, ResourceType::host::<T>(), |_, _| Ok(()))?;
    for method in methods {
        instance.func_new(&format!("[method]{resource}.{method}"), |_, _, _, _| {
            bail!("it used a socket, and has none")
        })?;
    }
    Ok(())
}
