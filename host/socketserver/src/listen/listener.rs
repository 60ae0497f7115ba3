//! The sockets that accept connections or receive datagrams.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::net::RecvFlags;
use rustix::net::sockopt::set_socket_passcred;
use socket2::{Domain, Socket, Type};

use super::options;
use crate::address::{Address, AddressFamily, SocketType, UnixAddress};
use crate::listen::bound_socket::{BoundSocket, longest_queue};
use crate::listen::descriptor_passing::PassedDescriptors;
use crate::listen::endpoint::Endpoint;
use crate::listen::packet_info;
use crate::listen::sys;
use crate::listen::unix_path::{SocketFile, UnixPath};
use crate::request::Request;
use crate::request::credentials::PeerCredentials;
use crate::server_info::ServerInfo;

/// The settings of a listening socket: in Python, class attributes of the server.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "most are Python's attributes")]
pub(crate) struct SocketOptions {
    pub request_queue_size: u32,
    /// The setting for streams.
    pub allow_reuse_address: bool,
    /// The setting for datagrams.
    pub allow_reuse_address_of_datagrams: bool,
    pub allow_reuse_port: bool,
    pub max_packet_size: usize,
    pub timeout: Option<Duration>,
    pub file: SocketFile,
    /// False if the process may have no thread beside the one that serves.
    pub may_start_threads: bool,
}

impl SocketOptions {
    fn allow_reuse_address_for(&self, socket_type: SocketType) -> bool {
        match socket_type {
            SocketType::Stream => self.allow_reuse_address,
            SocketType::Dgram => self.allow_reuse_address_of_datagrams,
        }
    }
}

/// A socket that accepts connections or receives datagrams.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Shared with the requests of a datagram server, which reply on it.
    socket: Arc<Socket>,
    endpoint: Endpoint,
    info: Arc<ServerInfo>,
    passed: PassedDescriptors,
    /// True if another process may serve at the socket after this one.
    is_shared: bool,
    has_packet_info: bool,
    /// The number of dropped datagrams that the kernel reported last.
    dropped: AtomicU32,
}

impl Listener {
    /// Binds the socket and listens: Python's `server_bind` and `server_activate`. The
    /// standard library's `TcpListener::bind` cannot be used: it always allows reuse of
    /// the address, and chooses the backlog itself.
    ///
    /// Without the option `v6only`, `IPV6_V6ONLY` keeps the default of the system, as in
    /// CPython: a server on `[::]` accepts IPv4 clients too if that is the
    /// default. This makes the file of a Unix socket. As in CPython, the server does not
    /// remove it.
    pub(crate) fn bind(endpoint: &Endpoint, options: &SocketOptions) -> io::Result<Listener> {
        let address = endpoint.address();
        let domain = match address.family() {
            AddressFamily::Inet => Domain::IPV4,
            AddressFamily::Inet6 => Domain::IPV6,
            AddressFamily::Unix => Domain::UNIX,
        };
        let socket_type = endpoint.socket_type();
        let kind = match socket_type {
            SocketType::Stream => Type::STREAM,
            SocketType::Dgram => Type::DGRAM,
        };
        let socket = Socket::new(domain, kind, None)?;
        let request_queue_size = endpoint.options().backlog_or(options.request_queue_size);
        let asked = endpoint.options();
        if asked.reuse_address_or(options.allow_reuse_address_for(socket_type)) {
            socket.set_reuse_address(true)?;
        }
        // Unix sockets have no ports (gh-128916).
        if asked.reuse_port_or(options.allow_reuse_port) && domain != Domain::UNIX {
            socket.set_reuse_port(true)?;
        }
        options::set_before_bind(&socket, endpoint)?;
        options::join_groups(&socket, endpoint)?;
        if endpoint.has_packet_info() {
            // Before the bind, so that it holds for the first datagram.
            packet_info::enable(&socket, address.family())?;
        }
        if (domain, kind) == (Domain::UNIX, Type::DGRAM) {
            // Before the bind, so that it holds for the first datagram.
            set_socket_passcred(&socket, true)?;
        }
        let passed = if domain == Domain::UNIX {
            PassedDescriptors::of_unix_socket(&socket, options.may_start_threads)
        } else {
            PassedDescriptors::Refused
        };
        match UnixPath::from_address(address) {
            Some(path) => path.bind(&socket, &address.to_kernel()?, &options.file)?,
            None => socket.bind(&address.to_kernel()?)?,
        }
        if socket_type == SocketType::Stream {
            socket.listen(i32::try_from(request_queue_size).unwrap_or(i32::MAX))?;
        }
        let server_address = Address::from_kernel(&socket.local_addr()?)?;
        let endpoint = endpoint.with_bound_address(server_address);
        Listener::with_socket(socket, endpoint, request_queue_size, passed, options)
    }

    /// Takes clients from a socket that another process has bound.
    pub(crate) fn adopt(bound: BoundSocket, options: &SocketOptions) -> io::Result<Listener> {
        let endpoint = bound.endpoint().clone();
        let socket = bound.socket;
        let family = endpoint.address().family();
        if endpoint.has_packet_info() {
            packet_info::enable(&socket, family)?;
        }
        let is_unix = family == AddressFamily::Unix;
        if is_unix && endpoint.socket_type() == SocketType::Dgram {
            set_socket_passcred(&socket, true)?;
        }
        let passed = if is_unix {
            PassedDescriptors::of_unix_socket(&socket, options.may_start_threads)
        } else {
            PassedDescriptors::Refused
        };
        let mut listener =
            Listener::with_socket(socket, endpoint, longest_queue(), passed, options)?;
        listener.is_shared = true;
        Ok(listener)
    }

    fn with_socket(
        socket: Socket,
        endpoint: Endpoint,
        request_queue_size: u32,
        passed: PassedDescriptors,
        options: &SocketOptions,
    ) -> io::Result<Listener> {
        // The loop must not block if a client has gone, or another process has taken it.
        socket.set_nonblocking(true)?;
        let (socket_type, server_address) = (endpoint.socket_type(), endpoint.address().clone());
        Ok(Listener {
            is_shared: false,
            has_packet_info: endpoint.has_packet_info(),
            dropped: AtomicU32::new(0),
            endpoint,
            info: Arc::new(ServerInfo {
                address_family: server_address.family(),
                server_address,
                socket_type,
                request_queue_size,
                max_packet_size: (socket_type == SocketType::Dgram)
                    .then_some(options.max_packet_size),
                timeout: options.timeout,
            }),
            socket: Arc::new(socket),
            passed,
        })
    }

    /// Takes one connection, or one datagram, of which the bytes beyond `max_packet_size`
    /// are lost. Python's `get_request`. The request has no timeout, even if the listening
    /// socket has one.
    pub(crate) fn get_request(&self) -> io::Result<(Request, Address)> {
        let Some(max_packet_size) = self.info.max_packet_size else {
            let (socket, address) = self.socket.accept()?;
            let request = Request::accepted(socket, self.passed);
            return Ok((request, Address::from_kernel(&address)?));
        };
        // A vector without capacity has no buffer for the kernel.
        let mut data = Vec::with_capacity(max_packet_size.max(1));
        let mut destination = None;
        let (address, sender) = if self.info.address_family == AddressFamily::Unix {
            let (flags, descriptors) = (RecvFlags::empty(), self.passed.may_come());
            let message = sys::receive_message(self.as_fd(), &mut data, flags, descriptors)?;
            self.passed.close(message.descriptors);
            let address = match message.address.len() {
                0 => Address::Unix(UnixAddress::Unnamed),
                _ => Address::from_kernel(&message.address)?,
            };
            (address, message.sender.and_then(PeerCredentials::from_kernel))
        } else if self.has_packet_info {
            let most = max_packet_size.max(1);
            let (address, sent_to) = packet_info::receive(self.as_fd(), &mut data, most)?;
            destination = sent_to;
            (address.into(), None)
        } else {
            let buffer = spare_capacity(&mut data);
            let (_, _, address) = rustix::net::recvfrom(&self.socket, buffer, RecvFlags::empty())?;
            (Address::from_sender(address)?, None)
        };
        data.truncate(max_packet_size);
        // A datagram that waits takes no more memory than its length.
        data.shrink_to_fit();
        Ok((Request::datagram(data, Arc::clone(&self.socket), sender, destination), address))
    }

    /// Returns the number of datagrams that the kernel has dropped since the last call.
    pub(crate) fn newly_dropped(&self) -> u32 {
        // The senders of Unix datagrams wait until the queue has room.
        let can_drop = self.info.socket_type == SocketType::Dgram
            && self.info.address_family != AddressFamily::Unix;
        let dropped = can_drop.then(|| sys::dropped_datagrams(self.as_fd()).ok()).flatten();
        // The kernel's number wraps around.
        dropped.map_or(0, |all| all.wrapping_sub(self.dropped.swap(all, Ordering::Relaxed)))
    }

    /// Refuses clients from now on, in all processes that have this socket: connecting
    /// fails, and so does sending to a Unix datagram socket. The kernel resets the
    /// connections in the queue of a TCP socket; those of a Unix socket, and datagrams,
    /// can still be taken.
    pub(crate) fn refuse(&self) {
        // It fails if the socket is shut down already, and for datagrams in a jail.
        let _ = self.socket.shutdown(std::net::Shutdown::Read);
    }

    /// Returns the socket for another process.
    pub(crate) fn to_bound_socket(&self) -> io::Result<BoundSocket> {
        Ok(BoundSocket { socket: self.socket.try_clone()?, endpoint: self.endpoint.clone() })
    }

    /// Returns true if another process may serve at the socket after this one.
    pub(crate) fn is_shared(&self) -> bool {
        self.is_shared
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn info(&self) -> &Arc<ServerInfo> {
        &self.info
    }

    /// Returns true if `request` replies on this socket.
    pub(crate) fn is_socket_of(&self, request: &Request) -> bool {
        request.as_fd().as_raw_fd() == self.socket.as_raw_fd()
    }

    pub(crate) fn fileno(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Empties the queue if it may have descriptors: the close of the socket would close them
/// in this thread. Those in the queue of a shared socket are for the next server.
impl Drop for Listener {
    fn drop(&mut self) {
        if self.passed.may_come() && !self.is_shared {
            // More than any queue holds, so that clients cannot prolong this without end.
            for _ in 0..1 << 16 {
                match self.get_request() {
                    Err(error) if error.kind() != io::ErrorKind::Interrupted => break,
                    _ => {}
                }
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
