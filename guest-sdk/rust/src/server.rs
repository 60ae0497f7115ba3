use crate::Address;
use crate::bindings::socketserver::handler::{server as host, types};
use crate::socket::duration;
use std::fmt;
use std::time::Duration;

/// The attributes of the server that received the request. Python's `self.server`.
///
/// They do not change during a request.
#[derive(Debug)]
pub struct Server {
    _private: (),
}

impl Server {
    pub(crate) fn new() -> Self {
        Self { _private: () }
    }

    /// Returns the address that the listening socket is bound to, with its actual
    /// port. Python's `server_address`.
    pub fn server_address(&self) -> Address {
        host::server_address().into()
    }

    /// Returns the address family of the listening socket. Python's `address_family`.
    pub fn address_family(&self) -> AddressFamily {
        host::address_family().into()
    }

    /// Returns the type of the listening socket. Python's `socket_type`.
    pub fn socket_type(&self) -> SocketKind {
        host::socket_type().into()
    }

    /// Returns the backlog that the operator requested for the listening socket.
    /// Python's `request_queue_size`.
    pub fn request_queue_size(&self) -> u32 {
        host::request_queue_size()
    }

    /// Returns the time that the server's `handle_request` waits for a request, or
    /// `None` for no limit. The timeout of the request socket is
    /// [`gettimeout`](crate::Socket::gettimeout). Python's `timeout`.
    pub fn timeout(&self) -> Option<Duration> {
        host::timeout().map(duration)
    }

    /// Returns the length of the longest datagram that the server receives whole, in
    /// bytes, or `None` for a stream server. Python's `max_packet_size`.
    pub fn max_packet_size(&self) -> Option<u32> {
        host::max_packet_size()
    }
}

/// An address family. Python's enumeration `AddressFamily`.
///
/// [`Display`](fmt::Display) writes Python's names, such as `AF_INET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressFamily {
    /// IPv4, `AF_INET`.
    Inet,
    /// IPv6, `AF_INET6`.
    Inet6,
    /// Unix sockets, `AF_UNIX`.
    Unix,
}

impl From<types::Family> for AddressFamily {
    fn from(family: types::Family) -> Self {
        match family {
            types::Family::AfInet => Self::Inet,
            types::Family::AfInet6 => Self::Inet6,
            types::Family::AfUnix => Self::Unix,
        }
    }
}

impl fmt::Display for AddressFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inet => "AF_INET",
            Self::Inet6 => "AF_INET6",
            Self::Unix => "AF_UNIX",
        })
    }
}

/// A socket type. Python's enumeration `SocketKind`.
///
/// [`Display`](fmt::Display) writes Python's names, such as `SOCK_STREAM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SocketKind {
    /// A connection, `SOCK_STREAM`.
    Stream,
    /// Datagrams, `SOCK_DGRAM`.
    Dgram,
    /// A connection that keeps message boundaries, `SOCK_SEQPACKET`.
    Seqpacket,
    /// Reliable datagrams in any order, `SOCK_RDM`.
    Rdm,
    /// Raw access to the network protocol, `SOCK_RAW`.
    Raw,
}

impl From<types::SocketKind> for SocketKind {
    fn from(kind: types::SocketKind) -> Self {
        match kind {
            types::SocketKind::SockStream => Self::Stream,
            types::SocketKind::SockDgram => Self::Dgram,
            types::SocketKind::SockSeqpacket => Self::Seqpacket,
            types::SocketKind::SockRdm => Self::Rdm,
            types::SocketKind::SockRaw => Self::Raw,
        }
    }
}

impl fmt::Display for SocketKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stream => "SOCK_STREAM",
            Self::Dgram => "SOCK_DGRAM",
            Self::Seqpacket => "SOCK_SEQPACKET",
            Self::Rdm => "SOCK_RDM",
            Self::Raw => "SOCK_RAW",
        })
    }
}
