//! Listening sockets.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::address::{Address, AddressFamily, SocketType};
use crate::endpoint::Endpoint;
use crate::handler::ServerInfo;
use crate::request::Request;

/// What Python's class attributes say about a listening socket.
#[derive(Debug, Clone)]
pub(crate) struct SocketOptions {
    pub request_queue_size: u32,
    pub allow_reuse_address: bool,
    pub allow_reuse_port: bool,
    pub timeout: Option<Duration>,
}

/// A socket that takes requests.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Socket,
    endpoint: Endpoint,
    info: Arc<ServerInfo>,
}

impl Listener {
    /// Python's `server_bind` and `server_activate`. The standard library's
    /// `TcpListener::bind` does not do: it always allows reuse of the address,
    /// and chooses the backlog itself.
    ///
    /// `IPV6_V6ONLY` is left as the system has it, as CPython does: a server
    /// on `[::]` takes IPv4 clients too where that is the default. The path of a
    /// Unix socket is made here and, as in CPython, removed by nobody.
    pub(crate) fn bind(endpoint: &Endpoint, options: &SocketOptions) -> io::Result<Listener> {
        let address = endpoint.address();
        let domain = match address.family() {
            AddressFamily::Inet => Domain::IPV4,
            AddressFamily::Inet6 => Domain::IPV6,
            AddressFamily::Unix => Domain::UNIX,
        };
        let socket = Socket::new(domain, Type::STREAM, None)?;
        if options.allow_reuse_address {
            socket.set_reuse_address(true)?;
        }
        // Unix sockets have no ports (gh-128916).
        if options.allow_reuse_port && domain != Domain::UNIX {
            socket.set_reuse_port(true)?;
        }
        socket.bind(&address.to_kernel()?)?;
        socket.listen(i32::try_from(options.request_queue_size).unwrap_or(i32::MAX))?;
        // The loop must not block in `accept` for a client that has gone, or
        // that another process has taken.
        socket.set_nonblocking(true)?;
        let server_address = Address::from_kernel(&socket.local_addr()?)?;
        Ok(Listener {
            endpoint: Endpoint::at(server_address.clone()),
            info: Arc::new(ServerInfo {
                address_family: server_address.family(),
                server_address,
                socket_type: SocketType::Stream,
                request_queue_size: options.request_queue_size,
                timeout: options.timeout,
            }),
            socket,
        })
    }

    /// Python's `get_request`: takes one connection, blocking for its reads
    /// and writes and without a timeout, whatever the listening socket has.
    pub(crate) fn get_request(&self) -> io::Result<(Request, Address)> {
        let (socket, address) = self.socket.accept()?;
        Ok((Request::new(socket), Address::from_kernel(&address)?))
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn info(&self) -> &Arc<ServerInfo> {
        &self.info
    }

    pub(crate) fn fileno(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
