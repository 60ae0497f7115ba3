//! What would let an address be bound that cannot be.

use std::fmt;
use std::io;

use rustix::io::Errno;
use socket2::{Domain, Socket, Type};

use super::stale_socket;
use crate::address::{Address, SocketType, UnixAddress};
use crate::listen::endpoint::Endpoint;

/// Why an address cannot be bound, where the kernel's error does not tell and there is
/// a way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BindHint {
    /// The address is in use by a file that a closed socket has left behind.
    /// [`ServerBuilder::remove_stale_socket`](crate::ServerBuilder::remove_stale_socket)
    /// removes it.
    StaleSocket,
    /// The port is in use by IPv4 sockets only, and the socket on `[::]` would take IPv4
    /// clients too. [`ListenOptions::only_v6`](crate::ListenOptions::only_v6) keeps it from
    /// that.
    OnlyV6,
}

impl BindHint {
    /// What there is to say about that failure to bind `endpoint`, of a server that is to
    /// listen at `all`.
    pub(crate) fn find(endpoint: &Endpoint, all: &[Endpoint], error: &io::Error) -> Option<Self> {
        if Errno::from_io_error(error) != Some(Errno::ADDRINUSE) {
            return None;
        }
        match endpoint.address() {
            Address::Unix(UnixAddress::Pathname(path)) => {
                stale_socket::is_stale(path).then_some(BindHint::StaleSocket)
            }
            Address::Unix(_) => None,
            Address::Inet6(_) => is_free_of_v6(endpoint).then_some(BindHint::OnlyV6),
            Address::Inet(address) => {
                let takes_it = |other: &&Endpoint| match other.address() {
                    Address::Inet6(v6) => is_for_v4(other) && v6.port() == address.port(),
                    _ => false,
                };
                let same_type = |other: &&Endpoint| other.socket_type() == endpoint.socket_type();
                all.iter()
                    .filter(same_type)
                    .any(|other| takes_it(&other))
                    .then_some(BindHint::OnlyV6)
            }
        }
    }
}

/// Whether a socket there takes IPv4 clients too, unless the system says otherwise.
fn is_for_v4(endpoint: &Endpoint) -> bool {
    let address = endpoint.address().to_socket_addr();
    address.is_some_and(|address| address.ip().is_unspecified() && address.is_ipv6())
        && !endpoint.options().is_only_v6()
}

/// Whether a socket there could be bound if it had IPv6 clients only.
fn is_free_of_v6(endpoint: &Endpoint) -> bool {
    let kind = match endpoint.socket_type() {
        SocketType::Stream => Type::STREAM,
        SocketType::Dgram => Type::DGRAM,
    };
    let bound = || -> io::Result<()> {
        let socket = Socket::new(Domain::IPV6, kind, None)?;
        socket.set_only_v6(true)?;
        // As servers of streams are bound.
        socket.set_reuse_address(endpoint.socket_type() == SocketType::Stream)?;
        socket.bind(&endpoint.address().to_kernel()?)
    };
    is_for_v4(endpoint) && bound().is_ok()
}

/// What is wrong; with the way out if that is a part of the endpoint.
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
