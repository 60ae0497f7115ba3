//! `interface server`: facts about the server.

use socketserver::{AddressFamily, ServerInfo, SocketType};
use wasmtime::component::{ComponentNamedList, Linker, Lower};
use wasmtime::{Result, StoreContextMut};

use crate::host::bindings::types;
use crate::host::state::State;

pub(super) const NAME: &str = "socketserver:handler/server@0.1.0";

pub(super) fn add_to_linker(linker: &mut Linker<State>) -> Result<()> {
    let mut server = linker.instance(NAME)?;
    server
        .func_wrap("server-address", fact(|server| types::Address::from(&server.server_address)))?;
    server.func_wrap("address-family", fact(|server| family(server.address_family)))?;
    server.func_wrap("socket-type", fact(|server| socket_type(server.socket_type)))?;
    server.func_wrap("request-queue-size", fact(|server| server.request_queue_size))?;
    server
        .func_wrap("timeout", fact(|server| server.timeout.map(|timeout| timeout.as_secs_f64())))?;
    server.func_wrap("max-packet-size", fact(|server| server.max_packet_size.map(to_u32)))
}

/// Returns a host function without parameters that reads one fact.
fn fact<R>(
    read: impl Fn(&ServerInfo) -> R + Send + Sync + 'static,
) -> impl Fn(StoreContextMut<'_, State>, ()) -> Result<(R,)> + Send + Sync + 'static
where
    (R,): ComponentNamedList + Lower,
{
    move |store, ()| Ok((read(&store.data().request_info()?.server),))
}

pub(super) fn family(family: AddressFamily) -> types::Family {
    match family {
        AddressFamily::Inet => types::Family::AfInet,
        AddressFamily::Inet6 => types::Family::AfInet6,
        AddressFamily::Unix => types::Family::AfUnix,
    }
}

pub(super) fn socket_type(socket_type: SocketType) -> types::SocketKind {
    match socket_type {
        SocketType::Stream => types::SocketKind::SockStream,
        SocketType::Dgram => types::SocketKind::SockDgram,
    }
}

fn to_u32(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
