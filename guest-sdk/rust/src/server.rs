use crate::Address;
use crate::bindings::socketserver::handler::{server as host, types};
use crate::socket::duration;
use std::fmt;
use std::time::Duration;

/// What a handler may know of the server that took its request: Python's
/// `self.server`.
///
/// None of it changes during a request.
#[derive(Debug)]
pub struct Server {
    _only_from_the_host: (),
}

impl Server {
    pub(crate) fn new() -> Self {
        Self { _only_from_the_host: () }
    }

    /// The address that the listening socket is bound to, with its real port.
    /// Python's `server_address`.
    pub fn server_address(&self) -> Address {
        host::server_address().into()
    }

    /// The family of the listening socket. Python's `address_family`.
    pub fn address_family(&self) -> AddressFamily {
        match host::address_family() {
            types::Family::AfInet => AddressFamily::Inet,
            types::Family::AfInet6 => AddressFamily::Inet6,
            types::Family::AfUnix => AddressFamily::Unix,
        }
    }

    /// The type of the listening socket. Python's `socket_type`.
    pub fn socket_type(&self) -> SocketKind {
        match host::socket_type() {
            types::SocketKind::SockStream => SocketKind::Stream,
            types::SocketKind::SockDgram => SocketKind::Dgram,
            types::SocketKind::SockSeqpacket => SocketKind::Seqpacket,
            types::SocketKind::SockRdm => SocketKind::Rdm,
            types::SocketKind::SockRaw => SocketKind::Raw,
        }
    }

    /// How many connections may wait to be accepted, as it was asked for.
    /// Python's `request_queue_size`.
    pub fn request_queue_size(&self) -> u32 {
        host::request_queue_size()
    }

    /// How long the server's `handle_request` waits for a request, `None` for
    /// without end. It says nothing about the request socket, which has
    /// [`gettimeout`](crate::Socket::gettimeout). Python's `timeout`.
    pub fn timeout(&self) -> Option<Duration> {
        host::timeout().map(duration)
    }

    /// The longest datagram that the server takes whole, in bytes; `None` for a
    /// stream server. Python's `max_packet_size`.
    pub fn max_packet_size(&self) -> Option<u32> {
        host::max_packet_size()
    }
}

/// The family of an address: Python's `AF_*` constants, of its enumeration
/// `AddressFamily`. Displayed as Python
/// names them, `AF_INET` and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressFamily {
    /// IPv4, `AF_INET`.
    Inet,
    /// IPv6, `AF_INET6`.
    Inet6,
    /// Unix sockets, `AF_UNIX`.
    Unix,
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

/// The type of a socket: Python's `SOCK_*` constants, of its enumeration
/// `SocketKind`. Displayed as Python
/// names them, `SOCK_STREAM` and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SocketKind {
    /// A connection, `SOCK_STREAM`.
    Stream,
    /// Datagrams, `SOCK_DGRAM`.
    Dgram,
    /// A connection that keeps the bounds of messages, `SOCK_SEQPACKET`.
    Seqpacket,
    /// Datagrams that arrive, in any order, `SOCK_RDM`.
    Rdm,
    /// The network protocol itself, `SOCK_RAW`.
    Raw,
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
