//! Histograms with fixed bounds.

use std::sync::atomic::AtomicU64;

use serde::Serialize;
use socketserver::shared_data;

use super::numbers::{add, get};

/// The number of bounds. Each is four times the one before.
const BOUNDS: usize = 12;

/// The first bound of times, in microseconds. The last one is 419 s.
pub const FIRST_TIME: u64 = 100;

/// The first bound of sizes, in bytes. The last one is 256 GiB.
pub const FIRST_SIZE: u64 = 64 << 10;

shared_data! {
    /// A histogram that processes share.
    #[derive(Debug)]
    pub struct SharedHistogram {
        /// The number of values up to each bound and above the one before, and of those above
        /// the last one.
        counts: [AtomicU64; BOUNDS + 1],
        sum: AtomicU64,
    }
}

impl SharedHistogram {
    /// Counts a value. The histogram has this first bound.
    pub fn count(&self, value: u64, first: u64) {
        let at = bounds(first).position(|bound| value <= bound).unwrap_or(BOUNDS);
        add(&self.counts[at], 1);
        add(&self.sum, value);
    }
}

/// The content of a histogram.
#[derive(Debug, Clone, Serialize)]
pub struct Histogram {
    /// The upper bounds of all counts but the last.
    pub bounds: [u64; BOUNDS],
    /// The number of values up to each bound and above the one before, and of those above the
    /// last one.
    pub counts: Vec<u64>,
    /// The sum of all values.
    pub sum: u64,
}

impl Histogram {
    /// Returns an empty histogram with this first bound.
    pub fn new(first: u64) -> Self {
        let mut next = bounds(first);
        let bounds = [(); BOUNDS].map(|()| next.next().unwrap_or(u64::MAX));
        Histogram { bounds, counts: vec![0; BOUNDS + 1], sum: 0 }
    }

    /// Adds what processes have counted.
    pub fn add_shared(&mut self, other: &SharedHistogram) {
        for (own, other) in self.counts.iter_mut().zip(&other.counts) {
            *own = own.wrapping_add(get(other));
        }
        self.sum = self.sum.wrapping_add(get(&other.sum));
    }

    /// Adds another histogram.
    pub fn add(&mut self, other: &Histogram) {
        for (own, other) in self.counts.iter_mut().zip(&other.counts) {
            *own = own.wrapping_add(*other);
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

fn bounds(first: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(first), |bound| Some(bound * 4)).take(BOUNDS)
}

#[cfg(test)]
mod tests {
    use socketserver::Shared;

    use super::*;

    #[test]
    fn each_value_is_counted_at_the_first_bound_that_holds_it() {
        let shared = Shared::<SharedHistogram>::zeroed().unwrap();
        for value in [0, 100, 101, 400, 419_430_400, 419_430_401] {
            shared.count(value, FIRST_TIME);
        }
        let mut histogram = Histogram::new(FIRST_TIME);
        histogram.add_shared(&shared);
        histogram.add(&histogram.clone());
        assert_eq!(histogram.bounds[11], 419_430_400);
        assert_eq!(histogram.counts, [4, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2]);
        assert_eq!(histogram.sum, 2 * (601 + 419_430_400 + 419_430_401));
    }
}
