//! `poll(2)` with a deadline.

use std::io;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, Timespec, poll};
use rustix::io::Errno;

/// The end of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Polled {
    /// A descriptor is ready, or has failed: the next call on it returns the error.
    Ready,
    /// The deadline passed first.
    DeadlinePassed,
}

/// Waits until one of `fds` is ready or `deadline` has passed; without a deadline, until
/// a descriptor is ready. Starts again after a signal (PEP 475).
pub(crate) fn poll_until(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<Polled> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match poll(fds, left.map(timespec).as_ref()) {
            Ok(0) => return Ok(Polled::DeadlinePassed),
            Ok(_) => return Ok(Polled::Ready),
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
