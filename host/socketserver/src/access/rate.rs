//! A limit on the clients of a second, over all sources: xinetd's `cps`.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::pace::Pace;
use super::refusal::Refusal;
use crate::sys::Shared;

/// The most attempts at a number that other processes change at the same time. After
/// them a client is let in.
const ATTEMPTS: usize = 100;

/// A bucket with the clients of a second. One too many, and all are refused for the
/// time of a pause; after it the bucket is full.
///
/// They are refused, and not left to wait: clients that waited for the end of a pause
/// would come all at once then, and begin the next pause.
#[derive(Debug)]
pub(super) struct Rate {
    /// `None` if no client may come.
    pace: Option<Pace>,
    pause: Duration,
    /// The time from which the numbers count.
    start: Instant,
    numbers: Numbers,
}

/// When the bucket is full, and until when there is a pause, in nanoseconds.
#[derive(Debug)]
enum Numbers {
    Own([AtomicU64; 2]),
    /// Shared by workers. One of them that was taken over can have the others refuse
    /// clients, as it can take these from the others' sockets.
    Shared(Shared<[AtomicU64; 2]>),
}

const FULL_AT: usize = 0;
const PAUSED_UNTIL: usize = 1;

impl Rate {
    /// Counts the clients of this process.
    pub(super) fn new(most: u32, pause: Duration) -> Self {
        Rate::with(most, pause, Numbers::Own(Default::default()))
    }

    /// Counts the clients of this process and of the processes that it forks.
    ///
    /// # Errors
    ///
    /// The machine has no memory that they could share.
    pub(super) fn shared(most: u32, pause: Duration) -> io::Result<Self> {
        Ok(Rate::with(most, pause, Numbers::Shared(Shared::zeroed()?)))
    }

    fn with(most: u32, pause: Duration, numbers: Numbers) -> Self {
        let pace = Pace::new(most.into(), most);
        Rate { pace, pause, start: Instant::now(), numbers }
    }

    fn number(&self, index: usize) -> &AtomicU64 {
        match &self.numbers {
            Numbers::Own(numbers) => &numbers[index],
            Numbers::Shared(numbers) => &numbers[index],
        }
    }

    /// Returns a time and its number. The time is not later than `latest`, whatever
    /// the number says.
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

    /// Judges a client that came after `came_after`.
    ///
    /// # Errors
    ///
    /// The client is one too many, and a pause begins; or it came in a pause.
    pub(super) fn admit(&self, came_after: Instant, now: Instant) -> Result<(), Refusal> {
        let later = |by| now.checked_add(by).unwrap_or(now);
        let Some(pace) = self.pace else { return Err(Refusal::Rate) };
        let pause_ends = later(self.pause);
        let (paused_until, pause) = self.time(PAUSED_UNTIL, pause_ends);
        if now < paused_until {
            return Err(Refusal::Pause);
        }
        for _ in 0..ATTEMPTS {
            let (full_at, written) = self.time(FULL_AT, later(pace.fills()));
            let Some(full_at) = pace.take(full_at, came_after, now) else {
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

    /// Returns when the pause ends, if there is one.
    pub(super) fn paused_until(&self, now: Instant) -> Option<Instant> {
        let latest = now.checked_add(self.pause).unwrap_or(now);
        Some(self.time(PAUSED_UNTIL, latest).0).filter(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Returns how many of `clients` that come at `now` are let in, begin a pause, and
    /// come in one.
    fn verdicts(rate: &Rate, came_after: Instant, now: Instant, clients: u32) -> [u32; 3] {
        let mut all = [0; 3];
        for _ in 0..clients {
            let verdict = match rate.admit(came_after, now) {
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
    fn so_many_in_a_second_and_then_a_pause() {
        for rate in [Rate::new(3, 10 * SECOND), Rate::shared(3, 10 * SECOND).unwrap()] {
            let start = Instant::now();
            let at = |millis| start + Duration::from_millis(millis);
            let come = |millis, clients| verdicts(&rate, at(millis), at(millis), clients);
            assert_eq!(come(0, 3), [3, 0, 0]);
            // A third of a second later there is room for another.
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
    fn a_load_below_the_rate_is_served_after_a_pause_whatever_it_is_taken_in() {
        let rate = Rate::new(50, SECOND);
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(verdicts(&rate, at(0), at(0), 60), [50, 1, 9]);
        // 45 in a second, in the order in which a loop that is busy otherwise takes them.
        let mut taken = at(1000);
        for (millis, clients) in [(1100, 4), (3000, 86), (3020, 1), (13_020, 450), (13_100, 3)] {
            assert_eq!(verdicts(&rate, taken, at(millis), clients), [clients, 0, 0], "{millis}");
            taken = at(millis);
        }
    }

    #[test]
    fn processes_count_together() {
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
    fn numbers_that_a_process_made_up_hold_for_no_longer_than_a_pause() {
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
    fn none_is_none() {
        let now = Instant::now();
        assert_eq!(Rate::new(0, SECOND).admit(now, now), Err(Refusal::Rate));
    }
}
