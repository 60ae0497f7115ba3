//! The request: the connection that a handler talks to, or a datagram and the
//! socket to reply on.
//!
//! | file | contents |
//! |---|---|
//! | this one | [`Request`]: its addresses, options, and end |
//! | `receive`, `send`, `flags` | receiving and sending, and the flags of these calls |
//! | `io` | the one way in which these calls wait |
//! | `sendfile` | files that the kernel sends |
//! | `limits` | the operator's side: limits, byte counts, guards |
//! | `readiness` | waiting until a call would not have to wait |
//! | `transport` | the calls that move bytes; the place for streams other than bare sockets |
//! | `secured`, `tls_facts` | the calls of a connection with TLS, and facts about its handshake |
//! | `opened`, `address_calls` | sockets that the handler of a request opens, and calls on them that another process makes |
//! | `deadlines`, `wait` | the timeouts of a request, and the one place where it waits |
//! | `traffic` | the bytes that a request has moved, and may move |
//! | `usage` | the resources that its handler has used |
//! | `options`, `sockopt` | the options of its socket, and the list of those that handlers may use |
//! | `credentials` | the user of a Unix client |

pub(crate) mod address_calls;
pub(crate) mod credentials;
pub(crate) mod deadlines;
mod flags;
mod io;
mod limits;
pub(crate) mod opened;
mod options;
pub(crate) mod readiness;
mod receive;
mod secured;
mod send;
mod sendfile;
pub(crate) mod sockopt;
mod tls_facts;
pub(crate) mod traffic;
mod transport;
mod usage;
pub(crate) mod wait;

use std::io::Result;
use std::net::{IpAddr, Shutdown};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use socket2::Socket;

use credentials::PeerCredentials;
use deadlines::Deadlines;
pub(crate) use limits::Guards;
use traffic::Traffic;
use transport::{Connection, Datagram, Transport};
pub use usage::Usage;
use wait::block_on;

use crate::address::{Address, AddressFamily, SocketType};
use crate::listen::descriptor_passing::PassedDescriptors;
use crate::listen::packet_info::Destination;
use crate::tls::TlsServer;

/// The request that a handler answers: Python's `self.request`.
///
/// For a stream server it is a connection. For a datagram server Python has a
/// pair, `data, socket = self.request`; here the datagram is [`data`](Self::data)
/// and the other methods are those of the socket.
///
/// Its methods have the names and the meaning of Python's `socket` methods. As
/// in Python it is a reference: clones share one connection, which is closed
/// when the last clone is dropped. The server shuts down the sending side of the
/// connection after the handler has returned, even if a clone still exists.
///
/// The socket of a datagram request is the server's own, so that replies come
/// from the address that the client wrote to. That socket holds the datagrams of other
/// clients and serves later requests. Calls that would take those datagrams, or end the
/// socket, fail with `EOPNOTSUPP` here, where Python lets a handler make them.
///
/// A new request has no timeout, even if the listening socket has one.
#[derive(Debug, Clone)]
pub struct Request(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    transport: Transport,
    begun: Instant,
    earliest_arrival: Instant,
    /// Set when the handler has closed the request.
    closed: AtomicBool,
    /// Set if the process ends with the request.
    is_last_of_process: AtomicBool,
    deadlines: Deadlines,
    traffic: Arc<Traffic>,
    guards: Mutex<Guards>,
    usage: OnceLock<Usage>,
    /// The CPU time of other threads for the request, in nanoseconds.
    elsewhere: AtomicU64,
}

impl Request {
    /// Returns a request on a connected stream socket, blocking or not.
    ///
    /// With one end of a pair of sockets, a test can call a handler without a server:
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::os::unix::net::UnixStream;
    /// use socketserver::Request;
    ///
    /// let (mut client, server) = UnixStream::pair()?;
    /// let request = Request::new(server);
    /// client.write_all(b"hello")?;
    /// assert_eq!(request.recv(1024)?, b"hello");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new(socket: impl Into<Socket>) -> Self {
        Request::accepted(socket.into(), PassedDescriptors::Refused)
    }

    /// Returns a request with a datagram that `socket` has received. Replies are sent
    /// from `socket`.
    pub fn from_datagram(data: impl Into<Vec<u8>>, socket: impl Into<Socket>) -> Self {
        Request::datagram(data.into(), Arc::new(socket.into()), None, None)
    }

    /// Returns a request on a connection that a listening socket has accepted.
    pub(crate) fn accepted(socket: Socket, passed: PassedDescriptors) -> Self {
        Request::from_transport(Transport::Connection(Connection::new(socket, passed)), 0)
    }

    /// Gives a connection TLS. Returns false, and the connection has none, if there is a clone
    /// already.
    #[must_use]
    pub(crate) fn set_tls(&mut self, tls: TlsServer) -> bool {
        let Some(Inner { transport: Transport::Connection(connection), .. }) =
            Arc::get_mut(&mut self.0)
        else {
            return false;
        };
        connection.set_tls(tls);
        true
    }

    /// Returns a request with a datagram, the socket that received it, the sender if
    /// that is a Unix socket, and the destination if `socket` has several addresses.
    pub(crate) fn datagram(
        data: Vec<u8>,
        socket: Arc<Socket>,
        sender: Option<PeerCredentials>,
        destination: Option<Destination>,
    ) -> Self {
        let received = data.len();
        let datagram = Datagram { data, socket, sender, destination };
        Request::from_transport(Transport::Datagram(datagram), received)
    }

    fn from_transport(transport: Transport, received: usize) -> Self {
        let begun = Instant::now();
        Request(Arc::new(Inner {
            transport,
            begun,
            earliest_arrival: begun,
            closed: AtomicBool::new(false),
            is_last_of_process: AtomicBool::new(false),
            deadlines: Deadlines::new(),
            traffic: Arc::new(Traffic::new(received)),
            guards: Mutex::default(),
            usage: OnceLock::new(),
            elsewhere: AtomicU64::new(0),
        }))
    }

    /// Sets the value of [`earliest_arrival`](Self::earliest_arrival), if there is no
    /// clone yet.
    pub(crate) fn set_earliest_arrival(&mut self, earliest_arrival: Instant) {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.earliest_arrival = earliest_arrival;
        }
    }

    /// Begins the request now, and not when its connection was accepted, if there is no clone
    /// yet.
    pub(crate) fn begin_now(&mut self) {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.begun = Instant::now();
            inner.deadlines = Deadlines::new();
        }
    }

    /// Returns the earliest time at which the client can have arrived: the last time at
    /// which the queue that it was taken from was known to be empty. A client that did
    /// not have to wait arrived a moment after it.
    pub fn earliest_arrival(&self) -> Instant {
        self.0.earliest_arrival
    }

    /// Returns the type of the socket: a stream for a connection. Python's `type`.
    pub fn socket_type(&self) -> SocketType {
        match &self.0.transport {
            Transport::Datagram(_) => SocketType::Dgram,
            Transport::Opened(opened) if !opened.is_stream() => SocketType::Dgram,
            _ => SocketType::Stream,
        }
    }

    /// Returns the address family of the socket. Python's `family`.
    ///
    /// # Errors
    ///
    /// The errors of `getsockopt(2)`.
    pub fn family(&self) -> Result<AddressFamily> {
        let socket = self.0.transport.socket();
        match rustix::net::sockopt::socket_domain(socket)? {
            rustix::net::AddressFamily::INET => Ok(AddressFamily::Inet),
            rustix::net::AddressFamily::INET6 => Ok(AddressFamily::Inet6),
            rustix::net::AddressFamily::UNIX => Ok(AddressFamily::Unix),
            _ => Err(Errno::AFNOSUPPORT.into()),
        }
    }

    /// Returns the datagram, of at most the server's `max_packet_size` bytes; nothing for
    /// a connection. The first of Python's pair `data, socket`.
    pub fn data(&self) -> &[u8] {
        match &self.0.transport {
            Transport::Datagram(datagram) => &datagram.data,
            _ => &[],
        }
    }

    /// Returns the address that a datagram was sent to, if its socket has several.
    pub(crate) fn destination(&self) -> Option<Destination> {
        match &self.0.transport {
            Transport::Datagram(datagram) => datagram.destination,
            _ => None,
        }
    }

    /// Returns the IP address that the client wrote to, if its socket knows it: the local
    /// address of a connection, and the destination of a datagram whose socket has several
    /// addresses. An address that several machines have does not count.
    pub fn local_ip(&self) -> Option<IpAddr> {
        match &self.0.transport {
            Transport::Datagram(datagram) => datagram.destination.and_then(Destination::unicast),
            _ => self.getsockname().ok()?.to_socket_addr().map(|address| address.ip()),
        }
    }

    /// Shuts down one half of the connection or both. Python's `shutdown`.
    ///
    /// # Errors
    ///
    /// The errors of `shutdown(2)`, such as `ENOTCONN`; `EOPNOTSUPP` for a datagram.
    pub fn shutdown(&self, how: Shutdown) -> Result<()> {
        self.check_open()?;
        let connection = self.0.transport.connection()?;
        match connection.tls() {
            Some(tls) => secured::shutdown(tls, connection.records(), how),
            None => connection.shutdown(how),
        }
    }

    /// Closes the request: the client sees the end of its connection, and later calls
    /// fail with `EBADF`. Closing twice is no error. Python's `close`.
    ///
    /// The descriptor itself lives until the last clone is dropped; the descriptor of a
    /// datagram server lives until the server is closed.
    pub fn close(&self) {
        let was_closed = self.0.closed.swap(true, Ordering::Relaxed);
        if let (false, Transport::Connection(connection)) = (was_closed, &self.0.transport) {
            // The other end may have gone already.
            let _ = match connection.tls() {
                Some(tls) => secured::shutdown(tls, connection.records(), Shutdown::Both),
                None => connection.shutdown(Shutdown::Both),
            };
        }
    }

    /// Returns the address of the other end. Python's `getpeername`.
    ///
    /// # Errors
    ///
    /// The errors of `getpeername(2)`, such as `ENOTCONN` after a reset; `EBADF` if the
    /// handler closed the request.
    pub fn getpeername(&self) -> Result<Address> {
        self.check_open()?;
        Address::from_kernel(&self.0.transport.socket().peer_addr()?)
    }

    /// Returns the address of this end. Python's `getsockname`.
    ///
    /// # Errors
    ///
    /// `EBADF` if the handler closed the request.
    pub fn getsockname(&self) -> Result<Address> {
        self.check_open()?;
        Address::from_kernel(&self.0.transport.socket().local_addr()?)
    }

    /// Returns the user and group of the process at the other end of a Unix socket: the
    /// process that connected, or that sent the datagram. They come from the kernel, so
    /// a client cannot forge them. Returns `None` for other sockets, and if the
    /// kernel does not know. Python's `getsockopt(SOL_SOCKET, SO_PEERCRED)`.
    pub fn peer_credentials(&self) -> Option<PeerCredentials> {
        match &self.0.transport {
            Transport::Connection(connection) => connection.peer_credentials(),
            Transport::Datagram(datagram) => datagram.sender,
            Transport::Opened(opened) => opened.connection.peer_credentials(),
            Transport::Closed(_) => None,
        }
    }

    /// Sets the longest time that one call may wait: `None` for no limit, zero for calls
    /// that do not wait. Python's `settimeout`.
    pub fn settimeout(&self, timeout: Option<Duration>) {
        self.0.deadlines.set_call_timeout(timeout);
    }

    /// Returns the value that [`settimeout`](Self::settimeout) has set. Python's
    /// `gettimeout`.
    pub fn gettimeout(&self) -> Option<Duration> {
        self.0.deadlines.call_timeout()
    }

    /// Returns the descriptor, or `None` if the handler has closed the request. Python's
    /// `fileno`, which is -1 then.
    pub fn fileno(&self) -> Option<RawFd> {
        self.check_open().ok().map(|()| self.0.transport.socket().as_raw_fd())
    }

    /// Ends the request when the handler has returned: announces that nothing more will
    /// be sent, so that unread input does not turn the end of the
    /// reply into a reset. Python's `shutdown_request`, whose `close` happens
    /// when the last clone is dropped. A datagram needs neither.
    ///
    /// The guards are dropped before the end: a client that sees it, and connects again at
    /// once, must find its permit free. What TLS still has for the client is sent before that,
    /// because it may take as long as the request may wait.
    ///
    /// A connection with TLS says that it ends unless the request has failed: a client can tell
    /// an answer that is not whole.
    pub(crate) fn shutdown_request(&self, has_failed: bool) {
        // It has no error of its own.
        let _ = block_on(async {
            self.shutdown_request_async(has_failed).await;
            Ok::<_, std::io::Error>(())
        });
    }

    /// As [`shutdown_request`](Self::shutdown_request).
    pub(crate) async fn shutdown_request_async(&self, has_failed: bool) {
        let connection = match &self.0.transport {
            Transport::Connection(connection) => Some(connection),
            _ => None,
        };
        let tls = connection.filter(|connection| !connection.resets()).and_then(Connection::tls);
        if tls.is_some() {
            // The client may have gone.
            let _ = self.send_last_records(!has_failed).await;
        }
        drop(self.take_guards());
        let Some(connection) = connection else { return };
        if let (Some(tls), false) = (tls, has_failed) {
            // There is room for it, unless a limit was reached.
            let _ = tls.close(connection.records());
        }
        connection.end_sending();
    }

    /// Returns true if the process ends with this request: in a child of
    /// [`Concurrency::Forking`](crate::Concurrency::Forking). A handler can then leave its
    /// memory to the kernel, which frees all memory of the process anyway.
    pub fn is_last_of_process(&self) -> bool {
        self.0.is_last_of_process.load(Ordering::Relaxed)
    }

    /// Tells the handler that the process ends with this request.
    pub(crate) fn set_last_of_process(&self) {
        self.0.is_last_of_process.store(true, Ordering::Relaxed);
    }

    /// Leaves the connection, and all data in it, to a forked child.
    pub(crate) fn leave_to_child(&self) {
        if let Transport::Connection(connection) = &self.0.transport {
            connection.leave_to_child();
        }
    }

    fn check_open(&self) -> Result<()> {
        if self.0.closed.load(Ordering::Relaxed) {
            return Err(Errno::BADF.into());
        }
        Ok(())
    }
}

/// The descriptor, even if the handler has closed the request.
impl AsFd for Request {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.transport.socket().as_fd()
    }
}
