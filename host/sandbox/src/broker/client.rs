//! The calls of one request, in a process in the jail.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dns_lookup::LookupErrorKind;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use socket2::{Domain, Socket, Type};
use socketserver::{Address, AddressCalls, Request};

use super::message::{Answer, Call, MAX_MESSAGE, SocketId, WireFound, from_bytes, to_bytes};
use super::wire;
use crate::lookup::{LONGEST_LOOKUP, Lookup, LookupOutcome};

/// The longest time that a call waits for the broker, which answers at once. After it the
/// request does without.
const LONGEST: Duration = Duration::from_secs(5);

/// The time that a lookup may take beyond the broker's own limit.
const MORE_FOR_LOOKUP: Duration = Duration::from_secs(2);

/// The connection of one request to the broker, or of a worker. Only one call at a time uses it.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: OwnedFd,
    /// The last answer. Kept to be allocated once.
    answer: Mutex<Vec<u8>>,
    /// Set if the broker is gone, or an answer is missing. Later answers would belong to other
    /// calls.
    lost: AtomicBool,
}

/// A socket that the broker has opened, as the broker knows it.
#[derive(Debug)]
struct SocketAtBroker {
    connection: Arc<Connection>,
    id: SocketId,
}

/// A new socket, and the calls that the broker makes on it.
pub(crate) type BrokeredSocket = (Socket, Box<dyn AddressCalls>);

impl Connection {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Connection { socket, answer: Mutex::default(), lost: AtomicBool::new(false) }
    }

    /// Opens a socket that does not block: `socket(2)`.
    ///
    /// # Errors
    ///
    /// The errors of the broker: `EACCES` for what is not granted, `EMFILE` and `ENFILE` if there
    /// are too many, `ENETDOWN` if the broker is gone; and the errors of `socket(2)`.
    pub(crate) fn socket(
        self: &Arc<Self>,
        domain: Domain,
        kind: Type,
        protocol: i32,
    ) -> io::Result<BrokeredSocket> {
        let call = Call::Socket { domain: domain.into(), kind: kind.into(), protocol };
        match self.call(&call)? {
            (Answer::Socket(id), descriptors) => {
                let [socket] = self.exactly(descriptors)?;
                Ok(self.socket_at_broker(socket, id))
            }
            (answer, _) => Err(self.unexpected(&answer)),
        }
    }

    /// Opens two Unix sockets that are connected to each other: `socketpair(2)`.
    ///
    /// # Errors
    ///
    /// As [`socket`](Self::socket).
    pub(crate) fn socketpair(
        self: &Arc<Self>,
        kind: Type,
    ) -> io::Result<(BrokeredSocket, BrokeredSocket)> {
        match self.call(&Call::SocketPair { kind: kind.into() })? {
            (Answer::SocketPair(one_id, other_id), descriptors) => {
                let [one, other] = self.exactly(descriptors)?;
                Ok((self.socket_at_broker(one, one_id), self.socket_at_broker(other, other_id)))
            }
            (answer, _) => Err(self.unexpected(&answer)),
        }
    }

    /// Looks up a name, while `request` waits.
    ///
    /// # Errors
    ///
    /// The request reached a limit.
    pub(crate) async fn look_up(
        &self,
        lookup: &Lookup,
        request: &Request,
    ) -> io::Result<LookupOutcome> {
        if self.send(&Call::from(lookup)).is_err() {
            return Ok(Err(LookupErrorKind::Fail));
        }
        let end = Instant::now().checked_add(LONGEST_LOOKUP + MORE_FOR_LOOKUP);
        let ready = request.readable_async(self.socket.as_fd(), end).await;
        if !ready.as_ref().is_ok_and(|ready| *ready) {
            self.lose();
            return ready.map(|_| Err(LookupErrorKind::Again));
        }
        let (kind, error) = (LookupErrorKind::new, LookupErrorKind::Fail);
        Ok(match self.receive() {
            Ok((Answer::Found(found), _)) => {
                Ok(found.into_iter().filter_map(WireFound::into_found).collect())
            }
            Ok((Answer::NotFound(number), _)) => Err(kind(number)),
            Ok(_) | Err(_) => Err(error),
        })
    }

    /// Asks for the connection of a request. It is for the connection of a worker.
    pub(super) fn connection(&self) -> io::Result<Connection> {
        match self.call(&Call::Connection)? {
            (Answer::Connection, descriptors) => {
                let [socket] = self.exactly(descriptors)?;
                Ok(Connection::new(socket))
            }
            (answer, _) => Err(self.unexpected(&answer)),
        }
    }

    fn socket_at_broker(self: &Arc<Self>, socket: OwnedFd, id: SocketId) -> BrokeredSocket {
        let connection = Arc::clone(self);
        (Socket::from(socket), Box::new(SocketAtBroker { connection, id }))
    }

    fn done(&self, call: &Call<'_>) -> io::Result<()> {
        match self.call(call)? {
            (Answer::Done, _) => Ok(()),
            (answer, _) => Err(self.unexpected(&answer)),
        }
    }

    /// Makes a call and returns the answer, with its descriptors.
    fn call(&self, call: &Call<'_>) -> io::Result<(Answer, Vec<OwnedFd>)> {
        // The threads of a worker share its connection.
        let mut buffer = self.buffer();
        self.send(call)?;
        match wire::wait(&self.socket, PollFlags::IN, LONGEST) {
            Ok(true) => self.receive_into(&mut buffer),
            _ => Err(self.lose()),
        }
    }

    fn send(&self, call: &Call<'_>) -> io::Result<()> {
        if self.lost.load(Ordering::Relaxed) {
            return Err(Errno::NETDOWN.into());
        }
        let message = to_bytes(call)?;
        // There is room: the answers to all earlier calls have come.
        wire::send_call(&self.socket, &message).map_err(|_| self.lose())
    }

    fn receive(&self) -> io::Result<(Answer, Vec<OwnedFd>)> {
        self.receive_into(&mut self.buffer())
    }

    fn receive_into(&self, buffer: &mut Vec<u8>) -> io::Result<(Answer, Vec<OwnedFd>)> {
        buffer.clear();
        buffer.reserve(MAX_MESSAGE);
        match wire::receive_message(&self.socket, buffer, RecvFlags::DONTWAIT) {
            // The answer has come, and this process has no room for the socket. The broker closes
            // it when the connection ends.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::MFILE) => Err(error),
            Err(_) => Err(self.lose()),
            Ok(_) if buffer.is_empty() => Err(self.lose()),
            Ok(descriptors) => match from_bytes(buffer) {
                Ok(Answer::Failed(errno)) => Err(io::Error::from_raw_os_error(errno)),
                Ok(answer) => Ok((answer, descriptors)),
                Err(_) => Err(self.lose()),
            },
        }
    }

    fn buffer(&self) -> MutexGuard<'_, Vec<u8>> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exactly<const COUNT: usize>(&self, all: Vec<OwnedFd>) -> io::Result<[OwnedFd; COUNT]> {
        all.try_into().map_err(|_| self.lose())
    }

    fn unexpected(&self, answer: &Answer) -> io::Error {
        tracing::error!("the broker gave another answer than was asked for: {answer:?}");
        self.lose()
    }

    /// Does without the broker from now on, and returns the error for that.
    fn lose(&self) -> io::Error {
        if !self.lost.swap(true, Ordering::Relaxed) {
            tracing::error!("the broker does not answer: the handler can open no socket");
        }
        Errno::NETDOWN.into()
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AddressCalls for SocketAtBroker {
    fn bind(&self, address: &Address) -> io::Result<()> {
        self.connection.done(&Call::Bind { socket: self.id, address: address.into() })
    }

    fn listen(&self, backlog: i32) -> io::Result<()> {
        self.connection.done(&Call::Listen { socket: self.id, backlog })
    }

    fn connect(&self, address: &Address) -> io::Result<()> {
        self.connection.done(&Call::Connect { socket: self.id, address: address.into() })
    }

    fn disconnect(&self) -> io::Result<()> {
        self.connection.done(&Call::Disconnect { socket: self.id })
    }

    fn send_to(&self, data: &[u8], address: &Address) -> io::Result<usize> {
        let call = Call::SendTo { socket: self.id, address: address.into(), data };
        match self.connection.call(&call)? {
            (Answer::Sent(count), _) => Ok(count as usize),
            (answer, _) => Err(self.connection.unexpected(&answer)),
        }
    }
}

impl Drop for SocketAtBroker {
    fn drop(&mut self) {
        // If the broker is gone, so is its copy of the socket.
        let _ = self.connection.done(&Call::Close { socket: self.id });
    }
}
