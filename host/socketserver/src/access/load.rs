//! The limit on the load of the machine.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::sysinfo::sysinfo;

/// The time for which a load that was read stays valid. The kernel computes the load
/// every five seconds.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The load average from which on all clients are refused.
#[derive(Debug)]
pub(super) struct MaxLoad {
    limit: f64,
    /// The load that was last read, and the time of that.
    last: Mutex<Option<(Instant, f64)>>,
}

impl MaxLoad {
    pub(super) fn new(limit: f64) -> Self {
        MaxLoad { limit, last: Mutex::default() }
    }

    /// Returns true if the load is below the limit.
    pub(super) fn admit(&self, now: Instant) -> bool {
        self.admit_at(now, load)
    }

    fn admit_at(&self, now: Instant, load: impl FnOnce() -> f64) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |at: Instant| now.saturating_duration_since(at) < MAX_AGE;
        let (at, load) = last.filter(|(at, _)| fresh(*at)).unwrap_or_else(|| (now, load()));
        *last = Some((at, load));
        load < self.limit
    }
}

/// Returns the load average of the last minute, without opening a file. If the kernel
/// does not report it, the load counts as infinite.
fn load() -> f64 {
    sysinfo().map_or(f64::INFINITY, |info| info.load_average().0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_admitted_below_the_limit_and_not_at_it() {
        let now = Instant::now();
        assert!(MaxLoad::new(4.0).admit_at(now, || 3.99));
        assert!(!MaxLoad::new(4.0).admit_at(now, || 4.0));
        assert!(!MaxLoad::new(4.0).admit_at(now, || f64::INFINITY));
    }

    #[test]
    fn the_load_is_read_once_in_a_second() {
        let max = MaxLoad::new(4.0);
        let start = Instant::now();
        assert!(max.admit_at(start, || 1.0));
        assert!(max.admit_at(start + Duration::from_millis(999), || 9.0));
        assert!(!max.admit_at(start + Duration::from_secs(1), || 9.0));
        assert!(!max.admit_at(start + Duration::from_millis(1999), || 1.0));
        assert!(max.admit_at(start + Duration::from_secs(2), || 1.0));
    }

    #[test]
    fn this_machine_reports_its_load() {
        assert!(load().is_finite() && load() >= 0.0);
    }
}
