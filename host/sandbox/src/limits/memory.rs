//! Holding an instance to its memory.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use wasmtime::{ResourceLimiter, Result};

use crate::limits::time_slice::Turns;
use crate::policy::{MAX_CORE_INSTANCES, MAX_MEMORIES, MAX_TABLE_ELEMENTS, MAX_TABLES};

/// What an entry of a table takes on the host.
pub(crate) const TABLE_ELEMENT: usize = size_of::<usize>();

/// Bytes of memory which to fill takes a guest milliseconds. It may do so in one
/// instruction, which looks at no epoch.
const LARGE: usize = 8 << 20;

/// The memory that all instances of a handler may have together.
///
/// Each has its own limit, but the machine does not have that much for as many
/// instances as it can hold. A new instance waits for the memory that it begins
/// with; one that runs is refused what is not there.
#[derive(Debug)]
pub(crate) struct SharedMemory {
    limit: usize,
    used: AtomicUsize,
    /// How many wait to begin. Looked at before the lock is taken, because
    /// there is mostly nobody.
    waiting: AtomicUsize,
    lock: Mutex<()>,
    given_back: Condvar,
}

impl SharedMemory {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(SharedMemory {
            limit,
            used: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            lock: Mutex::new(()),
            given_back: Condvar::new(),
        })
    }

    /// What new instances leave free, so that those that run can grow.
    pub(crate) fn for_new_instances(limit: usize) -> usize {
        limit - limit / 4
    }

    /// Waits, for `patience` at most, until a new instance can have `bytes`.
    /// They are not set aside: the instance takes them as it is made.
    pub(crate) fn wait_for(&self, bytes: usize, patience: Duration) {
        let room = Self::for_new_instances(self.limit);
        let full = || self.used.load(SeqCst).saturating_add(bytes) > room;
        // One that is larger than all there is finds out when it is made.
        if bytes > room || !full() {
            return;
        }
        self.waiting.fetch_add(1, SeqCst);
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.given_back.wait_timeout_while(lock, patience, |()| full());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        self.waiting.fetch_sub(1, SeqCst);
    }

    fn take(&self, bytes: usize) -> bool {
        let within = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.limit);
        self.used.fetch_update(SeqCst, SeqCst, within).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, SeqCst);
        if self.waiting.load(SeqCst) > 0 {
            // Whoever waits either sees what was given back, or is notified:
            // between the two it holds the lock.
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.given_back.notify_all();
        }
    }
}

/// Why an instance did not get the memory that it asked for last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It would have had more than its limit.
    Own { wanted: usize, limit: usize },
    /// All instances together would have had more than theirs.
    Shared { limit: usize },
}

/// The memories and tables of one Store, and what the engine keeps for it, counted
/// together.
#[derive(Debug)]
pub(crate) struct Limits {
    memory: usize,
    shared: Arc<SharedMemory>,
    used: usize,
    refused: Option<Refused>,
    /// The turns of the thread that runs the guest.
    turns: Turns,
}

impl Limits {
    /// At most `memory` bytes, and no more than is left of `shared`.
    pub(crate) fn new(memory: usize, shared: &Arc<SharedMemory>) -> Self {
        Limits {
            memory,
            shared: Arc::clone(shared),
            used: 0,
            refused: None,
            turns: Turns::default(),
        }
    }

    /// What the guest was last refused.
    pub(crate) fn refused(&self) -> Option<Refused> {
        self.refused
    }

    /// The guest computes for long: others shall not wait for it.
    pub(crate) fn computes_for_long(&mut self) {
        self.turns.shorten();
    }

    /// Counts `bytes` that the engine keeps for the Store until it is dropped. `false`
    /// if they may not be had.
    #[must_use]
    pub(crate) fn keep(&mut self, bytes: usize) -> bool {
        self.grow(bytes)
    }

    fn grow(&mut self, by: usize) -> bool {
        let wanted = self.used.saturating_add(by);
        if wanted > self.memory {
            self.refused = Some(Refused::Own { wanted, limit: self.memory });
            return false;
        }
        if !self.shared.take(by) {
            self.refused = Some(Refused::Shared { limit: self.shared.limit });
            return false;
        }
        self.used = wanted;
        if wanted > LARGE {
            self.computes_for_long();
        }
        true
    }
}

impl Drop for Limits {
    fn drop(&mut self) {
        self.shared.give_back(self.used);
    }
}

/// Whether its own maximum lets a memory or a table have that size. The limiter is
/// asked first: what is refused anyway must not be counted.
fn may_be(desired: usize, maximum: Option<usize>) -> bool {
    maximum.is_none_or(|maximum| desired <= maximum)
}

impl ResourceLimiter for Limits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        Ok(may_be(desired, maximum) && self.grow(desired.saturating_sub(current)))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        if desired > MAX_TABLE_ELEMENTS {
            let wanted = desired.saturating_mul(TABLE_ELEMENT);
            let limit = MAX_TABLE_ELEMENTS * TABLE_ELEMENT;
            self.refused = Some(Refused::Own { wanted, limit });
            return Ok(false);
        }
        let by = desired.saturating_sub(current).saturating_mul(TABLE_ELEMENT);
        Ok(may_be(desired, maximum) && self.grow(by))
    }

    fn instances(&self) -> usize {
        MAX_CORE_INSTANCES as usize
    }

    fn tables(&self) -> usize {
        MAX_TABLES as usize
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(memory: usize) -> Limits {
        Limits::new(memory, &SharedMemory::new(usize::MAX))
    }

    #[test]
    fn memories_and_tables_share_one_limit() {
        let mut limits = limits(1000);
        assert!(limits.memory_growing(0, 600, None).unwrap());
        assert!(limits.table_growing(0, 50, None).unwrap());
        assert!(!limits.memory_growing(600, 601, None).unwrap());
        assert_eq!(limits.refused(), Some(Refused::Own { wanted: 1001, limit: 1000 }));
        assert!(!limits.memory_growing(0, usize::MAX, None).unwrap());
    }

    #[test]
    fn what_does_not_grow_takes_nothing() {
        let mut limits = limits(1000);
        assert!(!limits.memory_growing(0, 600, Some(599)).unwrap());
        assert!(!limits.table_growing(0, 60, Some(59)).unwrap());
        assert_eq!(limits.refused(), None);
        assert!(limits.memory_growing(0, 1000, Some(1000)).unwrap());
    }

    #[test]
    fn no_table_is_larger_than_the_pool_has_room_for() {
        let mut limits = limits(usize::MAX);
        assert!(limits.table_growing(0, MAX_TABLE_ELEMENTS, None).unwrap());
        assert!(!limits.table_growing(0, MAX_TABLE_ELEMENTS + 1, None).unwrap());
    }

    #[test]
    fn instances_share_what_the_machine_has_and_give_it_back() {
        let shared = SharedMemory::new(1000);
        let mut first = Limits::new(800, &shared);
        assert!(first.memory_growing(0, 800, None).unwrap());
        let mut second = Limits::new(800, &shared);
        assert!(!second.memory_growing(0, 201, None).unwrap());
        assert_eq!(second.refused(), Some(Refused::Shared { limit: 1000 }));
        assert!(second.memory_growing(0, 200, None).unwrap());
        drop(first);
        assert!(second.memory_growing(200, 800, None).unwrap());
        drop(second);
        assert_eq!(shared.used.load(SeqCst), 0);
    }

    #[test]
    fn a_new_instance_waits_for_room_and_no_longer_than_it_must() {
        let shared = SharedMemory::new(1000);
        let mut first = Limits::new(1000, &shared);
        assert!(first.memory_growing(0, 700, None).unwrap());
        // There is room, or there never will be: neither waits.
        shared.wait_for(50, Duration::MAX);
        shared.wait_for(751, Duration::MAX);
        // It gives up.
        shared.wait_for(51, Duration::from_millis(1));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| shared.wait_for(51, Duration::MAX));
            while shared.waiting.load(SeqCst) == 0 {
                std::thread::yield_now();
            }
            drop(first);
            waits.join().unwrap();
        });
    }
}
