//! The limit on the rate of each source.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::pace::Pace;
use super::source::Source;

/// The largest number of sources in each of two tables, which take some 4 MiB together.
const MAX_SOURCES: usize = 1 << 15;

/// A token bucket for each source.
///
/// A source that has not come for the time in which its bucket fills is forgotten, and
/// loses nothing by that. If there are too many sources, those that came the
/// longest time ago are forgotten too, and begin with a full bucket when they
/// come again. So forged addresses neither take unlimited memory nor lock out other
/// sources.
#[derive(Debug)]
pub(super) struct SourceRate {
    /// `None` if every client is refused.
    pace: Option<Pace>,
    max_sources: usize,
    sources: Mutex<Sources>,
}

/// The times at which the buckets of sources are full, in two generations.
#[derive(Debug, Default)]
struct Sources {
    /// The sources that came since `since`.
    young: HashMap<Source, Instant>,
    /// The sources that came in the time before.
    old: HashMap<Source, Instant>,
    /// The time at which `young` was last empty.
    since: Option<Instant>,
}

impl SourceRate {
    pub(super) fn new(per_second: f64, burst: u32) -> Self {
        let pace = Pace::new(per_second, burst);
        SourceRate { pace, max_sources: MAX_SOURCES, sources: Mutex::default() }
    }

    /// Returns true if a client of `source`, which arrived at `arrival` at the earliest,
    /// is admitted. A client that is refused takes no token.
    pub(super) fn admit(&self, source: Source, arrival: Instant, now: Instant) -> bool {
        let Some(pace) = self.pace else { return false };
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *sources.since.get_or_insert(now);
        let aged = now.saturating_duration_since(since) >= pace.fill_time();
        if aged || sources.young.len() >= self.max_sources {
            let Sources { young, old, since } = &mut *sources;
            std::mem::swap(young, old);
            young.clear();
            *since = Some(now);
        }
        let known = sources.young.get(&source).or_else(|| sources.old.get(&source));
        let full_at = known.copied().unwrap_or(arrival);
        let taken = pace.take(full_at, arrival, now);
        sources.young.insert(source, taken.unwrap_or(full_at));
        taken.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ONE: Source = Source::User(1);

    /// Judges a client that was taken when it arrived.
    fn admit(rate: &SourceRate, source: Source, now: Instant) -> bool {
        rate.admit(source, now, now)
    }

    #[test]
    fn each_source_has_a_burst_and_then_the_rate() {
        let rate = SourceRate::new(2.0, 3);
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert!((0..3).all(|_| admit(&rate, ONE, at(0))));
        assert!(!admit(&rate, ONE, at(0)));
        assert!(!admit(&rate, ONE, at(499)));
        // The refused client has taken no token.
        assert!(admit(&rate, ONE, at(500)));
        assert!(!admit(&rate, ONE, at(501)));
        assert!(admit(&rate, Source::User(2), at(501)));
        // At most a burst is saved up, even if the source was forgotten meanwhile.
        for later in [1_000_000, 2_000_000] {
            assert!((0..3).all(|_| admit(&rate, ONE, at(later))));
            assert!(!admit(&rate, ONE, at(later)));
        }
    }

    #[test]
    fn clients_that_waited_are_judged_by_their_arrival() {
        let rate = SourceRate::new(10.0, 5);
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let admitted = |source, arrival, now| {
            (0..100).take_while(|_| rate.admit(source, at(arrival), at(now))).count()
        };
        assert_eq!(admitted(ONE, 0, 0), 5);
        // Ten can have arrived in the second of the wait, and a burst beside.
        for source in [ONE, Source::User(2)] {
            assert_eq!(admitted(source, 10_000, 11_000), 15, "{source:?}");
            assert_eq!(admitted(source, 11_000, 11_000), 0, "{source:?}");
        }
    }

    #[test]
    fn a_source_is_remembered_when_the_tables_change() {
        let rate = SourceRate::new(1.0, 10);
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert!(admit(&rate, Source::User(2), at(0)));
        assert!((0..10).all(|_| admit(&rate, ONE, at(9_000))));
        // The tables change here.
        assert!(admit(&rate, ONE, at(10_000)));
        assert!(!admit(&rate, ONE, at(10_000)));
    }

    #[test]
    fn a_flood_of_sources_takes_bounded_memory_and_is_admitted() {
        let rate = SourceRate { max_sources: 100, ..SourceRate::new(0.001, 1) };
        let now = Instant::now();
        for user in 0..10_000 {
            assert!(admit(&rate, Source::User(user), now), "{user}");
            let sources = rate.sources.lock().unwrap();
            assert!(sources.young.len() + sources.old.len() <= 200);
        }
        // The last sources are remembered.
        assert!(!admit(&rate, Source::User(9_999), now));
    }
}
