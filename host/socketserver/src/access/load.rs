//! How busy the machine is.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::sysinfo::sysinfo;

/// How long a load is taken for the present one. The kernel computes it anew
/// every five seconds.
const FRESH: Duration = Duration::from_secs(1);

/// The load average above which nobody is served.
#[derive(Debug)]
pub(super) struct MaxLoad {
    limit: f64,
    /// The load when it was last looked at.
    last: Mutex<Option<(Instant, f64)>>,
}

impl MaxLoad {
    pub(super) fn new(limit: f64) -> Self {
        MaxLoad { limit, last: Mutex::default() }
    }

    /// Whether the machine has time now.
    pub(super) fn admit(&self, now: Instant) -> bool {
        self.admit_at(now, load)
    }

    fn admit_at(&self, now: Instant, load: impl FnOnce() -> f64) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |at: Instant| now.saturating_duration_since(at) < FRESH;
        let (at, load) = last.filter(|(at, _)| fresh(*at)).unwrap_or_else(|| (now, load()));
        *last = Some((at, load));
        load < self.limit
    }
}

/// The load average of the last minute. It opens no file. A machine that does
/// not tell is not known to have time.
fn load() -> f64 {
    sysinfo().map_or(f64::INFINITY, |info| info.load_average().0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_the_limit_and_not_at_it() {
        let now = Instant::now();
        assert!(MaxLoad::new(4.0).admit_at(now, || 3.99));
        assert!(!MaxLoad::new(4.0).admit_at(now, || 4.0));
        assert!(!MaxLoad::new(4.0).admit_at(now, || f64::INFINITY));
    }

    #[test]
    fn it_looks_once_in_a_second() {
        let max = MaxLoad::new(4.0);
        let start = Instant::now();
        assert!(max.admit_at(start, || 1.0));
        assert!(max.admit_at(start + Duration::from_millis(999), || 9.0));
        assert!(!max.admit_at(start + Duration::from_secs(1), || 9.0));
        assert!(!max.admit_at(start + Duration::from_millis(1999), || 1.0));
        assert!(max.admit_at(start + Duration::from_secs(2), || 1.0));
    }

    #[test]
    fn this_machine_tells() {
        assert!(load().is_finite() && load() >= 0.0);
    }
}
