//! Numbers that processes share, and what is done with them.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};
use socketserver::access::Refusal;
use socketserver::{DropReason, Reason};

/// An enum that has a counter for each of its variants.
pub trait Counted: Copy + Eq + 'static {
    /// All variants.
    const ALL: &'static [Self];

    /// Returns the name of the counter.
    fn name(self) -> &'static str;

    /// Adds to the counter of this variant.
    fn count(self, counters: &[AtomicU64], number: u64) {
        let mut pairs = Self::ALL.iter().zip(counters);
        if let Some((_, counter)) = pairs.find(|(variant, _)| **variant == self) {
            add(counter, number);
        }
    }

    /// Returns the numbers that are not zero, with their variants.
    fn counted(numbers: &[u64]) -> impl Iterator<Item = (Self, u64)> {
        let pairs = Self::ALL.iter().zip(numbers).map(|(variant, number)| (*variant, *number));
        pairs.filter(|(_, number)| *number > 0)
    }

    /// Returns the numbers that are not zero, by their names.
    fn to_json(numbers: &[u64]) -> Map<String, Value> {
        let pairs = Self::counted(numbers);
        pairs.map(|(variant, number)| (variant.name().to_owned(), number.into())).collect()
    }
}

impl Counted for Reason {
    const ALL: &'static [Reason] = Reason::ALL;

    fn name(self) -> &'static str {
        self.as_str()
    }
}

impl Counted for Refusal {
    const ALL: &'static [Refusal] = &Refusal::ALL;

    fn name(self) -> &'static str {
        self.as_str()
    }
}

impl Counted for DropReason {
    const ALL: &'static [DropReason] = &DropReason::ALL;

    fn name(self) -> &'static str {
        self.as_str()
    }
}

/// Adds to a counter, which wraps around after 2<sup>64</sup>.
pub fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}

/// Takes one from a counter that is not zero.
pub fn decrement(counter: &AtomicU64) {
    let less_one = |now: u64| now.checked_sub(1);
    // An error says that the counter is zero.
    let _ = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less_one);
}

/// Returns the number of a counter.
pub fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Returns the numbers of counters.
pub fn get_all(counters: &[AtomicU64]) -> Vec<u64> {
    counters.iter().map(get).collect()
}

/// Sets a counter.
pub fn set(counter: &AtomicU64, number: u64) {
    counter.store(number, Ordering::Relaxed);
}

/// Sets a counter to `new` if it is `current`, and returns whether it was.
pub fn replace(counter: &AtomicU64, current: u64, new: u64) -> bool {
    counter.compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
}
