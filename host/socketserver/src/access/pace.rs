//! A token bucket whose clients may have waited before they are judged.

use std::time::{Duration, Instant};

/// The rate at which a bucket of tokens fills. Each client takes one token. The state of
/// a bucket is the time at which it is full again (the generic cell rate algorithm).
///
/// A client is judged when it is taken from a queue, and may have waited there. Clients
/// that arrived one after the other are then taken at once. So each is judged as if it had
/// arrived at the best of all times that are possible. As many clients pass as could have
/// passed without the wait, and over a longer time no more than the rate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// The time in which one token is added.
    interval: Duration,
    /// The time in which an empty bucket fills.
    fill_time: Duration,
}

impl Pace {
    /// Returns `None` if the rate or the burst is 0, so that there are never any tokens.
    pub(super) fn new(per_second: f64, burst: u32) -> Option<Pace> {
        let interval = Duration::try_from_secs_f64(per_second.recip()).ok()?;
        let fill_time = interval.checked_mul(burst).unwrap_or(Duration::MAX);
        (burst > 0).then_some(Pace { interval, fill_time })
    }

    /// Returns the time in which an empty bucket fills.
    pub(super) fn fill_time(self) -> Duration {
        self.fill_time
    }

    /// Takes a token from a bucket that is full at `full_at`, and returns the new time at
    /// which it is full; `None` if it is empty. The client arrived at `arrival` at the
    /// earliest.
    pub(super) fn take(self, full_at: Instant, arrival: Instant, now: Instant) -> Option<Instant> {
        let full_at = full_at.max(arrival.min(now)).checked_add(self.interval)?;
        let has_one = now.checked_add(self.fill_time).is_none_or(|latest| full_at <= latest);
        has_one.then_some(full_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how many of `clients` get a token at `now`, one after the other.
    fn admitted(full_at: &mut Instant, arrival: Instant, now: Instant, clients: u32) -> u32 {
        let pace = Pace::new(10.0, 5).unwrap();
        let takes = (0..clients).map_while(|_| {
            *full_at = pace.take(*full_at, arrival, now)?;
            Some(())
        });
        u32::try_from(takes.count()).unwrap()
    }

    #[test]
    fn a_bucket_admits_a_burst_and_then_the_rate() {
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
    fn clients_that_may_have_arrived_earlier_are_judged_as_if_they_had() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        // They waited for two seconds, in which twenty are allowed beside a burst.
        let mut full_at = start;
        assert_eq!(admitted(&mut full_at, at(0), at(2000), 100), 25);
        // Tokens beyond a burst are lost when the queue is empty.
        let mut full_at = start;
        assert_eq!(admitted(&mut full_at, at(0), at(2000), 3), 3);
        assert_eq!(admitted(&mut full_at, at(2000), at(2000), 100), 5);
        // In a queue that is never empty the rate holds.
        let mut full_at = start;
        let all: u32 = (0..100).map(|n| admitted(&mut full_at, at(0), at(100 * n), 7)).sum();
        assert!((5 + 99..=5 + 100).contains(&all), "{all}");
    }

    #[test]
    fn a_rate_or_burst_of_0_has_no_tokens() {
        for (per_second, burst) in [(0.0, 5), (5.0, 0), (-1.0, 5), (f64::NAN, 5)] {
            assert!(Pace::new(per_second, burst).is_none(), "{per_second} {burst}");
        }
        let slowest = Pace::new(1e-9, u32::MAX).unwrap();
        let now = Instant::now();
        assert!(slowest.take(now, now, now).is_some());
    }
}
