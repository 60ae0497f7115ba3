//! The calls of one request, in a process in the jail.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use dns_lookup::LookupErrorKind;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use socket2::{Domain, Socket, Type};
use socketserver::{Address, AddressCalls, Request, block_on};

use super::door::Bell;
use super::message::{Answer, Call, MAX_MESSAGE, SocketId, WireFound, from_bytes, to_bytes};
use super::turns::{Turn, Turns};
use super::wire;
use crate::lookup::{LONGEST_LOOKUP, Lookup, LookupOutcome};

/// The longest time that a call waits for the broker, which answers at once, if the limits of
/// the request let it. After it the request does without.
const LONGEST: Duration = Duration::from_secs(5);

/// The time that a lookup may take beyond the broker's own limit.
const MORE_FOR_LOOKUP: Duration = Duration::from_secs(2);

/// The connection of one request to the broker, or of a worker. Only one call at a time uses it.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: OwnedFd,
    /// The broker hears of this connection when it rings, at the first call.
    bell: Option<Arc<Bell>>,
    is_heard: AtomicBool,
    /// The request that waits for answers, with its limits.
    request: OnceLock<Request>,
    turns: Turns,
    /// Set if the broker is gone, or did not answer for so long that it must be at fault.
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
    pub(super) fn new(socket: OwnedFd, bell: Option<Arc<Bell>>) -> Self {
        Connection {
            socket,
            is_heard: AtomicBool::new(bell.is_none()),
            bell,
            request: OnceLock::new(),
            turns: Turns::default(),
            lost: AtomicBool::new(false),
        }
    }

    /// Has calls wait within the limits of `request`, whose connection this is.
    pub(super) fn set_request(&self, request: &Request) {
        let _ = self.request.set(request.clone());
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
        let end = Instant::now().checked_add(LONGEST_LOOKUP + MORE_FOR_LOOKUP);
        let begun = self.begin(&Call::from(lookup), Some(request));
        let Ok(mut turn) = begun else { return Ok(Err(LookupErrorKind::Fail)) };
        if !request.readable_async(self.socket.as_fd(), end).await? {
            self.lose();
            return Ok(Err(LookupErrorKind::Again));
        }
        let (kind, error) = (LookupErrorKind::new, LookupErrorKind::Fail);
        Ok(match self.receive(&mut turn) {
            Ok((Answer::Found(found), _)) => {
                Ok(found.into_iter().filter_map(WireFound::into_found).collect())
            }
            Ok((Answer::NotFound(number), _)) => Err(kind(number)),
            Ok(_) | Err(_) => Err(error),
        })
    }

    /// Asks for the connection of `request`. It is for the connection of a worker.
    pub(super) fn connection_for(&self, request: &Request) -> io::Result<Connection> {
        match self.call_for(&Call::Connection, Some(request))? {
            (Answer::Connection, descriptors) => {
                let [socket] = self.exactly(descriptors)?;
                let connection = Connection::new(socket, None);
                connection.set_request(request);
                Ok(connection)
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
        self.call_for(call, self.request.get())
    }

    fn call_for(
        &self,
        call: &Call<'_>,
        request: Option<&Request>,
    ) -> io::Result<(Answer, Vec<OwnedFd>)> {
        let mut turn = self.begin(call, request)?;
        self.wait(request)?;
        self.receive(&mut turn)
    }

    /// Sends a call, once it is its turn: the threads of a worker share its connection.
    fn begin(&self, call: &Call<'_>, request: Option<&Request>) -> io::Result<Turn<'_>> {
        let end = Instant::now() + LONGEST;
        let end = request.and_then(Request::wall_deadline).map_or(end, |limit| limit.min(end));
        let mut turn = self.turns.take(end).ok_or(Errno::NETDOWN)?;
        if self.lost.load(Ordering::Relaxed) {
            return Err(Errno::NETDOWN.into());
        }
        while turn.missing > 0 {
            // A request reached a limit before its answer came.
            self.wait(request)?;
            let _ = self.receive(&mut turn);
        }
        let message = to_bytes(call)?;
        // There is room: the answers to all earlier calls have come.
        wire::send_call(&self.socket, &message).map_err(|_| self.lose())?;
        turn.missing += 1;
        if let Some(bell) = &self.bell
            && !self.is_heard.swap(true, Ordering::Relaxed)
        {
            bell.ring();
        }
        Ok(turn)
    }

    /// Waits for an answer within the limits of `request`.
    fn wait(&self, request: Option<&Request>) -> io::Result<()> {
        let answered = match request {
            Some(request) => {
                let end = Instant::now().checked_add(LONGEST);
                // The next call on a socket tells the limit.
                block_on(request.readable_async(self.socket.as_fd(), end))
                    .map_err(|_| io::Error::from(Errno::NETDOWN))?
            }
            None => wire::wait(&self.socket, PollFlags::IN, LONGEST)?,
        };
        if answered { Ok(()) } else { Err(self.lose()) }
    }

    fn receive(&self, turn: &mut Turn<'_>) -> io::Result<(Answer, Vec<OwnedFd>)> {
        turn.answer.clear();
        turn.answer.reserve(MAX_MESSAGE);
        let received = wire::receive_message(&self.socket, &mut turn.answer, RecvFlags::DONTWAIT);
        turn.missing -= 1;
        match received {
            // The answer has come, and this process has no room for the socket. The broker closes
            // it when the connection ends.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::MFILE) => Err(error),
            Err(_) => Err(self.lose()),
            Ok(_) if turn.answer.is_empty() => Err(self.lose()),
            Ok(descriptors) => match from_bytes(&turn.answer) {
                Ok(Answer::Failed(errno)) => Err(io::Error::from_raw_os_error(errno)),
                Ok(answer) => Ok((answer, descriptors)),
                Err(_) => Err(self.lose()),
            },
        }
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
