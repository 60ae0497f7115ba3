//! The limit on the clients in a second, over all sources: xinetd's `cps`.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::pace::Pace;
use super::refusal::Refusal;
use crate::sys::Shared;

/// The largest number of attempts to change a number that other processes change at the
/// same time. After them the client is admitted.
const ATTEMPTS: usize = 100;

/// A token bucket for the clients in a second. When it is empty, all clients are refused
/// for the time of a pause; after the pause the bucket is full.
///
/// The clients are refused and do not wait: clients that waited for the end of a pause
/// would come all at once then, and begin the next pause.
#[derive(Debug)]
pub(super) struct Rate {
    /// `None` if every client is refused.
    pace: Option<Pace>,
    pause: Duration,
    /// The time that the numbers count from.
    start: Instant,
    numbers: Numbers,
}

/// The time at which the bucket is full and the end of the pause, in nanoseconds.
#[derive(Debug)]
enum Numbers {
    Own([AtomicU64; 2]),
    /// Shared by workers. An attacker in one worker can make the others refuse clients,
    /// but could as well take these clients from the shared sockets.
    Shared(Shared<[AtomicU64; 2]>),
}

const FULL_AT: usize = 0;
const PAUSED_UNTIL: usize = 1;

impl Rate {
    /// Returns a limit for the clients of this process.
    pub(super) fn new(max_per_second: u32, pause: Duration) -> Self {
        Rate::from_numbers(max_per_second, pause, Numbers::Own(Default::default()))
    }

    /// Returns a limit for the clients of this process and of those that it forks.
    ///
    /// # Errors
    ///
    /// The kernel has no memory that the processes could share.
    pub(super) fn shared(max_per_second: u32, pause: Duration) -> io::Result<Self> {
        Ok(Rate::from_numbers(max_per_second, pause, Numbers::Shared(Shared::zeroed()?)))
    }

    fn from_numbers(max_per_second: u32, pause: Duration, numbers: Numbers) -> Self {
        let pace = Pace::new(max_per_second.into(), max_per_second);
        Rate { pace, pause, start: Instant::now(), numbers }
    }

    fn number(&self, index: usize) -> &AtomicU64 {
        match &self.numbers {
            Numbers::Own(numbers) => &numbers[index],
            Numbers::Shared(numbers) => &numbers[index],
        }
    }

    /// Returns a time and its number. The time is at most `latest`, even if the number
    /// is larger.
    fn time(&self, index: usize, latest: Instant) -> (Instant, u64) {
        let written = self.number(index).load(Ordering::SeqCst);
        let time = self.start.checked_add(Duration::from_nanos(written));
        (time.map_or(latest, |time| time.min(latest)), written)
    }

    fn set(&self, index: usize, written: u64, time: Instant) -> bool {
        let since = time.saturating_duration_since(self.start).as_nanos();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        let number = self.number(index);
        number.compare_exchange(written, since, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Judges a client that arrived at `arrival` at the earliest.
    ///
    /// # Errors
    ///
    /// The bucket is empty, and a pause begins; or the client came in a pause.
    pub(super) fn admit(&self, arrival: Instant, now: Instant) -> Result<(), Refusal> {
        let later = |by| now.checked_add(by).unwrap_or(now);
        let Some(pace) = self.pace else { return Err(Refusal::Rate) };
        let pause_ends = later(self.pause);
        let (paused_until, pause) = self.time(PAUSED_UNTIL, pause_ends);
        if now < paused_until {
            return Err(Refusal::Pause);
        }
        for _ in 0..ATTEMPTS {
            let (full_at, written) = self.time(FULL_AT, later(pace.fill_time()));
            let Some(full_at) = pace.take(full_at, arrival, now) else {
                let begins = self.set(PAUSED_UNTIL, pause, pause_ends);
                self.set(FULL_AT, written, pause_ends);
                return Err(if begins { Refusal::Rate } else { Refusal::Pause });
            };
            if self.set(FULL_AT, written, full_at) {
                break;
            }
        }
        Ok(())
    }

    /// Returns the end of the pause, if there is one.
    pub(super) fn paused_until(&self, now: Instant) -> Option<Instant> {
        let latest = now.checked_add(self.pause).unwrap_or(now);
        Some(self.time(PAUSED_UNTIL, latest).0).filter(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Returns the number of `clients` that are admitted at `now`, that begin a pause, and
    /// that come in a pause.
    fn verdicts(rate: &Rate, arrival: Instant, now: Instant, clients: u32) -> [u32; 3] {
        let mut all = [0; 3];
        for _ in 0..clients {
            let verdict = match rate.admit(arrival, now) {
                Ok(()) => 0,
                Err(Refusal::Rate) => 1,
                Err(refusal) => {
                    assert_eq!(refusal, Refusal::Pause);
                    2
                }
            };
            all[verdict] += 1;
        }
        all
    }

    #[test]
    fn a_full_second_is_followed_by_a_pause() {
        for rate in [Rate::new(3, 10 * SECOND), Rate::shared(3, 10 * SECOND).unwrap()] {
            let start = Instant::now();
            let at = |millis| start + Duration::from_millis(millis);
            let come = |millis, clients| verdicts(&rate, at(millis), at(millis), clients);
            assert_eq!(come(0, 3), [3, 0, 0]);
            // A third of a second later there is a token again.
            assert_eq!(come(334, 1), [1, 0, 0]);
            assert_eq!(rate.paused_until(at(334)), None);
            assert_eq!(come(335, 5), [0, 1, 4]);
            assert_eq!(rate.paused_until(at(335)), Some(at(10_335)));
            // Clients that come in the pause do not make it longer.
            assert_eq!(come(10_334, 5), [0, 0, 5]);
            assert_eq!(rate.paused_until(at(10_335)), None);
            assert_eq!(come(10_335, 5), [3, 1, 1]);
        }
    }

    #[test]
    fn a_pause_that_is_shorter_than_a_second_ends_with_a_full_bucket() {
        let rate = Rate::new(10, SECOND / 10);
        let start = Instant::now();
        assert_eq!(verdicts(&rate, start, start, 11), [10, 1, 0]);
        let end = start + SECOND / 10;
        assert_eq!(verdicts(&rate, end, end, 10), [10, 0, 0]);
    }

    #[test]
    fn clients_below_the_rate_are_served_after_a_pause_however_late_they_are_taken() {
        let rate = Rate::new(50, SECOND);
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(verdicts(&rate, at(0), at(0), 60), [50, 1, 9]);
        // 45 in a second, taken in the portions of a loop that is busy with requests.
        let mut taken = at(1000);
        for (millis, clients) in [(1100, 4), (3000, 86), (3020, 1), (13_020, 450), (13_100, 3)] {
            assert_eq!(verdicts(&rate, taken, at(millis), clients), [clients, 0, 0], "{millis}");
            taken = at(millis);
        }
    }

    #[test]
    fn threads_that_share_a_limit_count_together() {
        let rate = Rate::shared(100, 10 * SECOND).unwrap();
        let now = Instant::now();
        let threads: u32 = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| verdicts(&rate, now, now, 50))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()[0]).sum()
        });
        assert_eq!(threads, 100);
    }

    #[test]
    fn a_forged_number_causes_at_most_one_pause() {
        let rate = Rate::shared(5, SECOND).unwrap();
        let now = Instant::now();
        for index in [FULL_AT, PAUSED_UNTIL] {
            rate.number(index).store(u64::MAX, Ordering::SeqCst);
        }
        assert_eq!(rate.paused_until(now), Some(now + SECOND));
        rate.number(PAUSED_UNTIL).store(0, Ordering::SeqCst);
        assert_eq!(verdicts(&rate, now, now, 2), [0, 1, 1]);
        let later = now + SECOND;
        assert_eq!(verdicts(&rate, later, later, 5), [5, 0, 0]);
    }

    #[test]
    fn a_limit_of_0_refuses_every_client() {
        let now = Instant::now();
        assert_eq!(Rate::new(0, SECOND).admit(now, now), Err(Refusal::Rate));
    }
}
