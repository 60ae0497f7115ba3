//! The addresses of sockets.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};

use socket2::SockAddr;

/// The address of one end of a socket: what Python's `socket` module gives as
/// a tuple.
///
/// It prints as `127.0.0.1:9999` or `[::1]:9999`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// `AF_INET`: Python's `(host, port)`.
    Inet(SocketAddrV4),
    /// `AF_INET6`: Python's `(host, port, flowinfo, scope_id)`.
    Inet6(SocketAddrV6),
}

/// The family of an address: Python's `AF_*` constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressFamily {
    /// IPv4.
    Inet,
    /// IPv6.
    Inet6,
}

/// The type of a socket: Python's `SOCK_*` constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SocketType {
    /// A stream of bytes, as TCP is.
    Stream,
}

impl Address {
    /// The family that a socket needs to use this address.
    pub fn family(&self) -> AddressFamily {
        match self {
            Address::Inet(_) => AddressFamily::Inet,
            Address::Inet6(_) => AddressFamily::Inet6,
        }
    }

    /// The host, as a number.
    pub fn ip(&self) -> IpAddr {
        match self {
            Address::Inet(address) => IpAddr::V4(*address.ip()),
            Address::Inet6(address) => IpAddr::V6(*address.ip()),
        }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        match self {
            Address::Inet(address) => address.port(),
            Address::Inet6(address) => address.port(),
        }
    }

    /// The address as the standard library has it.
    pub fn to_socket_addr(&self) -> SocketAddr {
        match self {
            Address::Inet(address) => SocketAddr::V4(*address),
            Address::Inet6(address) => SocketAddr::V6(*address),
        }
    }

    /// Takes an address that the kernel returned.
    pub(crate) fn from_kernel(address: &SockAddr) -> io::Result<Address> {
        address.as_socket().map(Address::from).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::Unsupported,
                format!("an address of family {}, which is not served here", address.family()),
            )
        })
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => Address::Inet(address),
            SocketAddr::V6(address) => Address::Inet6(address),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_socket_addr().fmt(f)
    }
}
