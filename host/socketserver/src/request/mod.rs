//! The request: the connection that a handler talks to, or a datagram and the
//! socket to reply on.

mod limits;

use std::any::Any;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use socket2::Socket;

use crate::address::{Address, SocketType, UnixAddress};
use crate::credentials::PeerCredentials;
use crate::descriptor_passing::PassedDescriptors;
use crate::packet_info::{self, Destination};
use crate::patience::Patience;
use crate::sockopt;
use crate::traffic::{ReceiveLimit, SendLimit, Traffic};
use crate::wait::{Interest, wait};

/// What one request is about: Python's `self.request`.
///
/// For a stream server it is a connection. For a datagram server Python has a
/// pair, `data, socket = self.request`; here the datagram is [`data`](Self::data)
/// and the other methods are those of the socket.
///
/// Its methods have the names and the meaning of Python's `socket` methods. As
/// in Python it is a reference: clones share one connection, which is closed
/// when the last of them is dropped. The server shuts its sending side down
/// after the handler has returned, whoever else still holds it.
///
/// The socket of a datagram request is the server's own, so that replies come
/// from the address that the client wrote to. It holds the datagrams of others
/// and serves requests to come: what would take or end those is `EOPNOTSUPP`
/// here, where Python lets a handler do it.
///
/// A new request has no timeout, whatever the listening socket has.
#[derive(Debug, Clone)]
pub struct Request(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    about: About,
    came_after: Instant,
    closed: AtomicBool,
    /// The connection ends with a reset.
    resets: AtomicBool,
    patience: Patience,
    traffic: Traffic,
    kept: Mutex<Kept>,
    /// What becomes of descriptors that the client passes along.
    passed: PassedDescriptors,
    /// A forked child has the connection too, and may be receiving from it.
    is_shared: AtomicBool,
}

/// What is dropped when a request ends.
pub(crate) type Kept = Vec<Box<dyn Any + Send + Sync>>;

#[derive(Debug)]
enum About {
    Connection(Socket),
    Datagram {
        data: Vec<u8>,
        socket: Arc<Socket>,
        sender: Option<PeerCredentials>,
        destination: Option<Destination>,
    },
}

impl Request {
    /// Takes a connected stream socket, blocking or not, as the request socket.
    pub fn new(socket: impl Into<Socket>) -> Self {
        Request::accepted(socket.into(), PassedDescriptors::Refused)
    }

    /// Takes a connection from a listening socket with this treatment of descriptors.
    pub(crate) fn accepted(socket: Socket, passed: PassedDescriptors) -> Self {
        Request::about(About::Connection(socket), passed)
    }

    /// A datagram that was received, the socket that it came to, who sent it if
    /// that is a Unix one, and to which address of the socket if it has several.
    pub(crate) fn datagram(
        data: Vec<u8>,
        socket: Arc<Socket>,
        sender: Option<PeerCredentials>,
        destination: Option<Destination>,
    ) -> Self {
        let about = About::Datagram { data, socket, sender, destination };
        Request::about(about, PassedDescriptors::Refused)
    }

    fn about(about: About, passed: PassedDescriptors) -> Self {
        let received = match &about {
            About::Connection(_) => 0,
            About::Datagram { data, .. } => data.len(),
        };
        Request(Arc::new(Inner {
            about,
            came_after: Instant::now(),
            closed: AtomicBool::new(false),
            resets: AtomicBool::new(false),
            patience: Patience::new(),
            traffic: Traffic::new(received),
            kept: Mutex::default(),
            passed,
            is_shared: AtomicBool::new(false),
        }))
    }

    /// Sets what [`came_after`](Self::came_after) returns, while there is no clone.
    pub(crate) fn set_came_after(&mut self, came_after: Instant) {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.came_after = came_after;
        }
    }

    /// Returns a time after which the client came: when the queue from which it was
    /// taken was last known to be empty. A client that did not have to wait came a
    /// moment after it.
    pub fn came_after(&self) -> Instant {
        self.0.came_after
    }

    fn socket(&self) -> &Socket {
        match &self.0.about {
            About::Connection(socket) => socket,
            About::Datagram { socket, .. } => socket,
        }
    }

    /// Whether this is a connection or a datagram. Python's `type`.
    pub fn socket_type(&self) -> SocketType {
        match &self.0.about {
            About::Connection(_) => SocketType::Stream,
            About::Datagram { .. } => SocketType::Dgram,
        }
    }

    /// The datagram, of at most the server's `max_packet_size` bytes; empty for
    /// a connection. The first of Python's pair `data, socket`.
    pub fn data(&self) -> &[u8] {
        match &self.0.about {
            About::Connection(_) => &[],
            About::Datagram { data, .. } => data,
        }
    }

    /// Which address of its socket a datagram was sent to, if there are several.
    pub(crate) fn destination(&self) -> Option<Destination> {
        match &self.0.about {
            About::Connection(_) => None,
            About::Datagram { destination, .. } => *destination,
        }
    }

    /// Receives at most `bufsize` bytes: waits for the first, then returns
    /// what is there; empty at the end of the stream, and at once if `bufsize`
    /// is 0. Allocates `bufsize` bytes. Python's `recv`.
    ///
    /// Errors: the timeout ran out ([`io::ErrorKind::TimedOut`], or
    /// [`io::ErrorKind::WouldBlock`] if it is zero), the idle timeout
    /// ([`IdleTimeout`](crate::IdleTimeout)), more came than may be received
    /// ([`ReceiveLimit`]), the handler closed the socket (`EBADF`), this is a
    /// datagram (`EOPNOTSUPP`), or what `recv(2)` says.
    pub fn recv(&self, bufsize: usize) -> io::Result<Vec<u8>> {
        let connection = self.connection()?;
        let deadline = self.deadline();
        let room = self.room_to_receive(bufsize, deadline)?;
        let mut data = Vec::with_capacity(room);
        if room > 0 {
            let passed = self.0.passed;
            let count = self.transfer(Interest::Readable, deadline, || {
                if passed.may_come() {
                    return passed.receive(connection.as_fd(), &mut data);
                }
                let buffer = spare_capacity(&mut data);
                rustix::net::recv(connection, buffer, RecvFlags::DONTWAIT).map(|(_, n)| n)
            })?;
            self.0.traffic.received.add(count);
        }
        Ok(data)
    }

    /// Receives into `buffer` and returns how many bytes that was; 0 at the
    /// end of the stream. Otherwise as [`recv`](Self::recv). Python's
    /// `recv_into`.
    pub fn recv_into(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let connection = self.connection()?;
        let deadline = self.deadline();
        let room = self.room_to_receive(buffer.len(), deadline)?;
        if room == 0 {
            return Ok(0);
        }
        let buffer = &mut buffer[..room];
        if self.0.passed.may_come() {
            let data = self.recv(room)?;
            buffer[..data.len()].copy_from_slice(&data);
            return Ok(data.len());
        }
        let count = self.transfer(Interest::Readable, deadline, || {
            rustix::net::recv(connection, &mut *buffer, RecvFlags::DONTWAIT).map(|(_, n)| n)
        })?;
        self.0.traffic.received.add(count);
        Ok(count)
    }

    /// Sends as much of `data` as the socket takes and returns how many bytes
    /// that was. Python's `send`.
    ///
    /// Errors as [`recv`](Self::recv), with what `send(2)` says, and
    /// [`SendLimit`] if nothing more may be sent.
    pub fn send(&self, data: &[u8]) -> io::Result<usize> {
        self.send_until(data, self.deadline())
    }

    /// Sends all of `data`, within one timeout for the whole call; an empty
    /// `data` is sent too, once. Python's `sendall`.
    ///
    /// Errors as [`send`](Self::send); how much was sent is then unknown.
    pub fn sendall(&self, data: &[u8]) -> io::Result<()> {
        let deadline = self.deadline();
        let mut sent = self.send_until(data, deadline)?;
        while sent < data.len() {
            sent += self.send_until(&data[sent..], deadline)?;
        }
        Ok(())
    }

    /// Sends `data` as one datagram from the server's own socket to `address`,
    /// and returns how many bytes that was: all of them. It leaves from the address
    /// that this request was sent to. On a connection the
    /// address is not looked at. Python's `sendto`.
    ///
    /// Errors as [`send`](Self::send). `EMSGSIZE` if `data` is larger than a
    /// datagram can be; nothing is sent then. `EDESTADDRREQ` if the client's
    /// Unix socket has no name, `ENAMETOOLONG` if it is too long; `ECONNREFUSED` or
    /// `ENOENT` if it has gone.
    pub fn sendto(&self, data: &[u8], address: &Address) -> io::Result<usize> {
        let About::Datagram { socket, destination, .. } = &self.0.about else {
            return self.send(data);
        };
        if *address == Address::Unix(UnixAddress::Unnamed) {
            return Err(Errno::DESTADDRREQ.into());
        }
        // A datagram is sent whole or not at all, and costs a byte if it is empty.
        let cost = data.len().max(1);
        self.room_to_send(cost).filter(|room| *room == cost).ok_or_else(|| self.send_limit())?;
        let to = address.to_kernel()?;
        let room = match address {
            Address::Inet(_) | Address::Inet6(_) => Interest::Writable,
            Address::Unix(_) => Interest::RoomAtPeer,
        };
        let asked = destination.filter(|asked| asked.unicast().is_some());
        let from = asked.zip(address.to_socket_addr());
        let sent = self.transfer(room, self.deadline(), || {
            if let Some((from, to)) = from {
                let sent = packet_info::send(socket.as_fd(), data, to, from);
                if !sent.is_err_and(packet_info::needs_another_source) {
                    return sent;
                }
            }
            let sent = socket.send_to(data, &to);
            sent.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
        })?;
        self.0.patience.moved();
        self.0.traffic.sent.add(cost);
        Ok(sent)
    }

    /// Shuts down one half of the connection or both. Python's `shutdown`.
    ///
    /// Errors: what `shutdown(2)` says, such as `ENOTCONN`; `EOPNOTSUPP` for a
    /// datagram.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.check_open()?;
        self.connection()?.shutdown(how)
    }

    /// Gives the request up: the other end of a connection sees its end, and
    /// every later call fails with `EBADF`. Closing twice is no error. Python's
    /// `close`.
    ///
    /// The descriptor itself lives until the last clone is dropped; that of a
    /// datagram server until the server is closed.
    pub fn close(&self) {
        let was_closed = self.0.closed.swap(true, Ordering::Relaxed);
        if let (false, About::Connection(socket)) = (was_closed, &self.0.about) {
            // The other end may have gone already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// The address of the other end. Python's `getpeername`.
    ///
    /// Errors: `ENOTCONN` after a reset.
    pub fn getpeername(&self) -> io::Result<Address> {
        self.check_open()?;
        Address::from_kernel(&self.socket().peer_addr()?)
    }

    /// The address of this end. Python's `getsockname`.
    pub fn getsockname(&self) -> io::Result<Address> {
        self.check_open()?;
        Address::from_kernel(&self.socket().local_addr()?)
    }

    /// Who is at the other end of a Unix socket: for a connection who made it,
    /// for a datagram who sent it. The kernel says so; a client cannot. `None`
    /// for other sockets, and if the kernel does not know. Python's
    /// `getsockopt(SOL_SOCKET, SO_PEERCRED)`.
    pub fn peer_credentials(&self) -> Option<PeerCredentials> {
        match &self.0.about {
            About::Connection(socket) => PeerCredentials::of_connection(socket.as_fd()),
            About::Datagram { sender, .. } => *sender,
        }
    }

    /// How long one call may wait: `None` for without end, zero for not at
    /// all. Python's `settimeout`.
    pub fn settimeout(&self, timeout: Option<Duration>) {
        self.0.patience.set_timeout(timeout);
    }

    /// What [`settimeout`](Self::settimeout) set. Python's `gettimeout`.
    pub fn gettimeout(&self) -> Option<Duration> {
        self.0.patience.timeout()
    }

    /// The descriptor, while the handler has not closed the socket. Python's
    /// `fileno`, which is -1 afterwards.
    pub fn fileno(&self) -> Option<RawFd> {
        self.check_open().ok().map(|()| self.socket().as_raw_fd())
    }

    /// The value of an option: Python's `getsockopt` with two arguments.
    /// `level` and `optname` are the numbers of Linux; those of `SO_ERROR`,
    /// `SO_KEEPALIVE`, `SO_RCVBUF`, `SO_SNDBUF`, `SO_TYPE` and `TCP_NODELAY` are
    /// known.
    ///
    /// Errors: any other option (`ENOPROTOOPT`), or what `getsockopt(2)` says.
    pub fn getsockopt(&self, level: i32, optname: i32) -> io::Result<i32> {
        self.check_open()?;
        Ok(sockopt::get(self.as_fd(), level, optname)?)
    }

    /// Sets `SO_KEEPALIVE` or `TCP_NODELAY` of a connection. Python's
    /// `setsockopt`.
    ///
    /// Errors: an option that can only be read (`EACCES`), any other
    /// (`ENOPROTOOPT`), this is a datagram (`EOPNOTSUPP`), or what
    /// `setsockopt(2)` says: Unix sockets have no `TCP_NODELAY` (`EOPNOTSUPP`).
    pub fn setsockopt(&self, level: i32, optname: i32, value: i32) -> io::Result<()> {
        self.check_open()?;
        Ok(sockopt::set(self.connection()?.as_fd(), level, optname, value)?)
    }

    /// What the server does when the handler has returned: says that nothing
    /// more will be sent, so that unread input does not turn the end of the
    /// reply into a reset. Python's `shutdown_request`, whose `close` happens
    /// when the last clone is dropped. A datagram needs neither.
    ///
    /// What is kept is dropped first: a client that sees the end, and comes
    /// again at once, must find its place free.
    pub(crate) fn shutdown_request(&self) {
        drop(self.take_kept());
        if let About::Connection(socket) = &self.0.about
            && !self.0.resets.load(Ordering::Relaxed)
        {
            // The handler or the other end may have shut it down already.
            let _ = socket.shutdown(Shutdown::Write);
        }
    }

    /// Leaves the connection to a forked child: what its client sent is the child's.
    pub(crate) fn leave_to_child(&self) {
        self.0.is_shared.store(true, Ordering::Relaxed);
    }

    /// The socket, if it is this request's alone.
    fn connection(&self) -> io::Result<&Socket> {
        match &self.0.about {
            About::Connection(socket) => Ok(socket),
            About::Datagram { .. } => Err(Errno::OPNOTSUPP.into()),
        }
    }

    fn send_until(&self, data: &[u8], deadline: Option<Instant>) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let room = self.room_to_send(data.len()).ok_or_else(|| self.send_limit())?;
        let count = self.transfer(Interest::Writable, deadline, || {
            rustix::net::send(self.socket(), &data[..room], flags)
        })?;
        self.0.traffic.sent.add(count);
        Ok(count)
    }

    /// How many of `wanted` bytes may be received; none if the stream ends here.
    ///
    /// Errors: there is more than may be received.
    fn room_to_receive(&self, wanted: usize, deadline: Option<Instant>) -> io::Result<usize> {
        let room = self.0.traffic.received.room(wanted);
        if room > 0 || wanted == 0 {
            return Ok(room);
        }
        let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
        let more = self.transfer(Interest::Readable, deadline, || {
            rustix::net::recv(self.socket(), &mut [0; 1], flags).map(|(_, n)| n)
        })?;
        if more == 0 {
            return Ok(0);
        }
        Err(ReceiveLimit { limit: self.0.traffic.received.limit() }.into())
    }

    /// How many of `wanted` bytes may be sent; `None` if it is none of them.
    fn room_to_send(&self, wanted: usize) -> Option<usize> {
        let room = self.0.traffic.sent.room(wanted);
        (room > 0 || wanted == 0).then_some(room)
    }

    fn send_limit(&self) -> io::Error {
        SendLimit { limit: self.0.traffic.sent.limit() }.into()
    }

    fn check_open(&self) -> io::Result<()> {
        if self.0.closed.load(Ordering::Relaxed) {
            return Err(Errno::BADF.into());
        }
        Ok(())
    }

    /// When a call that begins now runs out of the handler's own timeout.
    fn deadline(&self) -> Option<Instant> {
        self.0.patience.deadline()
    }

    /// Repeats a call that does not block, and waits in between.
    fn transfer(
        &self,
        interest: Interest,
        deadline: Option<Instant>,
        mut call: impl FnMut() -> rustix::io::Result<usize>,
    ) -> io::Result<usize> {
        self.check_open()?;
        self.0.patience.check()?;
        for attempt in 0.. {
            match call() {
                Ok(count) => {
                    // Sending nothing moves no byte.
                    if count > 0 {
                        self.0.patience.moved();
                    }
                    return Ok(count);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.park(interest, attempt, deadline)?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::AGAIN.into())
    }

    fn park(&self, interest: Interest, attempt: u32, deadline: Option<Instant>) -> io::Result<()> {
        if self.gettimeout() == Some(Duration::ZERO) {
            return Err(Errno::AGAIN.into());
        }
        let begun = self.0.patience.begin(deadline);
        let waited = wait(self.as_fd(), interest, attempt, begun.deadline)?;
        self.0.patience.ended(&begun, waited)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let About::Connection(socket) = &self.about
            && self.passed.may_come()
            && !self.is_shared.load(Ordering::Relaxed)
        {
            self.passed.drain(socket.as_fd());
        }
    }
}

/// The descriptor, whether the handler has closed the request or not.
impl AsFd for Request {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }
}

impl Read for &Request {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.recv_into(buffer)
    }
}

impl Write for &Request {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.send(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Request {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.recv_into(buffer)
    }
}

impl Write for Request {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.send(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
