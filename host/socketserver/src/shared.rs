//! Numbers that several processes see.

use std::io;
use std::sync::atomic::Ordering;

use crate::sys::SharedMemory;

/// A row of counters, all zero at first, which a process shares with those that
/// it forks afterwards: what one adds, all of them see.
///
/// They cannot do more to each other than that: whoever breaks out of a sandbox
/// in one of the processes can make the numbers wrong, and nothing else.
#[derive(Debug)]
pub struct SharedCounters(SharedMemory);

impl SharedCounters {
    /// That many counters.
    ///
    /// Errors: the machine has no memory for them.
    pub fn new(count: usize) -> io::Result<Self> {
        SharedMemory::new(count).map(SharedCounters)
    }

    /// Adds `number` to the counter at `index`, and wraps around after
    /// 2<sup>64</sup>. There is nothing to add to beyond the last one.
    pub fn add(&self, index: usize, number: u64) {
        if let Some(counter) = self.0.numbers().get(index) {
            counter.fetch_add(number, Ordering::Relaxed);
        }
    }

    /// Takes one from the counter at `index`, if it is not zero.
    pub fn decrement(&self, index: usize) {
        if let Some(counter) = self.0.numbers().get(index) {
            // An error tells that it was zero.
            let _ = counter
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| now.checked_sub(1));
        }
    }

    /// What the counter at `index` says; zero beyond the last one.
    pub fn get(&self, index: usize) -> u64 {
        self.0.numbers().get(index).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// Sets the counter at `index` to `new` if it is `current`. Whether it was.
    pub fn replace(&self, index: usize, current: u64, new: u64) -> bool {
        self.0.numbers().get(index).is_some_and(|counter| {
            counter.compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counts_for_itself_and_there_is_nothing_beyond_the_last() {
        let counters = SharedCounters::new(1000).unwrap();
        counters.add(0, 2);
        counters.add(999, 3);
        counters.add(1000, 4);
        counters.decrement(999);
        counters.decrement(1);
        counters.decrement(1000);
        assert_eq!([0, 1, 998, 999, 1000].map(|index| counters.get(index)), [2, 0, 0, 2, 0]);
        assert!(counters.replace(0, 2, 7) && !counters.replace(0, 2, 8));
        assert!(!counters.replace(1000, 0, 1));
        assert_eq!(counters.get(0), 7);
        assert_eq!(SharedCounters::new(0).unwrap().get(0), 0);
    }
}
