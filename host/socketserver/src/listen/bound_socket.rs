//! Listening sockets that another process has bound, such as systemd.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use socket2::{Domain, Socket, Type};
use thiserror::Error;

use crate::address::{Address, SocketType, UnixAddress};
use crate::listen::endpoint::Endpoint;
use crate::server_info::REQUEST_QUEUE_SIZE;

/// The file with the longest queue of connections.
const LONGEST_QUEUE: &str = "/proc/sys/net/core/somaxconn";

/// A listening socket that another process has bound, and may have open too.
///
/// The socket itself says what it is for: its type, its family and its address. The server
/// takes clients from it, and leaves all else as it is. At its end it closes its descriptor:
/// to make the socket refuse clients would hold for the other process too. Clients that wait
/// or come later are for the next server.
#[derive(Debug)]
pub struct BoundSocket {
    pub(crate) socket: Socket,
    pub(crate) endpoint: Endpoint,
}

/// The error of a descriptor that is not a [`BoundSocket`].
#[derive(Debug, Error)]
pub enum BoundSocketError {
    /// The descriptor is not a socket, or the kernel says nothing about it.
    #[error("it is not a socket")]
    NoSocket(#[source] std::io::Error),
    /// The socket is neither of streams nor of datagrams.
    #[error("it is neither a stream nor a datagram socket")]
    Type,
    /// The family of the socket is unknown.
    #[error("it is neither an Internet nor a Unix socket")]
    Family,
    /// The socket of streams does not listen.
    #[error("it does not listen, as a connection: with systemd, set Accept=no in the socket unit")]
    NotListening,
    /// The socket has no address.
    #[error("it has no address, so that no client can reach it")]
    NoAddress,
}

impl BoundSocket {
    /// Returns the address of the socket, and its type.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Returns the same socket, whose connections have TLS or have none.
    #[must_use]
    pub fn with_tls(self, has_tls: bool) -> Self {
        BoundSocket { endpoint: self.endpoint.with_tls(has_tls), ..self }
    }
}

impl From<BoundSocket> for OwnedFd {
    fn from(socket: BoundSocket) -> Self {
        socket.socket.into()
    }
}

impl AsFd for BoundSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl TryFrom<OwnedFd> for BoundSocket {
    type Error = BoundSocketError;

    fn try_from(fd: OwnedFd) -> Result<Self, BoundSocketError> {
        use BoundSocketError as E;
        let socket = Socket::from(fd);
        let socket_type = match socket.r#type().map_err(E::NoSocket)? {
            Type::STREAM => SocketType::Stream,
            Type::DGRAM => SocketType::Dgram,
            _ => return Err(E::Type),
        };
        if ![Domain::IPV4, Domain::IPV6, Domain::UNIX]
            .contains(&socket.domain().map_err(E::NoSocket)?)
        {
            return Err(E::Family);
        }
        if socket_type == SocketType::Stream && !socket.is_listener().map_err(E::NoSocket)? {
            return Err(E::NotListening);
        }
        let address = Address::from_kernel(&socket.local_addr().map_err(E::NoSocket)?);
        let address = address.map_err(|_| E::Family)?;
        let has_port = address.to_socket_addr().is_none_or(|address| address.port() != 0);
        if !has_port || address == Address::Unix(UnixAddress::Unnamed) {
            return Err(E::NoAddress);
        }
        Ok(BoundSocket { socket, endpoint: Endpoint::new(socket_type, address) })
    }
}

/// Returns the number of connections that may wait at a socket whose backlog is unknown: the
/// most that the kernel allows.
pub(crate) fn longest_queue() -> u32 {
    let text = fs::read_to_string(LONGEST_QUEUE).ok();
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(REQUEST_QUEUE_SIZE)
}
