//! The way to the broker, which forked processes inherit.
//!
//! The broker does not wait for processes at the door: they stand in its queue until the bell
//! rings. A process for one request rings at its first call, so that the broker does nothing for
//! a request that opens no socket, except to clear a queue that grows.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use socketserver::Request;

use super::client::Connection;
use super::wire;

/// The longest time that a process waits for room at the door, before it serves.
const LONGEST: Duration = Duration::from_secs(1);

/// The pause of a process that waits for room and has no event to wait for.
const PAUSE: Duration = Duration::from_millis(1);

/// The message of a broker that has begun. The bell is in it.
pub(super) const READY: &[u8] = b"!";

/// A process that was forked to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessKind {
    /// It serves one request.
    Request,
    /// It serves many.
    Worker,
}

/// The way to the broker: see [`serve_broker`](super::serve_broker).
#[derive(Debug)]
pub struct Broker {
    pub(super) door: OwnedFd,
    pub(super) bell: Arc<Bell>,
    /// The connection of this process, once it was forked.
    process: OnceLock<(ProcessKind, Arc<Connection>)>,
}

/// The writing end of a pipe whose other end the broker waits for. All processes share it, and
/// none of them can read from it.
#[derive(Debug)]
pub(super) struct Bell(OwnedFd);

impl Bell {
    pub(super) fn new(pipe: OwnedFd) -> Self {
        Bell(pipe)
    }

    /// Has the broker look at the door.
    pub(super) fn ring(&self) {
        // If the pipe is full, the broker is about to look. If the broker is gone, the next call
        // says so.
        let _ = rustix::io::write(&self.0, b".");
    }
}

impl ProcessKind {
    /// All kinds.
    const ALL: [ProcessKind; 2] = [ProcessKind::Request, ProcessKind::Worker];

    /// Returns the message with which such a process comes to the door.
    fn letter(self) -> u8 {
        match self {
            ProcessKind::Request => b'r',
            ProcessKind::Worker => b'w',
        }
    }

    pub(super) fn of_letter(letter: u8) -> Option<ProcessKind> {
        ProcessKind::ALL.into_iter().find(|kind| kind.letter() == letter)
    }
}

impl Broker {
    /// Returns both ends of a new door: the one of the server, and the one of the broker.
    ///
    /// # Errors
    ///
    /// There is no descriptor for it.
    pub fn door() -> io::Result<(OwnedFd, OwnedFd)> {
        wire::pair()
    }

    /// Returns the way to the broker that has the other end of `door`, once it
    /// [serves](super::serve_broker).
    ///
    /// # Errors
    ///
    /// The broker ended, or has not begun after `longest`.
    pub fn when_it_serves(door: OwnedFd, longest: Duration) -> io::Result<Self> {
        if !wire::wait(&door, PollFlags::IN, longest)? {
            return Err(Errno::TIMEDOUT.into());
        }
        let mut ready = Vec::with_capacity(READY.len());
        let descriptors = wire::receive_message(&door, &mut ready, RecvFlags::DONTWAIT)?;
        let ended = || io::Error::other("it ended");
        let bell = descriptors.into_iter().next().ok_or_else(ended)?;
        Ok(Broker { door, bell: Arc::new(Bell::new(bell)), process: OnceLock::new() })
    }

    /// Connects this process, which was just forked and is not in the jail yet. The process must
    /// close the door before it runs code of a handler: its connection and the bell are all that
    /// it keeps.
    ///
    /// # Errors
    ///
    /// The broker is gone or has no room. Then each call of a handler for a socket fails.
    pub fn connect(&self, kind: ProcessKind) -> io::Result<()> {
        let (own, other) = wire::pair()?;
        self.pass(kind, &other)?;
        let bell = match kind {
            ProcessKind::Request => Some(Arc::clone(&self.bell)),
            ProcessKind::Worker => None,
        };
        // The kernel finds no room for more before the queue is full: a quarter is left to the
        // processes that come before the broker has looked.
        if kind == ProcessKind::Worker || !wire::wait(&self.door, PollFlags::OUT, Duration::ZERO)? {
            self.bell.ring();
        }
        let _ = self.process.set((kind, Arc::new(Connection::new(own, bell))));
        Ok(())
    }

    /// Passes the broker the other end of a connection.
    pub(super) fn pass(&self, kind: ProcessKind, other: &OwnedFd) -> io::Result<()> {
        let end = Instant::now() + LONGEST;
        loop {
            let flags = SendFlags::DONTWAIT;
            let sent = wire::send_message(&self.door, &[kind.letter()], &[other.as_fd()], flags);
            let error = match sent {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() >= end => return Err(error),
                Err(error) => error,
            };
            match Errno::from_io_error(&error) {
                // The queue is full, or has as many descriptors as this user may have in queues.
                Some(Errno::AGAIN | Errno::TOOMANYREFS) => {
                    self.bell.ring();
                    thread::sleep(PAUSE);
                }
                _ => return Err(error),
            }
        }
    }

    /// Returns the descriptors that a worker in the jail must not have.
    pub fn descriptors_of_server(&self) -> [RawFd; 2] {
        [self.door.as_raw_fd(), self.bell.0.as_raw_fd()]
    }

    /// Returns the descriptors that a process for one request keeps in the jail.
    pub fn descriptors_of_request(&self) -> Option<[RawFd; 2]> {
        let (_, connection) = self.process.get()?;
        Some([connection.as_fd().as_raw_fd(), self.bell.0.as_raw_fd()])
    }

    /// Returns the connection for one request.
    ///
    /// # Errors
    ///
    /// `ENETDOWN` if the broker is gone, or does not answer within the limits of the request;
    /// `EMFILE` if the worker has too many connections.
    pub(crate) fn connection(&self, request: &Request) -> io::Result<Arc<Connection>> {
        let (kind, connection) = self.process.get().ok_or(Errno::NETDOWN)?;
        match kind {
            ProcessKind::Request => {
                connection.set_request(request);
                Ok(Arc::clone(connection))
            }
            ProcessKind::Worker => connection.connection_for(request).map(Arc::new),
        }
    }
}
