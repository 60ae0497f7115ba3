//! `interface server`: facts about the server.

use std::os::unix::ffi::OsStrExt;

use socketserver::{AddressFamily, ServerInfo, SocketType, UnixAddress};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentNamedList, Linker, Lower};
use wasmtime::{Result, error::format_err};

use crate::bindings::types;
use crate::state::State;

pub(super) const NAME: &str = "socketserver:handler/server@0.1.0";

pub(super) fn add_to_linker(linker: &mut Linker<State>) -> Result<()> {
    let mut server = linker.instance(NAME)?;
    server
        .func_wrap("server-address", fact(|server| types::Address::from(&server.server_address)))?;
    server.func_wrap("address-family", fact(|server| family(server.address_family)))?;
    server.func_wrap("socket-type", fact(|server| socket_type(server.socket_type)))?;
    server.func_wrap("request-queue-size", fact(|server| server.request_queue_size))?;
    server.func_wrap("timeout", fact(|server| server.timeout.map(|timeout| timeout.as_secs_f64())))
}

/// A function without parameters that reads one fact.
fn fact<R>(
    read: impl Fn(&ServerInfo) -> R + Send + Sync + 'static,
) -> impl Fn(StoreContextMut<'_, State>, ()) -> Result<(R,)> + Send + Sync + 'static
where
    (R,): ComponentNamedList + Lower,
{
    move |store, ()| {
        let peer = store.data().peer.as_ref();
        let peer =
            peer.ok_or_else(|| format_err!("there is no server before the first request"))?;
        Ok((read(&peer.server),))
    }
}

fn family(family: AddressFamily) -> types::Family {
    match family {
        AddressFamily::Inet => types::Family::AfInet,
        AddressFamily::Inet6 => types::Family::AfInet6,
        AddressFamily::Unix => types::Family::AfUnix,
    }
}

fn socket_type(socket_type: SocketType) -> types::SocketKind {
    match socket_type {
        SocketType::Stream => types::SocketKind::SockStream,
    }
}

impl From<&socketserver::Address> for types::Address {
    fn from(address: &socketserver::Address) -> Self {
        match address {
            socketserver::Address::Inet(address) => {
                let [a, b, c, d] = address.ip().octets();
                types::Address::Ipv4(types::Ipv4Address {
                    host: (a, b, c, d),
                    port: address.port(),
                })
            }
            socketserver::Address::Inet6(address) => {
                let s = address.ip().segments();
                types::Address::Ipv6(types::Ipv6Address {
                    host: (s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]),
                    port: address.port(),
                    flowinfo: address.flowinfo(),
                    scope_id: address.scope_id(),
                })
            }
            socketserver::Address::Unix(address) => types::Address::Unix(match address {
                UnixAddress::Unnamed => types::UnixAddress::Unnamed,
                UnixAddress::Pathname(path) => {
                    types::UnixAddress::Pathname(path.as_os_str().as_bytes().to_vec())
                }
                UnixAddress::Abstract(name) => types::UnixAddress::Abstract(name.clone()),
            }),
        }
    }
}
