//! How often each source comes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::pace::Pace;
use super::source::Source;

/// How many sources are remembered, in each of two tables: some 4 MiB in all.
const REMEMBERED: usize = 1 << 15;

/// A bucket of tokens for each source.
///
/// A source that did not come for as long as its bucket takes to fill is
/// forgotten: that is no loss. If there are too many of them, those that came the
/// longest time ago are forgotten too, and begin with a full bucket when they
/// come again. So made-up addresses cost no memory, and nobody else's place.
#[derive(Debug)]
pub(super) struct SourceRate {
    /// `None` if no client may come.
    pace: Option<Pace>,
    remembered: usize,
    sources: Mutex<Sources>,
}

/// The times at which the buckets of sources are full: of sources that came lately,
/// and of others.
#[derive(Debug, Default)]
struct Sources {
    young: HashMap<Source, Instant>,
    old: HashMap<Source, Instant>,
    /// When the young ones were none.
    since: Option<Instant>,
}

impl SourceRate {
    pub(super) fn new(per_second: f64, burst: u32) -> Self {
        let pace = Pace::new(per_second, burst);
        SourceRate { pace, remembered: REMEMBERED, sources: Mutex::default() }
    }

    /// Returns whether a client of `source` that came after `came_after` is let in. A
    /// client that is not takes no token.
    pub(super) fn admit(&self, source: Source, came_after: Instant, now: Instant) -> bool {
        let Some(pace) = self.pace else { return false };
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *sources.since.get_or_insert(now);
        let aged = now.saturating_duration_since(since) >= pace.fills();
        if aged || sources.young.len() >= self.remembered {
            let Sources { young, old, since } = &mut *sources;
            std::mem::swap(young, old);
            young.clear();
            *since = Some(now);
        }
        let known = sources.young.get(&source).or_else(|| sources.old.get(&source));
        let full_at = known.copied().unwrap_or(came_after);
        let taken = pace.take(full_at, came_after, now);
        sources.young.insert(source, taken.unwrap_or(full_at));
        taken.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ONE: Source = Source::User(1);

    /// Of a client that was taken as it came.
    fn admit(rate: &SourceRate, source: Source, now: Instant) -> bool {
        rate.admit(source, now, now)
    }

    #[test]
    fn a_burst_and_then_the_rate_for_each_source() {
        let rate = SourceRate::new(2.0, 3);
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert!((0..3).all(|_| admit(&rate, ONE, at(0))));
        assert!(!admit(&rate, ONE, at(0)));
        assert!(!admit(&rate, ONE, at(499)));
        // Who was refused has taken nothing.
        assert!(admit(&rate, ONE, at(500)));
        assert!(!admit(&rate, ONE, at(501)));
        assert!(admit(&rate, Source::User(2), at(501)));
        // No more than a burst is saved up, whatever is forgotten meanwhile.
        for later in [1_000_000, 2_000_000] {
            assert!((0..3).all(|_| admit(&rate, ONE, at(later))));
            assert!(!admit(&rate, ONE, at(later)));
        }
    }

    #[test]
    fn clients_that_waited_have_come_before_be_their_source_known_or_not() {
        let rate = SourceRate::new(10.0, 5);
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let admitted = |source, came_after, now| {
            (0..100).take_while(|_| rate.admit(source, at(came_after), at(now))).count()
        };
        assert_eq!(admitted(ONE, 0, 0), 5);
        // Ten may have come in the second of the wait, and a burst beside.
        for source in [ONE, Source::User(2)] {
            assert_eq!(admitted(source, 10_000, 11_000), 15, "{source:?}");
            assert_eq!(admitted(source, 11_000, 11_000), 0, "{source:?}");
        }
    }

    #[test]
    fn what_is_remembered_outlives_a_change_of_tables() {
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
    fn a_flood_of_sources_takes_no_memory_and_locks_nobody_out() {
        let rate = SourceRate { remembered: 100, ..SourceRate::new(0.001, 1) };
        let now = Instant::now();
        for user in 0..10_000 {
            assert!(admit(&rate, Source::User(user), now), "{user}");
            let sources = rate.sources.lock().unwrap();
            assert!(sources.young.len() + sources.old.len() <= 200);
        }
        // The last of them are known.
        assert!(!admit(&rate, Source::User(9_999), now));
    }
}
