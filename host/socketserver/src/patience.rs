//! How long the calls of one request may wait.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::wait::Waited;

/// In the place of a [`Duration`]: no limit.
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

/// The limits of one request, and how much of them is used up.
#[derive(Debug)]
pub(crate) struct Patience {
    begun: Instant,
    /// What the handler set for each of its calls, in nanoseconds.
    timeout: AtomicU64,
    /// How long calls may wait, added up, without a byte moving.
    idle_timeout: AtomicU64,
    /// How long they have, since one last did.
    idle: AtomicU64,
    /// How long the request may take in all.
    wall_time: AtomicU64,
}

/// One wait.
pub(crate) struct Wait {
    begun: Instant,
    /// When to give up.
    pub deadline: Option<Instant>,
}

impl Patience {
    /// Without limits, for a request that begins now.
    pub(crate) fn new() -> Self {
        Patience {
            begun: Instant::now(),
            timeout: AtomicU64::new(NONE),
            idle_timeout: AtomicU64::new(NONE),
            idle: AtomicU64::new(0),
            wall_time: AtomicU64::new(NONE),
        }
    }

    pub(crate) fn set_timeout(&self, timeout: Option<Duration>) {
        self.timeout.store(to_nanos(timeout), Ordering::Relaxed);
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        from_nanos(self.timeout.load(Ordering::Relaxed))
    }

    pub(crate) fn set_idle_timeout(&self, limit: Option<Duration>) {
        self.idle_timeout.store(to_nanos(limit), Ordering::Relaxed);
    }

    pub(crate) fn set_wall_time(&self, limit: Option<Duration>) {
        self.wall_time.store(to_nanos(limit), Ordering::Relaxed);
    }

    /// When the request has taken as long as it may.
    pub(crate) fn end(&self) -> Option<Instant> {
        from_nanos(self.wall_time.load(Ordering::Relaxed))
            .and_then(|limit| self.begun.checked_add(limit))
    }

    /// When a call that begins now runs out of the handler's own timeout.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timeout().and_then(|timeout| Instant::now().checked_add(timeout))
    }

    /// Errors: the request has taken as long as it may.
    pub(crate) fn check(&self) -> io::Result<()> {
        match from_nanos(self.wall_time.load(Ordering::Relaxed)) {
            Some(limit) if self.begun.elapsed() >= limit => {
                Err(io::Error::new(io::ErrorKind::TimedOut, WallTimeout { limit }))
            }
            _ => Ok(()),
        }
    }

    /// A byte has moved.
    pub(crate) fn moved(&self) {
        self.idle.store(0, Ordering::Relaxed);
    }

    /// Begins a wait of a call that has until `own` by the handler's timeout.
    pub(crate) fn begin(&self, own: Option<Instant>) -> Wait {
        let begun = Instant::now();
        let idle = from_nanos(self.idle_timeout.load(Ordering::Relaxed))
            .and_then(|limit| begun.checked_add(limit.saturating_sub(self.idle())));
        Wait { begun, deadline: [own, idle, self.end()].into_iter().flatten().min() }
    }

    /// Ends a wait. Errors: which of the limits was reached.
    pub(crate) fn ended(&self, wait: &Wait, waited: Waited) -> io::Result<()> {
        let idle = self.idle().saturating_add(wait.begun.elapsed());
        self.idle.store(to_nanos(Some(idle)), Ordering::Relaxed);
        if waited == Waited::Ready {
            return Ok(());
        }
        self.check()?;
        match from_nanos(self.idle_timeout.load(Ordering::Relaxed)) {
            Some(limit) if idle >= limit => {
                Err(io::Error::new(io::ErrorKind::TimedOut, IdleTimeout { limit }))
            }
            _ => Err(io::Error::new(io::ErrorKind::TimedOut, "timed out")),
        }
    }

    fn idle(&self) -> Duration {
        Duration::from_nanos(self.idle.load(Ordering::Relaxed))
    }
}

/// Durations past 584 years count as that.
fn to_nanos(duration: Option<Duration>) -> u64 {
    duration
        .map_or(NONE, |duration| u64::try_from(duration.as_nanos()).unwrap_or(NONE).min(NONE - 1))
}

fn from_nanos(nanos: u64) -> Option<Duration> {
    (nanos != NONE).then(|| Duration::from_nanos(nanos))
}
