//! `poll(2)` with a deadline.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// The end of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Polled {
    /// A descriptor is ready, or has failed: the next call on it returns the error.
    Ready,
    /// The deadline passed first.
    DeadlinePassed,
}

/// Descriptors that a call waits for, with the events that it waits for, and those that were found.
#[derive(Default)]
pub(crate) struct PollSet<'a> {
    found: Vec<PollFd<'a>>,
    wanted: Vec<PollFlags>,
}

impl<'a> PollSet<'a> {
    pub(crate) fn add(&mut self, descriptor: BorrowedFd<'a>, wanted: PollFlags) {
        self.found.push(PollFd::from_borrowed_fd(descriptor, wanted));
        self.wanted.push(wanted);
    }

    /// Returns each descriptor with the events that are waited for.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        self.found.iter().map(AsFd::as_fd).zip(self.wanted.iter().copied())
    }

    /// Returns the events that the last look has found, for each descriptor.
    pub(crate) fn found(&self) -> impl Iterator<Item = PollFlags> {
        self.found.iter().map(PollFd::revents)
    }

    /// Waits as [`poll_until`] does.
    pub(crate) fn poll_until(&mut self, deadline: Option<Instant>) -> io::Result<Polled> {
        poll_until(&mut self.found, deadline)
    }
}

impl<'a> FromIterator<(BorrowedFd<'a>, PollFlags)> for PollSet<'a> {
    fn from_iter<I: IntoIterator<Item = (BorrowedFd<'a>, PollFlags)>>(wanted: I) -> Self {
        let mut set = PollSet::default();
        wanted.into_iter().for_each(|(descriptor, wanted)| set.add(descriptor, wanted));
        set
    }
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

pub(crate) fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
