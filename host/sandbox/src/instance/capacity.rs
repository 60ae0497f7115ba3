//! The number of requests that a handler can serve at once.

use socketserver::{Capacity, DeferAccept, Needs};

use crate::engine::{ADDRESSES_PER_MEMORY, Engine, Pool};
use crate::host::open_files::DESCRIPTORS;
use crate::host::waits::Waits;
use crate::instance::handler::ComponentHandler;
use crate::limits::total_memory::TotalMemory;
use crate::load::footprint::Footprint;

impl ComponentHandler {
    /// Returns the number of requests that this machine, and the engine's pool, can hold at once if
    /// each takes `base` and the needs of this handler. Pass [`Needs::THREAD`] for threads,
    /// [`Needs::PROCESS`] for forked processes.
    ///
    /// A process has the mappings of its instance, and a pool, to itself. So neither counts
    /// for a base without mappings.
    pub fn capacity(&self, base: Needs) -> Capacity {
        let is_process = base.mappings == 0;
        let memories = self.footprint.memories;
        let per_memory = self.engine.settings().mappings_per_memory();
        let own_mappings = if is_process { 0 } else { memories * per_memory };
        // The stacks of fibers are mapped with the pool.
        let has_stack = self.engine.pool().is_some() && self.engine.waits() == Waits::Suspend;
        let mapped = if has_stack { Needs::FIBER.mappings } else { 0 };
        let unpooled = if is_process || self.engine.pool().is_some() { 0 } else { memories };
        let addresses = unpooled.saturating_mul(ADDRESSES_PER_MEMORY);
        let opens_files = !is_process && self.opens_files();
        let needs = Needs {
            descriptors: if opens_files { DESCRIPTORS } else { base.descriptors },
            mappings: base.mappings.saturating_sub(mapped).saturating_add(own_mappings),
            address_space: base.address_space.saturating_add(addresses),
            ..base
        };
        let mut capacity = Capacity::of_this_machine(needs);
        if is_process {
            return capacity;
        }
        let (total, each) = (self.policy.memory_total, self.first_charge());
        capacity.cap(TotalMemory::for_new_instances(total) / each.max(1), &|| {
            format!("all instances together may have {total} bytes, and each begins with {each}")
        });
        if let Some(pool) = self.engine.pool() {
            cap_by_pool(&mut capacity, pool, &self.footprint);
        }
        capacity
    }

    /// Returns the bytes of the total that a request begins with, and has to its end. A request in
    /// a thread takes what its instance declares. A task is charged for what it touches, and at
    /// least for what may be resident in its place in the pool from an earlier request.
    pub(super) fn first_charge(&self) -> usize {
        let declared = self.initial_memory.total;
        if self.engine.waits() == Waits::Block {
            return declared;
        }
        let tables = usize::try_from(self.footprint.table_memory()).unwrap_or(usize::MAX);
        Engine::kept_for_task(self.footprint.memories, tables).min(declared)
    }

    /// Returns the number of connections that the limit of descriptors allows in a process,
    /// with a request or without.
    pub fn connection_capacity(&self) -> usize {
        DeferAccept::capacity(if self.opens_files() { DESCRIPTORS } else { 1 })
    }

    /// Returns true if guests may open files and sockets, which take descriptors too.
    fn opens_files(&self) -> bool {
        !(self.grants.directories.is_empty() && self.grants.network.is_empty())
    }
}

fn cap_by_pool(capacity: &mut Capacity, pool: Pool, footprint: &Footprint) {
    let Footprint { memories, tables, core_instances, .. } = *footprint;
    for (what, all, each) in [
        ("memories", pool.memories, memories),
        ("tables", pool.tables, tables),
        ("core instances", pool.core_instances, core_instances),
    ] {
        capacity.cap(all / each.max(1), &|| {
            format!("the pool has {all} {what}, and an instance takes {each}")
        });
    }
}
