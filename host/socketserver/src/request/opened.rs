//! Sockets that a handler opens beside its request.
//!
//! They are [`Request`]s too, so that the same calls work on them. They share the deadlines and
//! the byte counts of the request that they were opened for. This process makes the calls on
//! them, or another one makes those with an address: see [`AddressCalls`].

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SendFlags, SocketFlags, acceptfrom_with, connect_unspec};
use socket2::{Domain, Socket, Type};

use super::address_calls::AddressCalls;
use super::deadlines::{Deadlines, IdleTimeout, WallTimeout};
use super::transport::{Connection, Transfer, TransferError, Transport, uninterrupted};
use super::wait::{Interest, wait_for_any};
use super::{Inner, Request};
use crate::address::Address;
use crate::listen::descriptor_passing::PassedDescriptors;
use crate::poll::{PollSet, Polled};

/// A socket that a handler has opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub connection: Connection,
    domain: Domain,
    kind: Type,
    protocol: i32,
    /// Set when it is bound to a port that the kernel chose.
    any_port: AtomicBool,
    /// The calls with an address, if another process makes them. It is dropped after the
    /// socket: fields are dropped in their order.
    calls: Option<Box<dyn AddressCalls>>,
}

impl Opened {
    pub(super) fn is_stream(&self) -> bool {
        self.kind == Type::STREAM || self.kind == Type::SEQPACKET
    }

    /// Sends all of `data` to `address`. On a connection the kernel ignores the address.
    pub(super) fn send_to(&self, data: &[u8], address: &Address) -> Transfer<usize> {
        let flags = (SendFlags::DONTWAIT | SendFlags::NOSIGNAL).bits().cast_signed();
        // The kernel reports no room at the other end of Unix sockets.
        let interest =
            if self.domain == Domain::UNIX { Interest::PeerHasRoom } else { Interest::Writable };
        let socket = self.connection.socket();
        // On TCP the kernel ignores the address, and a filter in the jail refuses it.
        let is_tcp = self.kind == Type::STREAM && self.domain != Domain::UNIX;
        let send = || match &self.calls {
            _ if is_tcp => socket.send_with_flags(data, flags),
            Some(calls) => calls.send_to(data, address),
            None => socket.send_to_with_flags(data, &address.to_kernel()?, flags),
        };
        uninterrupted(interest, || send().map_err(|error| errno(&error)))
    }

    fn bind(&self, address: &Address) -> io::Result<()> {
        match &self.calls {
            Some(calls) => calls.bind(address),
            None => self.connection.socket().bind(&address.to_kernel()?),
        }
    }

    fn listen(&self, backlog: i32) -> io::Result<()> {
        match &self.calls {
            Some(calls) => calls.listen(backlog),
            None => self.connection.socket().listen(backlog),
        }
    }

    fn connect(&self, address: &Address) -> io::Result<()> {
        match &self.calls {
            Some(calls) => calls.connect(address),
            None => self.connection.socket().connect(&address.to_kernel()?),
        }
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// The sockets that `select` found to be ready, by their places in its lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ready {
    /// The sockets from which a call would not wait.
    pub readers: Vec<usize>,
    /// The sockets to which a call would not wait.
    pub writers: Vec<usize>,
    /// The sockets with an exceptional condition, such as urgent data.
    pub exceptional: Vec<usize>,
}

impl Request {
    /// Makes `socket`, which does not block, a socket of the handler of this request. Its
    /// waits and its bytes count as those of the request.
    ///
    /// # Errors
    ///
    /// The kernel does not say what kind of socket it is.
    pub fn open(&self, socket: impl Into<Socket>) -> io::Result<Request> {
        self.open_with(socket.into(), None)
    }

    /// Makes `socket` a socket of the handler of this request, as [`open`](Self::open) does.
    /// Another process makes its `calls` with an address.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_elsewhere(
        &self,
        socket: impl Into<Socket>,
        calls: Box<dyn AddressCalls>,
    ) -> io::Result<Request> {
        self.open_with(socket.into(), Some(calls))
    }

    fn open_with(
        &self,
        socket: Socket,
        calls: Option<Box<dyn AddressCalls>>,
    ) -> io::Result<Request> {
        let (domain, kind) = (socket.domain()?, socket.r#type()?);
        let protocol = socket.protocol()?.map_or(0, i32::from);
        let passed = if domain == Domain::UNIX {
            PassedDescriptors::of_unix_socket(&socket, !self.is_last_of_process())
        } else {
            PassedDescriptors::Refused
        };
        let connection = Connection::new(socket, passed);
        Ok(self.beside(Transport::Opened(Opened {
            connection,
            domain,
            kind,
            protocol,
            any_port: false.into(),
            calls,
        })))
    }

    /// Returns true if this is a socket that a handler has opened, and not a request.
    pub fn is_opened(&self) -> bool {
        matches!(self.0.transport, Transport::Opened(_) | Transport::Closed(_))
    }

    /// Returns the numbers of the family, the type and the protocol of a socket that a handler
    /// has opened.
    ///
    /// # Errors
    ///
    /// `EBADF` if it is closed, `EOPNOTSUPP` if it is a request.
    pub fn opened_as(&self) -> io::Result<(i32, i32, i32)> {
        let opened = self.opened()?;
        Ok((opened.domain.into(), opened.kind.into(), opened.protocol))
    }

    /// Closes a socket that a handler of `request` has opened, and its descriptor. Later calls
    /// fail with `EBADF`. A request is closed as [`close`](Self::close) does.
    pub fn close_descriptor(&mut self, request: &Request) {
        self.close();
        if self.is_opened() {
            *self = self.beside(Transport::Closed(request.clone()));
            self.close();
        }
    }

    /// Gives a socket that a handler has opened a local address. Python's `bind`.
    ///
    /// # Errors
    ///
    /// The errors of `bind(2)`; `EOPNOTSUPP` for a request.
    pub fn bind(&self, address: &Address) -> io::Result<()> {
        let opened = self.opened()?;
        opened.bind(address)?;
        let any_port = address.to_socket_addr().is_some_and(|address| address.port() == 0);
        opened.any_port.store(any_port, Ordering::Relaxed);
        Ok(())
    }

    /// Returns true if a socket that a handler has opened is bound to a port that the kernel
    /// chose.
    pub fn has_bound_any_port(&self) -> bool {
        self.opened().is_ok_and(|opened| opened.any_port.load(Ordering::Relaxed))
    }

    /// Lets others connect to a socket that a handler has opened. Python's `listen`.
    ///
    /// # Errors
    ///
    /// The errors of `listen(2)`; `EOPNOTSUPP` for a request.
    pub fn listen(&self, backlog: i32) -> io::Result<()> {
        self.opened()?.listen(backlog)
    }

    /// Waits for a connection to a socket that listens, and returns it with the address of
    /// the other end. It has no timeout. Python's `accept`.
    ///
    /// # Errors
    ///
    /// The errors of `accept(2)`, and those of every wait; `EOPNOTSUPP` for a request.
    pub async fn accept_async(&self) -> io::Result<(Request, Address)> {
        let listening = self.opened()?.connection.socket();
        // A process in the jail can set this when it accepts, and not later.
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let call = || uninterrupted(Interest::Readable, || acceptfrom_with(listening, flags));
        let (socket, address) = self.transfer(self.begin_call(false), call).await?;
        Ok((self.open(socket)?, Address::from_client(address)?))
    }

    /// Connects a socket that a handler has opened. Python's `connect`.
    ///
    /// # Errors
    ///
    /// The errors of `connect(2)`, such as `EINPROGRESS` if the timeout is zero, and those of
    /// every wait; `EOPNOTSUPP` for a request.
    pub async fn connect_async(&self, address: &Address) -> io::Result<()> {
        let opened = self.opened()?;
        let limits = self.begin_call(false);
        let mut begun = false;
        let call = || {
            match opened.connect(address).map_err(|error| errno(&error)) {
                Ok(()) => Ok(()),
                // After a signal the attempt goes on too.
                Err(Errno::INPROGRESS | Errno::INTR) => {
                    begun = true;
                    Err(TransferError::WouldBlock(Interest::Writable))
                }
                // The second call returns the outcome of the first. `SO_ERROR` has it too, but
                // would leave a socket that failed unable to connect again.
                Err(Errno::ISCONN) if begun => Ok(()),
                Err(Errno::ALREADY) if begun => Err(TransferError::WouldBlock(Interest::Writable)),
                // The queue of a Unix socket is full.
                Err(Errno::AGAIN) => Err(TransferError::WouldBlock(Interest::PeerHasRoom)),
                Err(error) => Err(TransferError::Failed(error.into())),
            }
        };
        let connected = self.transfer(limits, call).await;
        match connected {
            Err(error) if begun && Errno::from_io_error(&error) == Some(Errno::AGAIN) => {
                Err(Errno::INPROGRESS.into())
            }
            connected => connected,
        }
    }

    /// Dissolves the connection of a datagram socket that a handler has opened, which may then
    /// send to any address again.
    ///
    /// # Errors
    ///
    /// The errors of `connect(2)`; `EOPNOTSUPP` for other sockets.
    pub fn disconnect(&self) -> io::Result<()> {
        let opened = self.opened()?;
        match &opened.calls {
            _ if opened.is_stream() => Err(Errno::OPNOTSUPP.into()),
            Some(calls) => calls.disconnect(),
            None => Ok(connect_unspec(opened.connection.socket())?),
        }
    }

    /// Waits until one of the sockets is ready or `timeout` is over; without a timeout, as
    /// long as this request may wait. The sockets may be this request, and sockets that were
    /// opened for it. Python's `select.select`.
    ///
    /// # Errors
    ///
    /// `EBADF` if a socket is closed, `EOPNOTSUPP` if it is the server's socket for datagrams,
    /// or a limit of the request was reached.
    pub async fn select_async(
        &self,
        [readers, writers, exceptional]: [&[Request]; 3],
        timeout: Option<Duration>,
    ) -> io::Result<Ready> {
        // What the kernel takes for readable and writable in `select(2)`.
        let (readable, writable) =
            (PollFlags::IN | PollFlags::HUP | PollFlags::ERR, PollFlags::OUT | PollFlags::ERR);
        let lists = [(readers, PollFlags::IN), (writers, PollFlags::OUT)];
        let lists = lists.into_iter().chain([(exceptional, PollFlags::PRI)]);
        let mut fds = PollSet::default();
        for (list, flags) in lists {
            for request in list {
                request.check_open()?;
                let connection = request.0.transport.connection()?;
                fds.add(connection.as_fd(), flags);
            }
        }
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        if !self.wait_for_first(&mut fds, end).await? {
            return Ok(Ready::default());
        }
        let mut revents = fds.found();
        let mut ready = |list: &[Request], flags: PollFlags| {
            let found = revents.by_ref().take(list.len()).enumerate();
            found.filter(|(_, found)| found.intersects(flags)).map(|(index, _)| index).collect()
        };
        Ok(Ready {
            readers: ready(readers, readable),
            writers: ready(writers, writable),
            exceptional: ready(exceptional, PollFlags::PRI),
        })
    }

    /// Waits until `descriptor` is readable or its other end is closed. Returns false if `end`
    /// came first. The time counts as that of every wait of the request.
    ///
    /// # Errors
    ///
    /// A limit of the request was reached.
    pub async fn readable_async(
        &self,
        descriptor: BorrowedFd<'_>,
        end: Option<Instant>,
    ) -> io::Result<bool> {
        let mut fds = PollSet::default();
        fds.add(descriptor, PollFlags::IN);
        self.wait_for_first(&mut fds, end).await
    }

    async fn wait_for_first(
        &self,
        fds: &mut PollSet<'_>,
        end: Option<Instant>,
    ) -> io::Result<bool> {
        self.0.deadlines.check_wall_time()?;
        let wait = self.0.deadlines.begin_wait(end);
        let polled = wait_for_any(fds, wait.deadline).await?;
        match self.0.deadlines.end_wait(&wait, polled) {
            Ok(()) => Ok(polled == Polled::Ready),
            Err(error) if is_limit(&error) => Err(error),
            Err(_) => Ok(false),
        }
    }

    pub(super) fn opened(&self) -> io::Result<&Opened> {
        self.check_open()?;
        match &self.0.transport {
            Transport::Opened(opened) => Ok(opened),
            Transport::Connection(_) | Transport::Datagram(_) | Transport::Closed(_) => {
                Err(Errno::OPNOTSUPP.into())
            }
        }
    }

    /// Returns a socket that shares the limits of this one.
    fn beside(&self, transport: Transport) -> Request {
        Request(Arc::new(Inner {
            transport,
            begun: self.0.begun,
            earliest_arrival: self.0.earliest_arrival,
            closed: false.into(),
            is_last_of_process: self.is_last_of_process().into(),
            deadlines: Deadlines::sharing(&self.0.deadlines),
            traffic: Arc::clone(&self.0.traffic),
            guards: Mutex::default(),
            usage: OnceLock::new(),
            elsewhere: AtomicU64::new(0),
        }))
    }
}

/// Returns true if a wait ended because the request reached a limit.
fn is_limit(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<IdleTimeout>() || inner.is::<WallTimeout>())
}
