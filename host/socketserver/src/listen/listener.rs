//! The sockets that take requests.

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
use crate::handler::ServerInfo;
use crate::listen::descriptor_passing::PassedDescriptors;
use crate::listen::endpoint::Endpoint;
use crate::listen::packet_info;
use crate::listen::unix_path::{SocketFile, UnixPath};
use crate::request::Request;
use crate::request::credentials::PeerCredentials;
use crate::sys;

/// What Python's class attributes say about the socket of a server.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "most are Python's attributes")]
pub(crate) struct SocketOptions {
    pub request_queue_size: u32,
    /// For streams.
    pub allow_reuse_address: bool,
    pub allow_reuse_address_of_datagrams: bool,
    pub allow_reuse_port: bool,
    pub max_packet_size: usize,
    pub timeout: Option<Duration>,
    pub file: SocketFile,
    /// Whether the process may have a thread beside those that serve.
    pub may_start_threads: bool,
}

impl SocketOptions {
    fn allows_reuse_of_address(&self, socket_type: SocketType) -> bool {
        match socket_type {
            SocketType::Stream => self.allow_reuse_address,
            SocketType::Dgram => self.allow_reuse_address_of_datagrams,
        }
    }
}

/// A socket that takes requests: one that listens for connections, or one that
/// receives datagrams.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Shared with the requests of a datagram server, which reply on it.
    socket: Arc<Socket>,
    endpoint: Endpoint,
    info: Arc<ServerInfo>,
    passed: PassedDescriptors,
    has_packet_info: bool,
    /// How many datagrams the kernel had dropped when it was last asked.
    dropped: AtomicU32,
}

impl Listener {
    /// Python's `server_bind` and `server_activate`. The standard library's
    /// `TcpListener::bind` does not do: it always allows reuse of the address,
    /// and chooses the backlog itself.
    ///
    /// Without an option that says otherwise, `IPV6_V6ONLY` is left as the system has
    /// it, as CPython does: a server on `[::]` takes IPv4 clients too where that is the
    /// default. The path of a
    /// Unix socket is made here and, as in CPython, removed by nobody.
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
        if asked.reuse_address_or(options.allows_reuse_of_address(socket_type)) {
            socket.set_reuse_address(true)?;
        }
        // Unix sockets have no ports (gh-128916).
        if asked.reuse_port_or(options.allow_reuse_port) && domain != Domain::UNIX {
            socket.set_reuse_port(true)?;
        }
        options::before_bind(&socket, endpoint)?;
        options::groups(&socket, endpoint)?;
        if endpoint.has_packet_info() {
            // Before it has a name, too.
            packet_info::enable(&socket, address.family())?;
        }
        if (domain, kind) == (Domain::UNIX, Type::DGRAM) {
            // Before it has a name: nobody sends it anything without saying who.
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
        // The loop must not block for a client that has gone, or that another
        // process has taken.
        socket.set_nonblocking(true)?;
        let server_address = Address::from_kernel(&socket.local_addr()?)?;
        Ok(Listener {
            has_packet_info: endpoint.has_packet_info(),
            dropped: AtomicU32::new(0),
            endpoint: endpoint.bound(server_address.clone()),
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

    /// Python's `get_request`: takes one connection, blocking for its reads
    /// and writes and without a timeout, whatever the listening socket has; or
    /// one datagram, of which what is longer than `max_packet_size` is lost.
    pub(crate) fn get_request(&self) -> io::Result<(Request, Address)> {
        let Some(max_packet_size) = self.info.max_packet_size else {
            let (socket, address) = self.socket.accept()?;
            let request = Request::accepted(socket, self.passed);
            return Ok((request, Address::from_kernel(&address)?));
        };
        // A buffer of no bytes is none.
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
            (Address::of_sender(address)?, None)
        };
        data.truncate(max_packet_size);
        // What waits for its turn takes no more than it must.
        data.shrink_to_fit();
        Ok((Request::datagram(data, Arc::clone(&self.socket), sender, destination), address))
    }

    /// How many datagrams the kernel has dropped since this was last asked.
    pub(crate) fn newly_dropped(&self) -> u32 {
        // The senders of Unix datagrams wait until there is room.
        let drops = self.info.socket_type == SocketType::Dgram
            && self.info.address_family != AddressFamily::Unix;
        let dropped = drops.then(|| sys::dropped_datagrams(self.as_fd()).ok()).flatten();
        // It begins anew after the largest number.
        dropped.map_or(0, |all| all.wrapping_sub(self.dropped.swap(all, Ordering::Relaxed)))
    }

    /// Refuses clients from now on, in all processes that have this socket: connecting
    /// fails, and so does sending to a Unix datagram socket. The kernel resets the
    /// connections in the queue of a TCP socket; those of a Unix socket, and datagrams,
    /// can still be taken.
    pub(crate) fn refuse(&self) {
        // It fails on a socket that is shut down already, and in a jail for datagrams.
        let _ = self.socket.shutdown(std::net::Shutdown::Read);
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn info(&self) -> &Arc<ServerInfo> {
        &self.info
    }

    /// Whether `request` replies on this socket.
    pub(crate) fn is_socket_of(&self, request: &Request) -> bool {
        request.as_fd().as_raw_fd() == self.socket.as_raw_fd()
    }

    pub(crate) fn fileno(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Takes what is still in the queue where that may have descriptors: the close of the
/// socket would drop them in this thread.
impl Drop for Listener {
    fn drop(&mut self) {
        if self.passed.may_come() {
            // More than any queue has, so that clients cannot go on for ever.
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
