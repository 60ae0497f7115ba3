//! What whoever runs a handler knows and decides about its request: limits, what it
//! has moved, and what ends with it.

use std::any::Any;
use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::{About, Kept, Request};
use crate::wait::sleep;

impl Request {
    /// Keeps something until the request ends: until the handler is done, just
    /// before the client is told so, and in [`Concurrency::Forking`] until the
    /// child has ended, in the process that forked it. What is kept by a request
    /// that no server has ends with its last clone.
    ///
    /// It is for what [`Hooks::verify_request`] counts.
    ///
    /// [`Concurrency::Forking`]: crate::Concurrency::Forking
    /// [`Hooks::verify_request`]: crate::Hooks::verify_request
    pub fn keep(&self, kept: impl Any + Send + Sync) {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(kept));
    }

    /// What is kept, which is somebody else's from now on.
    pub(crate) fn take_kept(&self) -> Kept {
        std::mem::take(&mut *self.0.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How long calls may wait, added up, without a byte moving in either
    /// direction. What is left when it is used up is an error that carries
    /// [`IdleTimeout`](crate::IdleTimeout). `None`, the default, for no limit. It is for whoever
    /// runs the handler; the handler's own timeout can only be shorter.
    pub fn set_idle_timeout(&self, limit: Option<Duration>) {
        self.0.patience.set_idle_timeout(limit);
    }

    /// How long the request may take in all, from when it was taken, whatever
    /// it does. Calls fail from then on, with an error that carries
    /// [`WallTimeout`](crate::WallTimeout). `None`, the default, for no limit. It
    /// is for whoever runs the handler.
    pub fn set_wall_time(&self, limit: Option<Duration>) {
        self.0.patience.set_wall_time(limit);
    }

    /// How many bytes the request may receive in all. What comes after them is
    /// an error that carries [`ReceiveLimit`](crate::ReceiveLimit); the end of the
    /// stream may. `None`, the default, for no limit. It is for whoever runs the
    /// handler. A datagram is there already, and limited by the server's
    /// `max_packet_size`.
    pub fn set_max_received(&self, limit: Option<u64>) {
        self.0.traffic.received.set_limit(limit);
    }

    /// How many bytes the request may send in all. Calls that would send more
    /// send what they may, and the next one fails with an error that carries
    /// [`SendLimit`](crate::SendLimit); a datagram that is too long is not sent,
    /// and one that is empty counts as a byte.
    /// `None`, the default, for no limit. It is for whoever runs the handler.
    pub fn set_max_sent(&self, limit: Option<u64>) {
        self.0.traffic.sent.set_limit(limit);
    }

    /// How many bytes it has received so far, its datagram included.
    pub fn received(&self) -> u64 {
        self.0.traffic.received.moved()
    }

    /// How many bytes it has sent so far: given to the kernel, not
    /// necessarily taken by the client. An empty datagram counts as a byte.
    pub fn sent(&self) -> u64 {
        self.0.traffic.sent.moved()
    }

    /// Has the connection end with a reset, so that the client cannot take what
    /// it got for a whole answer, and the kernel keeps nothing that is unsent.
    /// Unix sockets and datagrams know no such thing, and end as always.
    ///
    /// `SO_LINGER` with no time, see `socket(7)`. It is for whoever runs the
    /// handler.
    pub fn reset_on_close(&self) {
        if let About::Connection(socket) = &self.0.about
            && socket.set_linger(Some(Duration::ZERO)).is_ok()
            && !matches!(socket.local_addr(), Ok(address) if address.is_unix())
        {
            self.0.resets.store(true, Ordering::Relaxed);
        }
    }

    /// When the wall time is over, if there is a limit.
    pub fn ends_at(&self) -> Option<Instant> {
        self.0.patience.end()
    }

    /// Waits until `end`, or for as long as the request may if that is `None`:
    /// what a handler calls in the place of `time.sleep`. It counts as waiting
    /// without a byte moving.
    ///
    /// Errors: the idle timeout ([`IdleTimeout`](crate::IdleTimeout)) or the wall
    /// time ([`WallTimeout`](crate::WallTimeout)) was over first.
    pub fn sleep_until(&self, end: Option<Instant>) -> io::Result<()> {
        self.0.patience.check()?;
        let begun = self.0.patience.begin(end);
        let waited = sleep(end, begun.deadline)?;
        self.0.patience.ended(&begun, waited)
    }

    /// Whether the connection has been reset, with nothing in it that is still to
    /// be received. What looks at it next does not see the error, for the kernel
    /// tells of it once. Where the client had said before that it would send nothing
    /// more, the error does not come with what is received.
    pub(crate) fn is_reset(&self) -> bool {
        let About::Connection(socket) = &self.0.about else { return false };
        let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
        match rustix::net::recv(socket, &mut [0; 1], flags) {
            Err(error) => error == Errno::CONNRESET,
            Ok((_, 0)) => matches!(socket.take_error(), Ok(Some(_))),
            Ok(_) => false,
        }
    }
}
