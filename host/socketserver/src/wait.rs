//! The one place where a request waits for its socket.
//!
//! Every blocking call of a [`Request`](crate::Request) comes here and nowhere
//! else, so that another way of waiting can take the place of `poll(2)`.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    Readable,
    Writable,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    /// The socket is ready, or has failed: the next call on it tells.
    Ready,
    /// The deadline passed first.
    DeadlinePassed,
}

/// Blocks until `socket` is ready for `interest` or `deadline` has passed;
/// without a deadline for as long as it takes.
pub(crate) fn wait(
    socket: BorrowedFd<'_>,
    interest: Interest,
    deadline: Option<Instant>,
) -> io::Result<Waited> {
    let flags = match interest {
        Interest::Readable => PollFlags::IN,
        Interest::Writable => PollFlags::OUT,
    };
    poll_until(&mut [PollFd::from_borrowed_fd(socket, flags)], deadline)
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
