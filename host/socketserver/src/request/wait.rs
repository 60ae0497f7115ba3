//! The one place where a request waits, for its socket or for time to pass.
//!
//! Every blocking call of a [`Request`](crate::Request) comes here and nowhere
//! else, so that another way of waiting can take the place of `poll(2)`.

use std::io;
use std::os::fd::BorrowedFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use crate::poll::{Polled, poll_until};

/// The event that a call on a socket waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    /// The socket has data, or the end of the stream.
    Readable,
    /// The socket takes data.
    Writable,
    /// The queue of the Unix datagram socket at the other end has room. The kernel
    /// reports that only to sockets that are connected to it.
    PeerHasRoom,
}

/// The first and the longest of the pauses between attempts to send to a Unix datagram
/// socket whose queue is full.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));

/// Waits until `socket` is ready for `interest` or `deadline` has passed; without a
/// deadline, until the socket is ready. `attempt` counts the earlier waits of the same
/// call.
pub(crate) fn wait_for(
    socket: BorrowedFd<'_>,
    interest: Interest,
    attempt: u32,
    deadline: Option<Instant>,
) -> io::Result<Polled> {
    let flags = match interest {
        Interest::Readable => PollFlags::IN,
        Interest::Writable => PollFlags::OUT,
        Interest::PeerHasRoom => return Ok(pause(attempt, deadline)),
    };
    poll_until(&mut [PollFd::from_borrowed_fd(socket, flags)], deadline)
}

/// Sleeps, for longer with each attempt, because no event reports room at the peer.
fn pause(attempt: u32, deadline: Option<Instant>) -> Polled {
    let (first, longest) = PAUSES;
    let pause = first.saturating_mul(1 << attempt.min(10)).min(longest);
    let left =
        deadline.map_or(pause, |deadline| deadline.saturating_duration_since(Instant::now()));
    thread::sleep(pause.min(left));
    if left > pause || deadline.is_none() { Polled::Ready } else { Polled::DeadlinePassed }
}

/// Sleeps until `end`, but not beyond `deadline`, which is not later than `end`.
pub(crate) fn sleep(end: Option<Instant>, deadline: Option<Instant>) -> io::Result<Polled> {
    poll_until(&mut [], deadline)?;
    let over = end.is_some_and(|end| Instant::now() >= end);
    Ok(if over { Polled::Ready } else { Polled::DeadlinePassed })
}
