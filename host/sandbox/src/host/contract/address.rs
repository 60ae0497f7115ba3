//! Addresses that the host passes to a guest, and that a guest passes to the host.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;

use socketserver::{Address, UnixAddress};
use wasmtime::StoreContext;
use wasmtime::component::{ComponentType, Lift, WasmList};

use crate::host::bindings::types;
use crate::host::state::State;

/// The longest name that a Unix socket can have, in bytes.
const MAX_UNIX_NAME: usize = 108;

/// An address that a guest passes. Unlike the generated type of `types.address` it leaves
/// the name of a Unix socket in the guest's memory, because the guest chooses its length.
#[derive(ComponentType, Lift)]
#[component(variant)]
pub(super) enum GuestAddress {
    #[component(name = "ipv4")]
    Ipv4(types::Ipv4Address),
    #[component(name = "ipv6")]
    Ipv6(types::Ipv6Address),
    #[component(name = "unix")]
    Unix(GuestUnixAddress),
}

/// The address of a Unix socket that a guest passes: see [`GuestAddress`].
#[derive(ComponentType, Lift)]
#[component(variant)]
pub(super) enum GuestUnixAddress {
    #[component(name = "unnamed")]
    Unnamed,
    #[component(name = "pathname")]
    Pathname(WasmList<u8>),
    #[component(name = "abstract")]
    Abstract(WasmList<u8>),
}

impl GuestAddress {
    /// Returns the address; `None` if it is longer than the address of any socket.
    pub(super) fn to_address<'a>(
        &self,
        memory: impl Into<StoreContext<'a, State>>,
    ) -> Option<Address> {
        let short =
            |name: &WasmList<u8>| (name.len() <= MAX_UNIX_NAME).then(|| name.as_le_slice(memory));
        Some(match self {
            GuestAddress::Ipv4(types::Ipv4Address { host: (a, b, c, d), port }) => {
                let host = Ipv4Addr::new(*a, *b, *c, *d);
                Address::Inet(SocketAddrV4::new(host, *port))
            }
            GuestAddress::Ipv6(types::Ipv6Address { host, port, flowinfo, scope_id }) => {
                let h = host;
                let host = Ipv6Addr::new(h.0, h.1, h.2, h.3, h.4, h.5, h.6, h.7);
                Address::Inet6(SocketAddrV6::new(host, *port, *flowinfo, *scope_id))
            }
            GuestAddress::Unix(GuestUnixAddress::Unnamed) => UnixAddress::Unnamed.into(),
            GuestAddress::Unix(GuestUnixAddress::Pathname(name)) => {
                UnixAddress::Pathname(OsStr::from_bytes(short(name)?).into()).into()
            }
            GuestAddress::Unix(GuestUnixAddress::Abstract(name)) => {
                UnixAddress::Abstract(short(name)?.to_vec()).into()
            }
        })
    }
}

impl From<&Address> for types::Address {
    fn from(address: &Address) -> Self {
        match address {
            Address::Inet(address) => {
                let [a, b, c, d] = address.ip().octets();
                types::Address::Ipv4(types::Ipv4Address {
                    host: (a, b, c, d),
                    port: address.port(),
                })
            }
            Address::Inet6(address) => {
                let s = address.ip().segments();
                types::Address::Ipv6(types::Ipv6Address {
                    host: (s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]),
                    port: address.port(),
                    flowinfo: address.flowinfo(),
                    scope_id: address.scope_id(),
                })
            }
            Address::Unix(address) => types::Address::Unix(match address {
                UnixAddress::Unnamed => types::UnixAddress::Unnamed,
                UnixAddress::Pathname(path) => {
                    types::UnixAddress::Pathname(path.as_os_str().as_bytes().to_vec())
                }
                UnixAddress::Abstract(name) => types::UnixAddress::Abstract(name.clone()),
            }),
        }
    }
}
