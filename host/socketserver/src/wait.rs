//! The one place where a request waits, for its socket or for time to pass.
//!
//! Every blocking call of a [`Request`](crate::Request) comes here and nowhere
//! else, so that another way of waiting can take the place of `poll(2)`.

use std::io;
use std::os::fd::BorrowedFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    Readable,
    Writable,
    /// Room in the queue of the Unix datagram socket that is written to. The
    /// kernel tells only those who are connected to it when there is some.
    RoomAtPeer,
}

/// The first and the longest of the pauses between looks at whether there is
/// room at a peer.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    /// The socket is ready, or has failed: the next call on it tells.
    Ready,
    /// The deadline passed first.
    DeadlinePassed,
}

/// Blocks until `socket` is ready for `interest` or `deadline` has passed;
/// without a deadline for as long as it takes. `attempt` is how often the call
/// that waits has done so before.
pub(crate) fn wait(
    socket: BorrowedFd<'_>,
    interest: Interest,
    attempt: u32,
    deadline: Option<Instant>,
) -> io::Result<Waited> {
    let flags = match interest {
        Interest::Readable => PollFlags::IN,
        Interest::Writable => PollFlags::OUT,
        Interest::RoomAtPeer => return Ok(pause(attempt, deadline)),
    };
    poll_until(&mut [PollFd::from_borrowed_fd(socket, flags)], deadline)
}

/// Waits for longer each time, for there is nothing to wait for.
fn pause(attempt: u32, deadline: Option<Instant>) -> Waited {
    let (first, longest) = PAUSES;
    let pause = first.saturating_mul(1 << attempt.min(10)).min(longest);
    let left = deadline.map_or(pause, |at| at.saturating_duration_since(Instant::now()));
    thread::sleep(pause.min(left));
    if left > pause || deadline.is_none() { Waited::Ready } else { Waited::DeadlinePassed }
}

/// Blocks until `end`, and no longer than to `deadline`, which is not after it.
pub(crate) fn sleep(end: Option<Instant>, deadline: Option<Instant>) -> io::Result<Waited> {
    poll_until(&mut [], deadline)?;
    let over = end.is_some_and(|end| Instant::now() >= end);
    Ok(if over { Waited::Ready } else { Waited::DeadlinePassed })
}

/// `poll(2)` with a deadline, begun again after a signal (PEP 475).
pub(crate) fn poll_until(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<Waited> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match poll(fds, left.map(timespec).as_ref()) {
            Ok(0) => return Ok(Waited::DeadlinePassed),
            Ok(_) => return Ok(Waited::Ready),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
