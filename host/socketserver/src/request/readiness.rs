//! Waiting until a call on a connection would not have to wait, or until a time: `poll(2)` for
//! the sockets of one request.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::Request;
use super::transport::Transport;
use super::wait::{flags, wait_until_any_is_ready};
use crate::poll::PollSet;

/// The directions in which a connection is ready, or is to become ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Readiness {
    /// There is data, the end of the stream, or an error to receive.
    pub readable: bool,
    /// The connection takes data, or has an error to report.
    pub writable: bool,
}

impl Readiness {
    /// Returns true if there is a direction in it.
    pub fn any(self) -> bool {
        self.readable || self.writable
    }
}

impl Request {
    /// Returns true if the connection, or a socket that the handler has opened, is ready in one
    /// of the directions `wanted`, without waiting. The datagram of a request is always ready: it
    /// has been received, and its answer is sent whole.
    ///
    /// # Errors
    ///
    /// The handler closed the request (`EBADF`), or `poll(2)` failed.
    pub fn is_ready(&self, wanted: Readiness) -> io::Result<bool> {
        self.check_open()?;
        if let Some(ready) = self.is_session_ready(wanted) {
            return ready;
        }
        match &self.0.transport {
            Transport::Datagram(_) => Ok(true),
            transport => super::wait::is_ready(transport.socket().as_fd(), wanted),
        }
    }

    /// Makes a call that would wait return at once, and returns `None` if it moved nothing.
    ///
    /// # Errors
    ///
    /// The errors of the call.
    pub fn without_waiting<T>(
        &self,
        call: impl FnOnce(&Request) -> io::Result<T>,
    ) -> io::Result<Option<T>> {
        let timeout = self.gettimeout();
        self.settimeout(Some(Duration::ZERO));
        let result = call(self);
        self.settimeout(timeout);
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            other => other.map(Some),
        }
    }

    /// Waits until one of the descriptors is ready in one of its directions, or until `end`, or
    /// until a limit of the request. The time counts as waiting without a byte moving.
    ///
    /// # Errors
    ///
    /// The idle timeout ([`IdleTimeout`](crate::IdleTimeout)) or the wall time
    /// ([`WallTimeout`](crate::WallTimeout)) of the request was over first, or `poll(2)` failed.
    pub async fn wait_until_any_is_ready_async(
        &self,
        awaited: &[(BorrowedFd<'_>, Readiness)],
        end: Option<Instant>,
    ) -> io::Result<()> {
        self.0.deadlines.check_wall_time()?;
        let mut fds: PollSet<'_> =
            awaited.iter().map(|(fd, wanted)| (*fd, flags(*wanted))).collect();
        let wait = self.0.deadlines.begin_wait(end);
        let polled = wait_until_any_is_ready(&mut fds, end, wait.deadline).await?;
        self.0.deadlines.end_wait(&wait, polled)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::{IdleTimeout, block_on};

    const READABLE: Readiness = Readiness { readable: true, writable: false };

    fn wait(request: &Request, end: Option<Instant>) -> io::Result<()> {
        block_on(request.wait_until_any_is_ready_async(&[(request.as_fd(), READABLE)], end))
    }

    #[test]
    fn a_connection_is_ready_for_what_its_client_sent_and_for_its_end() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let request = Request::new(server);
        assert!(!request.is_ready(READABLE).unwrap());
        assert!(request.is_ready(Readiness { readable: true, writable: true }).unwrap());
        client.write_all(b"x").unwrap();
        assert!(request.is_ready(READABLE).unwrap());
        request.recv(9).unwrap();
        assert!(!request.is_ready(READABLE).unwrap());
        drop(client);
        wait(&request, None).unwrap();
        assert_eq!(request.recv(9).unwrap(), b"");
    }

    #[test]
    fn a_socket_that_a_handler_opened_is_ready_as_a_connection_is() {
        let (_client, server) = UnixStream::pair().unwrap();
        let request = Request::new(server);
        let (mut peer, opened) = UnixStream::pair().unwrap();
        let opened = request.open(opened).unwrap();
        assert!(!opened.is_ready(READABLE).unwrap());
        peer.write_all(b"x").unwrap();
        assert!(opened.is_ready(READABLE).unwrap());
        let both = [(request.as_fd(), READABLE), (opened.as_fd(), READABLE)];
        block_on(request.wait_until_any_is_ready_async(&both, None)).unwrap();
        request.set_idle_timeout(Some(Duration::from_millis(20)));
        assert!(wait(&request, None).is_err());
    }

    #[test]
    fn a_call_without_waiting_moves_what_it_can() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let request = Request::new(server);
        let receive = |request: &Request| request.recv(9);
        assert_eq!(request.without_waiting(receive).unwrap(), None);
        assert_eq!(request.gettimeout(), None);
        client.write_all(b"x").unwrap();
        assert_eq!(request.without_waiting(receive).unwrap(), Some(b"x".to_vec()));
        request.close();
        assert!(request.without_waiting(receive).is_err());
    }

    #[test]
    fn a_wait_ends_at_its_time_and_at_the_idle_timeout() {
        let (_client, server) = UnixStream::pair().unwrap();
        let request = Request::new(server);
        let soon = Instant::now() + Duration::from_millis(10);
        wait(&request, Some(soon)).unwrap();
        assert!(Instant::now() >= soon);
        request.set_idle_timeout(Some(Duration::from_millis(20)));
        let error = wait(&request, None).unwrap_err();
        assert!(error.get_ref().unwrap().is::<IdleTimeout>(), "{error}");
    }
}
