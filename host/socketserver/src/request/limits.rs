//! The operator's side of a request: its limits, its byte counts, and the guards that
//! end with it.

use std::any::Any;
use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Request;
use super::transport::{Connection, Transport};
use super::wait::{block_on, sleep};
use crate::{elsewhere, reactor};

/// Values that are dropped when a request ends.
pub(crate) type Guards = Vec<Box<dyn Any + Send + Sync>>;

impl Request {
    /// Keeps `guard` until the request ends, and drops it then: when the handler is done,
    /// just before the client sees the end. In [`Concurrency::Forking`] the parent drops
    /// it when the child has ended. The guards of a request without a server are dropped
    /// with its last clone.
    ///
    /// This is for permits that [`Hooks::verify_request`] counts.
    ///
    /// [`Concurrency::Forking`]: crate::Concurrency::Forking
    /// [`Hooks::verify_request`]: crate::Hooks::verify_request
    pub fn keep(&self, guard: impl Any + Send + Sync) {
        self.0.guards.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(guard));
    }

    /// Takes the guards out of the request, so that the caller drops them.
    pub(crate) fn take_guards(&self) -> Guards {
        std::mem::take(&mut *self.0.guards.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sets the longest time that calls together may wait without a byte moving in
    /// either direction. After it calls fail with an error that contains
    /// [`IdleTimeout`](crate::IdleTimeout). `None`, the default, sets no limit. This is
    /// for the code that runs the handler: the handler's own timeout can only be
    /// shorter.
    pub fn set_idle_timeout(&self, limit: Option<Duration>) {
        self.0.deadlines.set_idle_timeout(limit);
    }

    /// Sets the longest time that the request may take in all, since it was taken from
    /// the queue. After it calls fail with an error that contains
    /// [`WallTimeout`](crate::WallTimeout). `None`, the default, sets no limit. This
    /// is for the code that runs the handler.
    pub fn set_wall_time(&self, limit: Option<Duration>) {
        self.0.deadlines.set_wall_time(limit);
    }

    /// Sets the number of bytes that the request may receive in all. Data beyond it is
    /// an error that contains [`ReceiveLimit`](crate::ReceiveLimit); the end of the
    /// stream is not. `None`, the default, sets no limit. This is for the code that runs
    /// the handler. A datagram has been received already: the server's
    /// `max_packet_size` limits it.
    pub fn set_max_received(&self, limit: Option<u64>) {
        self.0.traffic.received.set_limit(limit);
    }

    /// Sets the number of bytes that the request may send in all. A call that would send
    /// more sends as many as it may, and the next call fails with an error that contains
    /// [`SendLimit`](crate::SendLimit). A datagram that is too long is not sent,
    /// and an empty datagram counts as a byte. `None`, the default, sets no limit. This
    /// is for the code that runs the handler.
    pub fn set_max_sent(&self, limit: Option<u64>) {
        self.0.traffic.sent.set_limit(limit);
    }

    /// Returns the number of bytes received so far, with the datagram of the request.
    pub fn received(&self) -> u64 {
        self.0.traffic.received.moved()
    }

    /// Returns the number of bytes sent so far: the kernel has them, the client need
    /// not have received them. An empty datagram counts as a byte.
    pub fn sent(&self) -> u64 {
        self.0.traffic.sent.moved()
    }

    /// Makes the connection end with a reset, so that the client cannot take a part of an
    /// answer for all of it, and the kernel drops unsent data.
    /// Unix sockets and datagrams have no reset, and end as always.
    ///
    /// This is `SO_LINGER` with a time of 0, see `socket(7)`. It is for the code that
    /// runs the handler.
    pub fn reset_on_close(&self) {
        if let Transport::Connection(connection) = &self.0.transport {
            connection.reset_on_close();
        }
    }

    /// Returns the time at which the wall time is over, if there is a limit.
    pub fn wall_deadline(&self) -> Option<Instant> {
        self.0.deadlines.wall_deadline()
    }

    /// Sleeps until `end`, or until a limit of the request if `end` is `None`: the
    /// equivalent of `time.sleep` for a handler. The time counts as waiting without a
    /// byte moving.
    ///
    /// # Errors
    ///
    /// The idle timeout ([`IdleTimeout`](crate::IdleTimeout)) or the wall
    /// time ([`WallTimeout`](crate::WallTimeout)) was over before `end`.
    pub fn sleep_until(&self, end: Option<Instant>) -> io::Result<()> {
        block_on(self.sleep_until_async(end))
    }

    /// Sleeps as [`sleep_until`](Self::sleep_until).
    ///
    /// # Errors
    ///
    /// As [`sleep_until`](Self::sleep_until).
    pub async fn sleep_until_async(&self, end: Option<Instant>) -> io::Result<()> {
        self.0.deadlines.check_wall_time()?;
        let wait = self.0.deadlines.begin_wait(end);
        let polled = sleep(end, wait.deadline).await?;
        self.0.deadlines.end_wait(&wait, polled)
    }

    /// Does work that may block its thread, such as a call on a file. A thread that runs requests
    /// as tasks leaves it to another thread, and suspends the task: the work is then for one of a
    /// few threads that all requests share, and counts as waiting, though not for the idle timeout.
    /// Other threads do it themselves.
    ///
    /// ```
    /// use std::os::unix::net::UnixStream;
    /// use socketserver::{Request, block_on};
    ///
    /// let (_client, server) = UnixStream::pair()?;
    /// let request = Request::new(server);
    /// let read = block_on(request.run_elsewhere_async(|| std::fs::read("/proc/version")))?;
    /// assert!(read?.starts_with(b"Linux"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The wall time ([`WallTimeout`](crate::WallTimeout)) was over first. The other thread goes
    /// on with work that it has begun, and drops the result.
    ///
    /// # Panics
    ///
    /// The work panicked.
    pub async fn run_elsewhere_async<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let Some(reactor) = reactor::current() else { return Ok(work()) };
        self.0.deadlines.check_wall_time()?;
        let request = self.clone();
        let measured = move || {
            let (result, used) = elsewhere::measure(work);
            request.0.elsewhere.fetch_add(used, Ordering::Relaxed);
            result
        };
        let end = self.0.deadlines.wall_deadline();
        if let Some(result) = elsewhere::run(&reactor, end, measured).await? {
            return Ok(result);
        }
        self.0.deadlines.check_wall_time()?;
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Returns the CPU time of other threads for this request.
    pub fn cpu_time_elsewhere(&self) -> Duration {
        Duration::from_nanos(self.0.elsewhere.load(Ordering::Relaxed))
    }

    /// Returns true if the client has reset the connection and nothing is left to
    /// receive. The kernel reports a reset once, so the next call on the socket does not
    /// see it.
    pub(crate) fn is_reset(&self) -> bool {
        self.0.transport.connection().is_ok_and(Connection::is_reset)
    }
}
