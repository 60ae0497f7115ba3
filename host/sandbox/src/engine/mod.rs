//! The engine of the process, and its pool of instances.

pub(crate) mod functions;
pub(crate) mod recording;
pub(crate) mod settings;
pub(crate) mod ticker;

use std::fs;
use std::sync::{Arc, OnceLock};

use rustix::thread::disable_transparent_huge_pages;
use socketserver::{Capacity, Needs};
use wasmtime::{
    CacheStore, Collector, Config, Enabled, InstanceAllocationStrategy, OptLevel,
    PoolingAllocationConfig,
};

use crate::engine::functions::Functions;
use crate::engine::settings::{EngineSettings, InitialData};
use crate::engine::ticker::{TICK, Ticker};
use crate::error::EngineError;
use crate::host::waits::Waits;
use crate::policy::{MAX_CORE_INSTANCES, MAX_MEMORIES, MAX_TABLE_ELEMENTS, MAX_TABLES};
use crate::sys::EpochTimer;

/// The part of a memory, in bytes, that the pool keeps and clears when an instance is
/// dropped. To give pages back to the kernel costs more than to clear them, and the more so
/// the more threads the process has.
const KEEP_RESIDENT: usize = 256 << 10;

/// The same for the memories of tasks. A request is charged for the pages that it touches first,
/// which are not those that are kept: so this is a part of what each is charged at least. There
/// may be thousands, and most small guests touch less.
const TASK_KEEP_RESIDENT: usize = 64 << 10;

/// The part of a task's stack, in bytes, that the pool keeps and clears when the task ends. What a
/// guest has used beyond that goes back to the kernel: otherwise a guest that recurses to its limit
/// in every request would leave all stacks of the pool resident.
const STACK_KEEP_RESIDENT: usize = 16 << 10;

/// The bytes of address space that a memory outside the pool reserves: all that 32 bits can
/// address, and the guards on both sides.
pub(crate) const ADDRESSES_PER_MEMORY: usize = (4 << 30) + (64 << 20);

/// An engine, which compiles and runs components. A process has one. Clones are the same
/// engine; when the last of them is dropped, its ticker stops.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    engine: wasmtime::Engine,
    settings: EngineSettings,
    /// The way in which host calls of its guests wait.
    waits: Waits,
    /// The number of memories in the pool; `None` if there is no pool.
    slots: Option<usize>,
    fallback: Option<String>,
    /// Set by the first request, so that the ticker runs in the process that serves.
    ticking: OnceLock<Ticking>,
    /// The timer that counts epochs, in place of a thread.
    timer: Option<EpochTimer>,
}

/// The limits of the pool, for all instances together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pool {
    pub memories: usize,
    pub tables: usize,
    pub core_instances: usize,
}

/// A pool for requests that run as tasks of one component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FiberPool {
    /// The way in which its memories get the data that they begin with.
    pub initial_data: InitialData,
    /// The most elements of a table. Small tables share page tables of the kernel.
    pub table_elements: usize,
}

impl Default for FiberPool {
    /// Returns a pool for every component.
    fn default() -> Self {
        FiberPool { initial_data: InitialData::Mapped, table_elements: MAX_TABLE_ELEMENTS }
    }
}

/// The source of epochs from the first request on.
enum Ticking {
    Thread { _ticker: Ticker },
    Timer,
}

impl Engine {
    /// Returns an engine whose pool has room for `slots` memories at once.
    ///
    /// The pool is reserved now. If the machine refuses to reserve that much, the engine
    /// creates memories on demand, which is slower; [`fallback`](Self::fallback) has the
    /// reason.
    ///
    /// # Errors
    ///
    /// This machine cannot run the engine at all.
    pub fn new(slots: usize, settings: &EngineSettings) -> Result<Self, EngineError> {
        Engine::with_pool(slots, settings, Waits::Block, MAX_TABLE_ELEMENTS)
    }

    /// Returns an engine as [`new`](Self::new) does, for requests that run as tasks
    /// ([`Concurrency::Fibers`](socketserver::Concurrency::Fibers)). Each has a stack of its own in
    /// the pool, which suits the component that [`Component::pool_for_fibers`] returned it for. It
    /// has as many slots as this machine can hold requests in each of `processes`, which share its
    /// memory.
    ///
    /// From now on this process and its children have no transparent huge pages. A request that
    /// touches a byte shall take a page, and not 2 MiB, and its memory is counted in pages.
    ///
    /// [`Component::pool_for_fibers`]: crate::Component::pool_for_fibers
    ///
    /// # Errors
    ///
    /// This machine cannot run the engine at all.
    pub fn for_fibers(
        processes: usize,
        settings: &EngineSettings,
        pool: FiberPool,
    ) -> Result<Self, EngineError> {
        // No kernel with huge pages refuses this.
        let _ = disable_transparent_huge_pages(true);
        let FiberPool { initial_data, table_elements } = pool;
        let settings = EngineSettings { initial_data, ..*settings };
        let mappings = Needs::FIBER.mappings + settings.mappings_per_memory();
        let needs = Needs { mappings, ..Needs::FIBER }.in_workers(processes);
        let slots = Capacity::of_this_machine(needs).requests;
        Engine::with_pool(slots, &settings, Waits::Suspend, table_elements)
    }

    fn with_pool(
        slots: usize,
        settings: &EngineSettings,
        waits: Waits,
        table_elements: usize,
    ) -> Result<Self, EngineError> {
        let pool = pool(slots, waits, settings, pagemap_scan(), table_elements);
        match new_engine(settings, pool) {
            Ok(engine) => Ok(Engine::from_parts(engine, settings, waits, Some(slots), None, None)),
            Err(EngineError::Engine(why)) => {
                let engine = new_engine(settings, InstanceAllocationStrategy::OnDemand)?;
                Ok(Engine::from_parts(engine, settings, waits, None, Some(why), None))
            }
        }
    }

    /// Returns an engine that creates memories with each instance, and gives them back to
    /// the kernel when the instance ends.
    ///
    /// It is for a process that forks for each request. A pool is made for many instances at
    /// once and one after the other; a child has one instance. A pool would also have every
    /// child open a file, and abort where that is refused. Where instances follow each other
    /// in a process, [`new`](Self::new) creates and drops one three times faster.
    ///
    /// The preflight's instance is kept for the first request. In a process that forks for
    /// each request, every child finds a copy of it that is unused, and need not create one.
    /// But where code of the component runs in instantiation, each child creates its own.
    ///
    /// The engine has no thread, before a request or after. A timer of the CPU time that the
    /// process uses counts epochs (`SIGPROF`, which belongs to the engine from then on). So
    /// the process may fork at any time, and a child that serves one request does not pay
    /// for a thread.
    ///
    /// # Errors
    ///
    /// This machine cannot run the engine at all.
    pub fn on_demand(settings: &EngineSettings) -> Result<Self, EngineError> {
        let engine = new_engine(settings, InstanceAllocationStrategy::OnDemand)?;
        let timer = EpochTimer::new(&engine, TICK).map_err(|error| timer_error(&error))?;
        Ok(Engine::from_parts(engine, settings, Waits::Block, None, None, Some(timer)))
    }

    /// Returns an engine that compiles and loads components to look at them, and creates no
    /// instance.
    ///
    /// # Errors
    ///
    /// This machine cannot run the engine at all.
    pub(crate) fn unpooled(settings: &EngineSettings) -> Result<Self, EngineError> {
        let engine = new_engine(settings, InstanceAllocationStrategy::OnDemand)?;
        Ok(Engine::from_parts(engine, settings, Waits::Block, None, None, None))
    }

    /// Returns an engine for [`compile_for_parent`](crate::compile_for_parent) and
    /// [`take_snapshot`](crate::take_snapshot) alone. It generates the code that other engines with these settings load, and
    /// reserves nothing. It takes the code of functions from `functions` if it is there. It compiles
    /// in the threads of rayon's pool that calls it, or of the global one.
    ///
    /// # Errors
    ///
    /// This machine cannot run the engine at all.
    pub fn for_compiling(
        settings: &EngineSettings,
        functions: Arc<Functions>,
    ) -> Result<Self, EngineError> {
        Engine::compiling(config(settings).parallel_compilation(true), settings, functions)
    }

    /// Returns an engine that compiles one function after the other.
    fn for_recording(
        settings: &EngineSettings,
        functions: Arc<dyn CacheStore>,
    ) -> Result<Self, EngineError> {
        Engine::compiling(&mut config(settings), settings, functions)
    }

    fn compiling(
        config: &mut Config,
        settings: &EngineSettings,
        functions: Arc<dyn CacheStore>,
    ) -> Result<Self, EngineError> {
        config
            .enable_incremental_compilation(functions)
            .and_then(|config| wasmtime::Engine::new(config))
            .map(|engine| Engine::from_parts(engine, settings, Waits::Block, None, None, None))
            .map_err(|error| EngineError::Engine(format!("{error:#}")))
    }

    fn from_parts(
        engine: wasmtime::Engine,
        settings: &EngineSettings,
        waits: Waits,
        slots: Option<usize>,
        fallback: Option<String>,
        timer: Option<EpochTimer>,
    ) -> Self {
        let (settings, ticking) = (*settings, OnceLock::new());
        Engine(Arc::new(Inner { engine, settings, waits, slots, fallback, ticking, timer }))
    }

    /// Returns how many requests this machine can hold at once if each takes one memory, as
    /// nearly all handlers do: the number of slots to ask for.
    pub fn capacity() -> Capacity {
        let mappings = Needs::THREAD.mappings + EngineSettings::default().mappings_per_memory();
        Capacity::of_this_machine(Needs { mappings, ..Needs::THREAD })
    }

    pub(crate) fn settings(&self) -> &EngineSettings {
        &self.0.settings
    }

    /// Returns the way in which host calls wait.
    pub(crate) fn waits(&self) -> Waits {
        self.0.waits
    }

    /// Returns `true` if the engine is for a process that forks for each request.
    pub(crate) fn is_for_forking(&self) -> bool {
        self.0.timer.is_some()
    }

    /// Returns the reason why there is no pool although one was asked for.
    pub fn fallback(&self) -> Option<&str> {
        self.0.fallback.as_deref()
    }

    /// Returns the limits of the pool; `None` if there is no pool.
    pub(crate) fn pool(&self) -> Option<Pool> {
        self.0.slots.map(|slots| Pool {
            memories: for_slots(slots, 1) as usize,
            tables: tables(slots) as usize,
            core_instances: for_slots(slots, MAX_CORE_INSTANCES) as usize,
        })
    }

    /// Returns the bytes that the pool may have kept resident for a task with so many memories, and
    /// tables of so many bytes: those in its stack, its memories and its tables.
    pub(crate) fn kept_for_task(memories: usize, tables: usize) -> usize {
        let kept = memories.saturating_mul(TASK_KEEP_RESIDENT);
        STACK_KEEP_RESIDENT.saturating_add(kept).saturating_add(tables)
    }

    /// Returns an engine with a pool of one instance if this engine has no pool. To load a
    /// component into it shows that a pool would take the component. Nothing else bounds
    /// what an instance has beside memories and tables, such as globals.
    ///
    /// # Errors
    ///
    /// The machine refuses to reserve as much.
    pub(crate) fn pool_of_one(&self) -> Result<Option<wasmtime::Engine>, EngineError> {
        let settings = &self.0.settings;
        // With `PAGEMAP_SCAN` forked processes would open their `/proc/self/pagemap`, and
        // abort in the jail.
        let pool = || {
            new_engine(settings, pool(1, Waits::Block, settings, Enabled::No, MAX_TABLE_ELEMENTS))
        };
        self.0.slots.is_none().then(pool).transpose()
    }

    /// Returns the largest size of a memory, in bytes.
    pub(crate) fn max_memory(&self) -> usize {
        usize::try_from(self.0.settings.max_memory()).unwrap_or(usize::MAX)
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.0.engine
    }

    /// Starts to count epochs, for as long as the engine lives. It is for requests; before
    /// them there is [`temporary_ticker`](Self::temporary_ticker).
    ///
    /// # Errors
    ///
    /// The ticker's thread or the timer cannot be started. The next call tries again.
    pub(crate) fn start_ticking(&self) -> Result<(), EngineError> {
        if self.0.ticking.get().is_none() {
            let ticking = match &self.0.timer {
                Some(timer) => {
                    timer.start().map(|()| Ticking::Timer).map_err(|error| timer_error(&error))?
                }
                None => Ticking::Thread { _ticker: self.temporary_ticker()? },
            };
            // If two requests are both the first, one drops its ticker.
            let _ = self.0.ticking.set(ticking);
        }
        Ok(())
    }

    /// Starts to count epochs until the returned ticker is dropped. After that no thread is
    /// left in a process that may yet fork.
    ///
    /// # Errors
    ///
    /// The ticker's thread cannot be started.
    pub(crate) fn temporary_ticker(&self) -> Result<Ticker, EngineError> {
        Ticker::start(self.0.engine.clone())
    }
}

fn timer_error(error: &std::io::Error) -> EngineError {
    EngineError::Engine(format!("cannot set its timer: {error}"))
}

fn new_engine(
    settings: &EngineSettings,
    strategy: InstanceAllocationStrategy,
) -> Result<wasmtime::Engine, EngineError> {
    wasmtime::Engine::new(config(settings).allocation_strategy(strategy))
        .map_err(|error| EngineError::Engine(format!("{error:#}")))
}

fn config(settings: &EngineSettings) -> Config {
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        // It would leave threads in a process that may have to fork.
        .parallel_compilation(false)
        .collector(Collector::Null)
        .gc_support(false)
        // Handlers do not need these, and cannot abuse what is off.
        .wasm_threads(false)
        .shared_memory(false)
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        .wasm_memory64(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false)
        .wasm_stack_switching(false)
        // Without it the pool never gives memory of stacks back.
        .async_stack_zeroing(true);
    settings.apply(&mut config);
    config
}

/// Returns the way in which the pool resets a memory for the next instance: with `PAGEMAP_SCAN`,
/// which reports the pages that were written, if this machine has no swap.
///
/// wasmtime 48 asks only for pages that are present. A page that was swapped out would keep the
/// data of one request for the next. Without the scan the pool resets all pages.
fn pagemap_scan() -> Enabled {
    let swaps = fs::read_to_string("/proc/swaps");
    // The first line is a heading.
    if swaps.is_ok_and(|swaps| swaps.lines().count() <= 1) { Enabled::Auto } else { Enabled::No }
}

fn pool(
    slots: usize,
    waits: Waits,
    settings: &EngineSettings,
    pagemap_scan: Enabled,
    table_elements: usize,
) -> InstanceAllocationStrategy {
    let (stacks, keep_resident) = match waits {
        Waits::Suspend => (slots, TASK_KEEP_RESIDENT),
        Waits::Block => (0, KEEP_RESIDENT),
    };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(for_slots(slots, 1))
        // This only sets a counter: core instances take no memory before they exist.
        .total_core_instances(for_slots(slots, MAX_CORE_INSTANCES))
        .max_core_instances_per_component(MAX_CORE_INSTANCES)
        .max_memories_per_component(MAX_MEMORIES)
        .max_tables_per_component(MAX_TABLES)
        .max_tables_per_module(MAX_TABLES)
        .total_memories(for_slots(slots, 1))
        .total_tables(tables(slots))
        .table_elements(table_elements.max(1))
        // Each slot reserves that much in any case. The limiter holds a guest to its
        // policy.
        .max_memory_size(usize::try_from(settings.max_memory()).unwrap_or(usize::MAX))
        .total_gc_heaps(0)
        // Each stack takes two mappings, used or not. Requests in threads need none.
        .total_stacks(for_slots(stacks, 1))
        .async_stack_keep_resident(STACK_KEEP_RESIDENT)
        .linear_memory_keep_resident(keep_resident)
        .table_keep_resident(keep_resident)
        .pagemap_scan(pagemap_scan)
        // Otherwise the pool would take cold slots while warm ones are unused, and keep both.
        .max_unused_warm_slots(0)
        .decommit_batch_size(1);
    InstanceAllocationStrategy::Pooling(pool)
}

/// The tables of the pool for each memory. Toolchains generate one or two.
const TABLES_PER_SLOT: u32 = 4;

/// Returns the tables of the pool: at least as many as one component may have.
fn tables(slots: usize) -> u32 {
    for_slots(slots, TABLES_PER_SLOT).max(MAX_TABLES)
}

/// Returns the number of things in the pool if there are `each` for a slot.
fn for_slots(slots: usize, each: u32) -> u32 {
    u32::try_from(slots).unwrap_or(u32::MAX).saturating_mul(each)
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash, Hasher};

    use super::*;

    fn hash(engine: &Engine) -> u64 {
        let mut hasher = DefaultHasher::new();
        engine.wasmtime().precompile_compatibility_hash().hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn engines_run_the_same_code_if_their_settings_are_the_same() {
        let guarded = EngineSettings::default();
        let explicit = EngineSettings::hostile();
        let copied = EngineSettings { initial_data: InitialData::Copied, ..guarded };
        let mut codes = Vec::new();
        for settings in [guarded, explicit, copied] {
            let pooled = Engine::new(1, &settings).unwrap();
            assert_eq!(pooled.fallback(), None);
            let code = hash(&pooled);
            assert_eq!(hash(&Engine::on_demand(&settings).unwrap()), code);
            assert_eq!(hash(&Engine::for_compiling(&settings, Arc::default()).unwrap()), code);
            codes.push(code);
        }
        assert_ne!(codes[0], codes[1]);
        assert_ne!(codes[0], codes[2]);
    }
}
