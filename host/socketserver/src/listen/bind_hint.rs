//! Advice about an address that cannot be bound.

use std::fmt;
use std::io;

use rustix::io::Errno;
use socket2::{Domain, Socket, Type};

use super::stale_socket;
use crate::address::{Address, SocketType, UnixAddress};
use crate::listen::endpoint::Endpoint;

/// The reason for which an address cannot be bound, if the kernel's error does not show
/// it and the user can remove it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BindHint {
    /// A closed socket has left its file at the path.
    /// [`ServerBuilder::remove_stale_socket`](crate::ServerBuilder::remove_stale_socket)
    /// removes it.
    StaleSocket,
    /// Only IPv4 sockets use the port, and the socket on `[::]` would take IPv4 clients
    /// too. With [`ListenOptions::only_v6`](crate::ListenOptions::only_v6) it does not.
    OnlyV6,
}

impl BindHint {
    /// Returns the hint about a failure to bind `endpoint`, for a server that listens on
    /// the endpoints `all`.
    pub(crate) fn find(endpoint: &Endpoint, all: &[Endpoint], error: &io::Error) -> Option<Self> {
        if Errno::from_io_error(error) != Some(Errno::ADDRINUSE) {
            return None;
        }
        match endpoint.address() {
            Address::Unix(UnixAddress::Pathname(path)) => {
                stale_socket::is_stale(path).then_some(BindHint::StaleSocket)
            }
            Address::Unix(_) => None,
            Address::Inet6(_) => is_free_for_v6_only(endpoint).then_some(BindHint::OnlyV6),
            Address::Inet(address) => {
                let takes_v4_port = |other: &&Endpoint| match other.address() {
                    Address::Inet6(v6) => accepts_v4(other) && v6.port() == address.port(),
                    _ => false,
                };
                let same_type = |other: &&Endpoint| other.socket_type() == endpoint.socket_type();
                all.iter()
                    .filter(same_type)
                    .any(|other| takes_v4_port(&other))
                    .then_some(BindHint::OnlyV6)
            }
        }
    }
}

/// Returns true if a socket of the endpoint accepts IPv4 clients too, by the default of
/// Linux.
fn accepts_v4(endpoint: &Endpoint) -> bool {
    let address = endpoint.address().to_socket_addr();
    address.is_some_and(|address| address.ip().is_unspecified() && address.is_ipv6())
        && !endpoint.options().is_only_v6()
}

/// Returns true if the endpoint could be bound by a socket with IPv6 clients only.
fn is_free_for_v6_only(endpoint: &Endpoint) -> bool {
    let kind = match endpoint.socket_type() {
        SocketType::Stream => Type::STREAM,
        SocketType::Dgram => Type::DGRAM,
    };
    let bound = || -> io::Result<()> {
        let socket = Socket::new(Domain::IPV6, kind, None)?;
        socket.set_only_v6(true)?;
        // As the sockets of stream servers.
        socket.set_reuse_address(endpoint.socket_type() == SocketType::Stream)?;
        socket.bind(&endpoint.address().to_kernel()?)
    };
    accepts_v4(endpoint) && bound().is_ok()
}

/// The reason, with the solution if that is a part of the endpoint.
impl fmt::Display for BindHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BindHint::StaleSocket => "no server has that file open any more",
            BindHint::OnlyV6 => {
                "a socket on [::] takes the IPv4 clients of its port too: add ?v6only=true to it"
            }
        })
    }
}
