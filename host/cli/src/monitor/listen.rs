//! The loop of the monitor: one thread, which no client can hold.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use socketserver::{Address, Endpoint, HandlerError, Request, Server};

use super::Kind;
use super::connection::Connection;
use super::view::Source;

/// The most connections at once. One more takes the place of the oldest.
const MAX_CONNECTIONS: usize = 64;

/// The pause after an attempt to accept that failed, as when no descriptor is free.
const PAUSE: Duration = Duration::from_millis(100);

/// A listening socket.
pub struct Door {
    socket: OwnedFd,
    kind: Kind,
}

impl Door {
    /// Binds a socket. The file of a Unix socket that no process has open is removed.
    ///
    /// # Errors
    ///
    /// It cannot be bound.
    pub fn bind(endpoint: &Endpoint, kind: Kind) -> Result<Door> {
        let nothing = |_: &Request, _: &Address, _: &_| Ok::<(), HandlerError>(());
        let builder = Server::builder(nothing).bind(endpoint.clone()).remove_stale_socket(true);
        let bound = builder.allow_reuse_address(true).request_queue_size(128).bind_only();
        let failed = || format!("cannot bind {} {endpoint}", kind.option());
        let mut sockets = bound.with_context(failed)?;
        let socket = OwnedFd::from(sockets.pop().with_context(failed)?);
        Ok(Door { socket, kind })
    }

    /// Makes a door of a socket that listens already.
    pub fn of_socket(socket: OwnedFd, kind: Kind) -> Door {
        Door { socket, kind }
    }

    /// Returns the protocol.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the socket.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Answers clients until `end` becomes readable.
///
/// # Errors
///
/// It cannot wait for clients.
pub fn run(doors: &[Door], source: &dyn Source, end: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut connections: Vec<Connection> = Vec::new();
    let mut paused_until = None;
    loop {
        let now = Instant::now();
        paused_until = paused_until.filter(|end| *end > now);
        let deadlines = connections.iter().map(Connection::deadline).chain(paused_until);
        let wait = deadlines.min().map(|until| until.saturating_duration_since(now));
        // A millisecond more, so that the time has come when the wait ends.
        let wait = wait.and_then(|time| Timespec::try_from(time + Duration::from_millis(1)).ok());
        let events = if paused_until.is_some() { PollFlags::empty() } else { PollFlags::IN };
        let doors_fds = doors.iter().map(|door| PollFd::from_borrowed_fd(door.as_fd(), events));
        let fds = connections.iter().map(|connection| {
            let (fd, events) = connection.waits_for();
            PollFd::from_borrowed_fd(fd, events)
        });
        let last = end.map(|end| PollFd::from_borrowed_fd(end, PollFlags::IN));
        let mut fds: Vec<_> = doors_fds.chain(fds).chain(last).collect();
        match poll(&mut fds, wait.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<_> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        if end.is_some() && ready.last() == Some(&true) {
            return Ok(());
        }
        let now = Instant::now();
        for (connection, ready) in connections.iter_mut().zip(&ready[doors.len()..]) {
            if *ready || now >= connection.deadline() {
                connection.go_on(source, now);
            }
        }
        for (door, _) in doors.iter().zip(&ready).filter(|(_, ready)| **ready) {
            if !accept(door, &mut connections, source) {
                paused_until = now.checked_add(PAUSE);
            }
        }
        connections.retain(|connection| !connection.has_ended());
    }
}

/// Accepts the clients that wait. Returns false if none can be accepted for now.
fn accept(door: &Door, connections: &mut Vec<Connection>, source: &dyn Source) -> bool {
    for _ in 0..MAX_CONNECTIONS {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        match accept_with(&door.socket, flags) {
            Ok(stream) => {
                connections.retain(|connection| !connection.has_ended());
                if connections.len() >= MAX_CONNECTIONS {
                    connections.remove(0);
                }
                let mut connection = Connection::new(stream, door.kind);
                connection.go_on(source, Instant::now());
                connections.push(connection);
            }
            Err(Errno::AGAIN) => return true,
            // The client has gone.
            Err(Errno::INTR | Errno::CONNABORTED | Errno::PROTO) => {}
            Err(_) => return false,
        }
    }
    true
}
