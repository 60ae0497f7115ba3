//! The deadlines of one request.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::poll::Polled;

/// Stands for the absence of a [`Duration`].
const NONE: u64 = u64::MAX;

/// The error inside an [`io::Error`] when a request waited for longer than its
/// idle timeout allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no byte moved for {limit:?}")]
pub struct IdleTimeout {
    /// The limit that was reached.
    pub limit: Duration,
}

/// The error inside an [`io::Error`] when a request took longer, from its
/// beginning, than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the request took longer than {limit:?}")]
pub struct WallTimeout {
    /// The limit that was reached.
    pub limit: Duration,
}

/// The timeouts of one request, and the idle time that it has used up.
///
/// All durations are in nanoseconds.
#[derive(Debug)]
pub(crate) struct Deadlines {
    /// The longest time that one call may wait, which the handler sets.
    call_timeout: AtomicU64,
    /// The limits, which the sockets that the handler opens share.
    shared: Arc<SharedDeadlines>,
}

/// The limits of a request and of the sockets that its handler opens.
#[derive(Debug)]
struct SharedDeadlines {
    started: Instant,
    /// The longest time that calls together may wait without a byte moving.
    idle_timeout: AtomicU64,
    /// The time that calls have waited since a byte last moved.
    idle: AtomicU64,
    /// The longest time that the whole request may take.
    wall_time: AtomicU64,
}

/// One wait of a call.
pub(crate) struct TimedWait {
    started: Instant,
    /// The earliest of the deadlines that apply.
    pub deadline: Option<Instant>,
}

impl TimedWait {
    /// Returns true if the deadline had passed when the wait began.
    pub(crate) fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= self.started)
    }
}

impl Deadlines {
    /// Returns deadlines without limits, for a request that begins now.
    pub(crate) fn new() -> Self {
        Deadlines {
            call_timeout: AtomicU64::new(NONE),
            shared: Arc::new(SharedDeadlines {
                started: Instant::now(),
                idle_timeout: AtomicU64::new(NONE),
                idle: AtomicU64::new(0),
                wall_time: AtomicU64::new(NONE),
            }),
        }
    }

    /// Returns the deadlines of a socket that shares the limits of `request`. Its calls have
    /// no timeout.
    pub(crate) fn sharing(request: &Deadlines) -> Self {
        Deadlines { call_timeout: AtomicU64::new(NONE), shared: Arc::clone(&request.shared) }
    }

    pub(crate) fn set_call_timeout(&self, timeout: Option<Duration>) {
        self.call_timeout.store(to_nanos(timeout), Ordering::Relaxed);
    }

    pub(crate) fn call_timeout(&self) -> Option<Duration> {
        from_nanos(self.call_timeout.load(Ordering::Relaxed))
    }

    pub(crate) fn set_idle_timeout(&self, limit: Option<Duration>) {
        self.shared.idle_timeout.store(to_nanos(limit), Ordering::Relaxed);
    }

    pub(crate) fn set_wall_time(&self, limit: Option<Duration>) {
        self.shared.wall_time.store(to_nanos(limit), Ordering::Relaxed);
    }

    /// Returns the time at which the wall time of the request is over.
    pub(crate) fn wall_deadline(&self) -> Option<Instant> {
        from_nanos(self.shared.wall_time.load(Ordering::Relaxed))
            .and_then(|limit| self.shared.started.checked_add(limit))
    }

    /// Returns the time at which the handler's timeout ends a call that begins now.
    pub(crate) fn call_deadline(&self) -> Option<Instant> {
        self.call_timeout().and_then(|timeout| Instant::now().checked_add(timeout))
    }

    /// Fails with [`WallTimeout`] if the wall time of the request is over.
    pub(crate) fn check_wall_time(&self) -> io::Result<()> {
        match from_nanos(self.shared.wall_time.load(Ordering::Relaxed)) {
            Some(limit) if self.shared.started.elapsed() >= limit => {
                Err(io::Error::new(io::ErrorKind::TimedOut, WallTimeout { limit }))
            }
            _ => Ok(()),
        }
    }

    /// Starts the idle time again, because a byte has moved.
    pub(crate) fn reset_idle_time(&self) {
        self.shared.idle.store(0, Ordering::Relaxed);
    }

    /// Begins a wait of a call that the handler's timeout ends at `call_deadline`.
    pub(crate) fn begin_wait(&self, call_deadline: Option<Instant>) -> TimedWait {
        let started = Instant::now();
        let idle_deadline = from_nanos(self.shared.idle_timeout.load(Ordering::Relaxed))
            .and_then(|limit| started.checked_add(limit.saturating_sub(self.idle())));
        let deadlines = [call_deadline, idle_deadline, self.wall_deadline()];
        TimedWait { started, deadline: deadlines.into_iter().flatten().min() }
    }

    /// Ends a wait, and fails with the limit that was reached.
    pub(crate) fn end_wait(&self, wait: &TimedWait, polled: Polled) -> io::Result<()> {
        let idle = self.idle().saturating_add(wait.started.elapsed());
        self.shared.idle.store(to_nanos(Some(idle)), Ordering::Relaxed);
        if polled == Polled::Ready {
            return Ok(());
        }
        self.check_wall_time()?;
        match from_nanos(self.shared.idle_timeout.load(Ordering::Relaxed)) {
            Some(limit) if idle >= limit => {
                Err(io::Error::new(io::ErrorKind::TimedOut, IdleTimeout { limit }))
            }
            _ => Err(io::Error::new(io::ErrorKind::TimedOut, "timed out")),
        }
    }

    fn idle(&self) -> Duration {
        Duration::from_nanos(self.shared.idle.load(Ordering::Relaxed))
    }
}

/// Durations of more than 584 years become 584 years.
fn to_nanos(duration: Option<Duration>) -> u64 {
    duration
        .map_or(NONE, |duration| u64::try_from(duration.as_nanos()).unwrap_or(NONE).min(NONE - 1))
}

fn from_nanos(nanos: u64) -> Option<Duration> {
    (nanos != NONE).then(|| Duration::from_nanos(nanos))
}
