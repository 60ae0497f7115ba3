//! The way to the broker, which forked processes inherit.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::client::Connection;
use super::wire;

/// The longest time that a process waits for room at the door, before it serves.
const LONGEST: Duration = Duration::from_secs(1);

/// The message of a broker that has begun.
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
    door: OwnedFd,
    /// The connection of this process, once it was forked.
    process: OnceLock<(ProcessKind, Arc<Connection>)>,
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
        wire::receive_message(&door, &mut ready, RecvFlags::DONTWAIT)?;
        if ready != READY {
            return Err(io::Error::other("it ended"));
        }
        Ok(Broker { door, process: OnceLock::new() })
    }

    /// Connects this process, which was just forked and is not in the jail yet. The process must
    /// close the door before it runs code of a handler: its connection is all that it keeps.
    ///
    /// # Errors
    ///
    /// The broker is gone or has no room. Then each call of a handler for a socket fails.
    pub fn connect(&self, kind: ProcessKind) -> io::Result<()> {
        let (own, other) = wire::pair()?;
        self.pass(kind, &other)?;
        let _ = self.process.set((kind, Arc::new(Connection::new(own))));
        Ok(())
    }

    /// Passes the broker the other end of a connection.
    pub(super) fn pass(&self, kind: ProcessKind, other: &OwnedFd) -> io::Result<()> {
        let flags = SendFlags::DONTWAIT;
        let send = || wire::send_message(&self.door, &[kind.letter()], &[other.as_fd()], flags);
        match send() {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::AGAIN) => {
                wire::wait(&self.door, PollFlags::OUT, LONGEST)?;
                send()
            }
            result => result,
        }
    }

    /// Returns the descriptor of the door, which a process in the jail must not have.
    pub fn door_descriptor(&self) -> RawFd {
        self.door.as_raw_fd()
    }

    /// Returns the descriptor that a process in the jail keeps.
    pub fn connection_descriptor(&self) -> Option<RawFd> {
        self.process.get().map(|(_, connection)| connection.as_fd().as_raw_fd())
    }

    /// Returns the connection for one request.
    ///
    /// # Errors
    ///
    /// `ENETDOWN` if the broker is gone, `EMFILE` if the worker has too many connections.
    pub(crate) fn connection(&self) -> io::Result<Arc<Connection>> {
        let (kind, connection) = self.process.get().ok_or(Errno::NETDOWN)?;
        match kind {
            ProcessKind::Request => Ok(Arc::clone(connection)),
            ProcessKind::Worker => connection.connection().map(Arc::new),
        }
    }
}
