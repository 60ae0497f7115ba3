//! The memory of instances: what each may have, and all together.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use wasmtime::{ResourceLimiter, Result};

use crate::limits::time_slice::TimeSlice;
use crate::policy::{MAX_CORE_INSTANCES, MAX_MEMORIES, MAX_TABLE_ELEMENTS, MAX_TABLES};

/// The size of a table's entry on the host, in bytes.
pub(crate) const TABLE_ELEMENT: usize = size_of::<usize>();

/// A size that takes a guest milliseconds to fill, in bytes. A guest may fill it in one
/// instruction, which does not check for the end of an epoch.
const LARGE: usize = 8 << 20;

/// The memory that all instances of a handler may have together.
///
/// Each instance has a limit of its own, but the machine does not have that much for as many
/// instances as it can hold. A new instance waits for the memory that it begins with. An
/// instance that runs is refused memory that is not left.
#[derive(Debug)]
pub(crate) struct TotalMemory {
    limit: usize,
    used: AtomicUsize,
    /// The number of threads that wait to create an instance. It is read without the lock,
    /// because it is mostly zero.
    waiting: AtomicUsize,
    lock: Mutex<()>,
    given_back: Condvar,
}

impl TotalMemory {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(TotalMemory {
            limit,
            used: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            lock: Mutex::new(()),
            given_back: Condvar::new(),
        })
    }

    /// Returns the share of `limit` that new instances may fill. The rest is for instances
    /// that grow.
    pub(crate) fn for_new_instances(limit: usize) -> usize {
        limit - limit / 4
    }

    /// Waits, at most for `timeout`, until a new instance can have `bytes`. This reserves
    /// nothing: the instance takes the bytes when it is created.
    pub(crate) fn wait_for(&self, bytes: usize, timeout: Duration) {
        let full = || !self.has_room(bytes);
        if !full() {
            return;
        }
        self.waiting.fetch_add(1, SeqCst);
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.given_back.wait_timeout_while(lock, timeout, |()| full());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        self.waiting.fetch_sub(1, SeqCst);
    }

    /// Returns true if a new instance can have `bytes`, or never could: it is refused when it is
    /// created.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        let room = Self::for_new_instances(self.limit);
        bytes > room || self.used.load(SeqCst).saturating_add(bytes) <= room
    }

    fn take(&self, bytes: usize) -> bool {
        let within = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.limit);
        self.used.fetch_update(SeqCst, SeqCst, within).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, SeqCst);
        if self.waiting.load(SeqCst) > 0 {
            // A thread that waits holds the lock between its look at `used` and its wait for
            // the notification: so it misses neither.
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.given_back.notify_all();
        }
    }
}

/// The limit for which an instance was last refused memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemoryRefusal {
    /// The limit of the instance.
    Own { wanted: usize, limit: usize },
    /// The limit of all instances together.
    Total { limit: usize },
}

/// The memories and tables of one Store, and what the engine keeps for it, counted
/// together.
#[derive(Debug)]
pub(crate) struct InstanceMemory {
    limit: usize,
    total: Arc<TotalMemory>,
    used: usize,
    refusal: Option<MemoryRefusal>,
    /// The time slice of the thread that runs the guest: a guest that fills much memory
    /// computes for long.
    time_slice: TimeSlice,
}

impl InstanceMemory {
    /// Returns the memory of a new Store: at most `limit` bytes, and at most the rest of
    /// `total`.
    pub(crate) fn new(limit: usize, total: &Arc<TotalMemory>) -> Self {
        InstanceMemory {
            limit,
            total: Arc::clone(total),
            used: 0,
            refusal: None,
            time_slice: TimeSlice::default(),
        }
    }

    /// Returns the bytes that the Store has. Memories and tables do not shrink, so it never had
    /// more.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Returns the limit for which the guest was last refused memory.
    pub(crate) fn refusal(&self) -> Option<MemoryRefusal> {
        self.refusal
    }

    /// Shortens the time slice of the thread that runs the guest, because the guest computes
    /// for long, and other requests shall not wait for it.
    pub(crate) fn shorten_time_slice(&mut self) {
        self.time_slice.shorten();
    }

    /// Counts `bytes` that the engine keeps for the Store until the Store is dropped.
    /// Returns `false` if a limit refuses them.
    #[must_use]
    pub(crate) fn keep(&mut self, bytes: usize) -> bool {
        self.grow(bytes)
    }

    fn grow(&mut self, by: usize) -> bool {
        let wanted = self.used.saturating_add(by);
        if wanted > self.limit {
            self.refusal = Some(MemoryRefusal::Own { wanted, limit: self.limit });
            return false;
        }
        if !self.total.take(by) {
            self.refusal = Some(MemoryRefusal::Total { limit: self.total.limit });
            return false;
        }
        self.used = wanted;
        if wanted > LARGE {
            self.shorten_time_slice();
        }
        true
    }
}

impl Drop for InstanceMemory {
    fn drop(&mut self) {
        self.total.give_back(self.used);
    }
}

/// Returns `true` if a memory or a table may have that size by its own maximum. The engine
/// asks the limiter before it looks at that maximum: what it refuses later must not be
/// counted.
fn is_within_maximum(desired: usize, maximum: Option<usize>) -> bool {
    maximum.is_none_or(|maximum| desired <= maximum)
}

impl ResourceLimiter for InstanceMemory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        Ok(is_within_maximum(desired, maximum) && self.grow(desired.saturating_sub(current)))
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
            self.refusal = Some(MemoryRefusal::Own { wanted, limit });
            return Ok(false);
        }
        let by = desired.saturating_sub(current).saturating_mul(TABLE_ELEMENT);
        Ok(is_within_maximum(desired, maximum) && self.grow(by))
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

    fn memory(limit: usize) -> InstanceMemory {
        InstanceMemory::new(limit, &TotalMemory::new(usize::MAX))
    }

    #[test]
    fn memories_and_tables_share_one_limit() {
        let mut memory = memory(1000);
        assert!(memory.memory_growing(0, 600, None).unwrap());
        assert!(memory.table_growing(0, 50, None).unwrap());
        assert!(!memory.memory_growing(600, 601, None).unwrap());
        assert_eq!(memory.refusal(), Some(MemoryRefusal::Own { wanted: 1001, limit: 1000 }));
        assert!(!memory.memory_growing(0, usize::MAX, None).unwrap());
    }

    #[test]
    fn growth_beyond_the_own_maximum_takes_nothing() {
        let mut memory = memory(1000);
        assert!(!memory.memory_growing(0, 600, Some(599)).unwrap());
        assert!(!memory.table_growing(0, 60, Some(59)).unwrap());
        assert_eq!(memory.refusal(), None);
        assert!(memory.memory_growing(0, 1000, Some(1000)).unwrap());
    }

    #[test]
    fn no_table_grows_beyond_the_room_of_the_pool() {
        let mut memory = memory(usize::MAX);
        assert!(memory.table_growing(0, MAX_TABLE_ELEMENTS, None).unwrap());
        assert!(!memory.table_growing(0, MAX_TABLE_ELEMENTS + 1, None).unwrap());
    }

    #[test]
    fn instances_share_the_total_memory_and_give_it_back() {
        let total = TotalMemory::new(1000);
        let mut first = InstanceMemory::new(800, &total);
        assert!(first.memory_growing(0, 800, None).unwrap());
        let mut second = InstanceMemory::new(800, &total);
        assert!(!second.memory_growing(0, 201, None).unwrap());
        assert_eq!(second.refusal(), Some(MemoryRefusal::Total { limit: 1000 }));
        assert!(second.memory_growing(0, 200, None).unwrap());
        drop(first);
        assert!(second.memory_growing(200, 800, None).unwrap());
        drop(second);
        assert_eq!(total.used.load(SeqCst), 0);
    }

    #[test]
    fn a_new_instance_waits_for_room_and_no_longer_than_the_timeout() {
        let total = TotalMemory::new(1000);
        let mut first = InstanceMemory::new(1000, &total);
        assert!(first.memory_growing(0, 700, None).unwrap());
        // Neither waits: there is room, or there never will be.
        total.wait_for(50, Duration::MAX);
        total.wait_for(751, Duration::MAX);
        // The timeout ends it.
        total.wait_for(51, Duration::from_millis(1));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| total.wait_for(51, Duration::MAX));
            while total.waiting.load(SeqCst) == 0 {
                std::thread::yield_now();
            }
            drop(first);
            waits.join().unwrap();
        });
    }
}
