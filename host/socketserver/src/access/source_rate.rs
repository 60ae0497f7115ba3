//! How often each source comes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::source::Source;

/// How many sources are remembered, in each of two tables: some 4 MiB in all.
const REMEMBERED: usize = 1 << 15;

/// A bucket of tokens for each source. It holds `burst` of them and is filled at
/// a rate; who comes takes one.
///
/// A source that did not come for as long as its bucket takes to fill is
/// forgotten: that is no loss. If there are too many of them, those that came the
/// longest time ago are forgotten too, and begin with a full bucket when they
/// come again. So made-up addresses cost no memory, and nobody else's place.
#[derive(Debug)]
pub(super) struct SourceRate {
    per_second: f64,
    burst: f64,
    /// How long an empty bucket takes to be full.
    fills: Duration,
    remembered: usize,
    sources: Mutex<Sources>,
}

/// Those that came lately, and those that came before.
#[derive(Debug, Default)]
struct Sources {
    young: HashMap<Source, Bucket>,
    old: HashMap<Source, Bucket>,
    /// When the young ones were none.
    since: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl SourceRate {
    pub(super) fn new(per_second: f64, burst: u32) -> Self {
        let burst = f64::from(burst);
        let fills = Duration::try_from_secs_f64(burst / per_second).unwrap_or(Duration::MAX);
        let sources = Mutex::default();
        SourceRate { per_second, burst, fills, remembered: REMEMBERED, sources }
    }

    /// Whether a client of `source` may come now. One who may not takes nothing.
    pub(super) fn admit(&self, source: Source, now: Instant) -> bool {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *sources.since.get_or_insert(now);
        let aged = now.saturating_duration_since(since) >= self.fills;
        if aged || sources.young.len() >= self.remembered {
            let Sources { young, old, since } = &mut *sources;
            std::mem::swap(young, old);
            young.clear();
            *since = Some(now);
        }
        let known = sources.young.get(&source).or_else(|| sources.old.get(&source));
        let mut tokens = known.map_or(self.burst, |bucket| {
            let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
            (bucket.tokens + passed * self.per_second).min(self.burst)
        });
        let admitted = tokens >= 1.0;
        if admitted {
            tokens -= 1.0;
        }
        sources.young.insert(source, Bucket { tokens, at: now });
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Source = Source::User(1);

    #[test]
    fn a_burst_and_then_the_rate_for_each_source() {
        let rate = SourceRate::new(2.0, 3);
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert!((0..3).all(|_| rate.admit(ONE, at(0))));
        assert!(!rate.admit(ONE, at(0)));
        assert!(!rate.admit(ONE, at(499)));
        // Who was refused has taken nothing.
        assert!(rate.admit(ONE, at(500)));
        assert!(!rate.admit(ONE, at(501)));
        assert!(rate.admit(Source::User(2), at(501)));
        // No more than a burst is saved up, whatever is forgotten meanwhile.
        for later in [1_000_000, 2_000_000] {
            assert!((0..3).all(|_| rate.admit(ONE, at(later))));
            assert!(!rate.admit(ONE, at(later)));
        }
    }

    #[test]
    fn what_is_remembered_outlives_a_change_of_tables() {
        let rate = SourceRate::new(1.0, 10);
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert!(rate.admit(Source::User(2), at(0)));
        assert!((0..10).all(|_| rate.admit(ONE, at(9_000))));
        // The tables change here.
        assert!(rate.admit(ONE, at(10_000)));
        assert!(!rate.admit(ONE, at(10_000)));
    }

    #[test]
    fn a_flood_of_sources_takes_no_memory_and_locks_nobody_out() {
        let rate = SourceRate { remembered: 100, ..SourceRate::new(0.001, 1) };
        let now = Instant::now();
        for user in 0..10_000 {
            assert!(rate.admit(Source::User(user), now), "{user}");
            let sources = rate.sources.lock().unwrap();
            assert!(sources.young.len() + sources.old.len() <= 200);
        }
        // The last of them are known.
        assert!(!rate.admit(Source::User(9_999), now));
    }
}
