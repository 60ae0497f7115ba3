//! The memory that an instance may have.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use crate::limits::kill::Kill;
use crate::limits::time_slice::TimeSlice;
use crate::limits::total_memory::TotalMemory;
use crate::limits::touched::TouchedMemory;
use crate::policy::{MAX_CORE_INSTANCES, MAX_MEMORIES, MAX_TABLE_ELEMENTS, MAX_TABLES};

/// The size of a table's entry on the host, in bytes.
pub(crate) const TABLE_ELEMENT: usize = size_of::<usize>();

/// A size that takes a guest milliseconds to fill, in bytes. A guest may fill it in one
/// instruction, which does not check for the end of an epoch.
const LARGE: usize = 8 << 20;

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
    /// The account of a request that runs as a task: the total counts what it has touched, and
    /// else what the Store has.
    touched: Option<Arc<TouchedMemory>>,
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
            touched: None,
            refusal: None,
            time_slice: TimeSlice::default(),
        }
    }

    /// Has the total count what a new request touches.
    pub(crate) fn charge_to(&mut self, touched: &Arc<TouchedMemory>) {
        self.touched = Some(Arc::clone(touched));
    }

    /// Charges the request, which runs in this thread, for what it has touched, if the total
    /// counts that.
    ///
    /// # Errors
    ///
    /// That is not left of the total.
    pub(crate) fn charge(&self) -> Result<(), Kill> {
        self.touched.as_ref().map_or(Ok(()), |touched| touched.charge())
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
        self.grow(bytes, Size::First)
    }

    fn grow(&mut self, by: usize, size: Size) -> bool {
        let wanted = self.used.saturating_add(by);
        if wanted > self.limit {
            self.refusal = Some(MemoryRefusal::Own { wanted, limit: self.limit });
            return false;
        }
        if !self.take(by, wanted, size) {
            self.refusal = Some(MemoryRefusal::Total { limit: self.total.limit() });
            return false;
        }
        self.used = wanted;
        if wanted > LARGE {
            self.shorten_time_slice();
        }
        true
    }

    /// Takes memory from the total, which then has `wanted` bytes for the Store.
    ///
    /// A request that is charged for what it touches takes nothing yet. But memory that is not
    /// there is refused while the guest can still do without: it would be ended when it touches
    /// that.
    fn take(&self, by: usize, wanted: usize, size: Size) -> bool {
        let Some(touched) = &self.touched else { return self.total.take(by) };
        let is_there = match size {
            Size::First => wanted <= self.total.limit(),
            Size::Grown => self.total.has_left(by),
        };
        if is_there {
            touched.set_declared(wanted);
        }
        is_there
    }
}

impl Drop for InstanceMemory {
    fn drop(&mut self) {
        if self.touched.is_none() {
            self.total.give_back(self.used);
        }
    }
}

/// A size that a memory or a table shall have.
#[derive(Debug, Clone, Copy)]
enum Size {
    /// The size that it begins with, of which a guest may touch little.
    First,
    /// A size that the guest asks for, to touch it.
    Grown,
}

impl Size {
    fn after(current: usize) -> Self {
        if current == 0 { Size::First } else { Size::Grown }
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
    ) -> wasmtime::Result<bool> {
        let (by, size) = (desired.saturating_sub(current), Size::after(current));
        Ok(is_within_maximum(desired, maximum) && self.grow(by, size))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > MAX_TABLE_ELEMENTS {
            let wanted = desired.saturating_mul(TABLE_ELEMENT);
            let limit = MAX_TABLE_ELEMENTS * TABLE_ELEMENT;
            self.refusal = Some(MemoryRefusal::Own { wanted, limit });
            return Ok(false);
        }
        let by = desired.saturating_sub(current).saturating_mul(TABLE_ELEMENT);
        Ok(is_within_maximum(desired, maximum) && self.grow(by, Size::after(current)))
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
        assert!(total.take(1000));
    }

    #[test]
    fn what_a_request_declares_is_not_taken_if_it_is_charged_for_what_it_touches() {
        let total = TotalMemory::new(1000);
        assert!(total.take(300));
        let account = TouchedMemory::with_floor(&total, 100);
        let mut memory = InstanceMemory::new(2000, &total);
        memory.charge_to(&account);
        drop(account);
        // The first sizes need only be possible.
        assert!(memory.keep(100));
        assert!(memory.memory_growing(0, 800, None).unwrap());
        assert!(!memory.memory_growing(0, 101, None).unwrap());
        assert_eq!(memory.refusal(), Some(MemoryRefusal::Total { limit: 1000 }));
        assert!(memory.memory_growing(0, 100, None).unwrap());
        // What the guest asks for must be there.
        assert!(memory.memory_growing(800, 1500, None).unwrap());
        assert!(!memory.memory_growing(1500, 2201, None).unwrap());
        assert!(!memory.table_growing(1, 100, None).unwrap());
        assert_eq!(memory.used(), 1700);
        drop(memory);
        assert!(total.take(800) && !total.take(1));
    }
}
