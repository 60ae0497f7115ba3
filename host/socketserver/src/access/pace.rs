//! How often something may happen, judged late.

use std::time::{Duration, Instant};

/// The rate at which a bucket of tokens fills, of which each client takes one. Of a
/// bucket only the time is kept at which it is full again (the generic cell rate
/// algorithm).
///
/// A client is judged when it is taken, and may have waited until then, in a queue
/// that was not looked at. Clients that came one after the other are taken at once
/// then. So each is judged as if it had come at the time that is best for it, of all
/// those at which it may have come: what may pass is what could have passed had
/// none of them waited, and over any longer time it is not more than the rate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// The time in which one token comes.
    interval: Duration,
    /// The time in which an empty bucket fills.
    fills: Duration,
}

impl Pace {
    /// Returns `None` if there are never any tokens.
    pub(super) fn new(per_second: f64, burst: u32) -> Option<Pace> {
        let interval = Duration::try_from_secs_f64(per_second.recip()).ok()?;
        let fills = interval.checked_mul(burst).unwrap_or(Duration::MAX);
        (burst > 0).then_some(Pace { interval, fills })
    }

    /// Returns the time in which an empty bucket fills.
    pub(super) fn fills(self) -> Duration {
        self.fills
    }

    /// Takes a token from a bucket that is full at `full_at`, and returns when it is
    /// full now; `None` if it is empty. The client came after `came_after`.
    pub(super) fn take(
        self,
        full_at: Instant,
        came_after: Instant,
        now: Instant,
    ) -> Option<Instant> {
        let full_at = full_at.max(came_after.min(now)).checked_add(self.interval)?;
        let has_one = now.checked_add(self.fills).is_none_or(|latest| full_at <= latest);
        has_one.then_some(full_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how many of `clients` get a token at `now`, one after the other.
    fn admitted(full_at: &mut Instant, came_after: Instant, now: Instant, clients: u32) -> u32 {
        let pace = Pace::new(10.0, 5).unwrap();
        let takes = (0..clients).map_while(|_| {
            *full_at = pace.take(*full_at, came_after, now)?;
            Some(())
        });
        u32::try_from(takes.count()).unwrap()
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut full_at = start;
        assert_eq!(admitted(&mut full_at, at(0), at(0), 100), 5);
        assert_eq!(admitted(&mut full_at, at(99), at(99), 100), 0);
        assert_eq!(admitted(&mut full_at, at(100), at(100), 100), 1);
        assert_eq!(admitted(&mut full_at, at(350), at(350), 100), 2);
        // No more than a burst is saved up.
        assert_eq!(admitted(&mut full_at, at(1_000_000), at(1_000_000), 100), 5);
    }

    #[test]
    fn clients_that_may_have_come_earlier_are_judged_as_if_so() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        // They waited for two seconds, in which twenty may come beside a burst.
        let mut full_at = start;
        assert_eq!(admitted(&mut full_at, at(0), at(2000), 100), 25);
        // What the bucket holds beyond a burst goes when the queue is empty.
        let mut full_at = start;
        assert_eq!(admitted(&mut full_at, at(0), at(2000), 3), 3);
        assert_eq!(admitted(&mut full_at, at(2000), at(2000), 100), 5);
        // In a queue that is never empty the rate is what it is.
        let mut full_at = start;
        let all: u32 = (0..100).map(|n| admitted(&mut full_at, at(0), at(100 * n), 7)).sum();
        assert!((5 + 99..=5 + 100).contains(&all), "{all}");
    }

    #[test]
    fn none_is_none() {
        for (per_second, burst) in [(0.0, 5), (5.0, 0), (-1.0, 5), (f64::NAN, 5)] {
            assert!(Pace::new(per_second, burst).is_none(), "{per_second} {burst}");
        }
        let slowest = Pace::new(1e-9, u32::MAX).unwrap();
        let now = Instant::now();
        assert!(slowest.take(now, now, now).is_some());
    }
}
