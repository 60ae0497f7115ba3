//! The engine of the process, and its pool of instances.

pub(crate) mod settings;
pub(crate) mod ticker;

use std::sync::{Arc, OnceLock};

use socketserver::{Capacity, Needs};
use wasmtime::{
    Collector, Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
};

use crate::engine::settings::EngineSettings;
use crate::engine::ticker::{TICK, Ticker};
use crate::error::EngineError;
use crate::policy::{MAX_CORE_INSTANCES, MAX_MEMORIES, MAX_TABLE_ELEMENTS, MAX_TABLES};
use crate::sys::EpochsByTimer;

/// How much of a memory is kept, and cleaned by hand, when an instance is
/// dropped. Giving pages back to the kernel costs more than cleaning them, the
/// more so the more threads the process has.
const KEEP_RESIDENT: usize = 256 << 10;

/// Memory mappings that a linear memory in use takes: its image, what is before
/// and after it, and the rest of its slot. Counted in `/proc/PID/maps`.
pub(crate) const MAPPINGS_PER_MEMORY: usize = 5;

/// Bytes of addresses that a memory reserves that is not from the pool: all that
/// 32 bits can address, and what guards it on both sides.
pub(crate) const ADDRESSES_PER_MEMORY: usize = (4 << 30) + (64 << 20);

/// Compiles and runs components. There is one in a process; clones are the
/// same engine, and dropping the last of them stops its ticker.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    engine: wasmtime::Engine,
    settings: EngineSettings,
    slots: Option<usize>,
    fallback: Option<String>,
    /// Begun by the first request, so that it runs in the process that serves.
    ticking: OnceLock<Ticking>,
    /// What counts epochs by a timer, if not by a thread.
    by_timer: Option<EpochsByTimer>,
}

/// How much of each there can be at once, over all instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pool {
    pub memories: usize,
    pub tables: usize,
    pub core_instances: usize,
}

/// How epochs pass from the first request on.
enum Ticking {
    /// A thread counts them.
    Thread { _ticker: Ticker },
    /// A timer does.
    Timer,
}

impl Engine {
    /// An engine with room for `slots` memories at once.
    ///
    /// Memories come from a pool that is reserved now. If the machine refuses
    /// to reserve that much, they are made on demand, which is slower;
    /// [`fallback`](Self::fallback) tells why.
    ///
    /// Errors: this machine cannot run the engine at all.
    pub fn new(slots: usize, settings: &EngineSettings) -> Result<Self, EngineError> {
        let pooled = with(settings, pool(slots, settings, Enabled::Auto));
        pooled.map(|engine| Engine::of(engine, settings, Some(slots), None, None)).or_else(
            |EngineError::Engine(why)| {
                let engine = with(settings, InstanceAllocationStrategy::OnDemand)?;
                Ok(Engine::of(engine, settings, None, Some(why), None))
            },
        )
    }

    /// An engine whose memories are made when an instance is, and given back to
    /// the kernel when it ends.
    ///
    /// For a process that forks one for each request: a pool is made for many
    /// instances after and beside each other, and there it would have one. It
    /// would also have every child open a file, and abort where none can be
    /// opened. Where instances follow each other, [`new`](Self::new) is three
    /// times faster at making and dropping one.
    ///
    /// The instance that shows at load that a component can be served is kept for
    /// the first request. In a process that forks for each request, every child
    /// finds it unused, as a copy of its own, and need not make one; but where code
    /// of the component runs as soon as an instance is made, each child makes its own.
    ///
    /// It has no thread, before a request or after: epochs are counted by a timer
    /// of the CPU time that the process uses (`SIGPROF`, which belongs to the
    /// engine from then on). So the process may fork at any time, and a child
    /// that serves one request does not pay for a thread.
    ///
    /// Errors: this machine cannot run the engine at all.
    pub fn on_demand(settings: &EngineSettings) -> Result<Self, EngineError> {
        let engine = with(settings, InstanceAllocationStrategy::OnDemand)?;
        let by_timer = EpochsByTimer::new(&engine, TICK).map_err(|error| no_timer(&error))?;
        Ok(Engine::of(engine, settings, None, None, Some(by_timer)))
    }

    /// An engine whose only use is [`compile_for_parent`](crate::compile_for_parent).
    /// It makes the code that others with these settings load, and reserves
    /// nothing.
    ///
    /// Errors: this machine cannot run the engine at all.
    pub fn for_compiling(settings: &EngineSettings) -> Result<Self, EngineError> {
        let engine = with(settings, InstanceAllocationStrategy::OnDemand)?;
        Ok(Engine::of(engine, settings, None, None, None))
    }

    fn of(
        engine: wasmtime::Engine,
        settings: &EngineSettings,
        slots: Option<usize>,
        fallback: Option<String>,
        by_timer: Option<EpochsByTimer>,
    ) -> Self {
        let (settings, ticking) = (*settings, OnceLock::new());
        Engine(Arc::new(Inner { engine, settings, slots, fallback, ticking, by_timer }))
    }

    /// How many requests this machine can hold at once if each takes one
    /// memory, as nearly all handlers do: the number of `slots` to ask for.
    pub fn capacity() -> Capacity {
        let mappings = Needs::THREAD.mappings + MAPPINGS_PER_MEMORY;
        Capacity::of_this_machine(Needs { mappings, ..Needs::THREAD })
    }

    /// Whether it was made for a process that forks one for each request.
    pub(crate) fn is_for_forking(&self) -> bool {
        self.0.by_timer.is_some()
    }

    /// Why there is no pool although one was asked for.
    pub fn fallback(&self) -> Option<&str> {
        self.0.fallback.as_deref()
    }

    /// What the pool has room for; `None` if there is no pool.
    pub(crate) fn pool(&self) -> Option<Pool> {
        self.0.slots.map(|slots| Pool {
            memories: count(slots, 1) as usize,
            tables: tables(slots) as usize,
            core_instances: count(slots, MAX_CORE_INSTANCES) as usize,
        })
    }

    /// An engine with a pool of one, where this one has none: to load a component
    /// there shows that a pool would take it. What an instance has beside its memories
    /// and tables, such as its globals, nothing else bounds.
    ///
    /// Errors: the machine refuses to reserve as much.
    pub(crate) fn for_checking(&self) -> Result<Option<wasmtime::Engine>, EngineError> {
        let settings = &self.0.settings;
        // Forked processes would open the map of their pages, and abort in the jail.
        let pool = || with(settings, pool(1, settings, Enabled::No));
        self.0.slots.is_none().then(pool).transpose()
    }

    /// How large a memory can become, in bytes.
    pub(crate) fn max_memory(&self) -> usize {
        usize::try_from(self.0.settings.max_memory()).unwrap_or(usize::MAX)
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.0.engine
    }

    /// Sees to it that epochs pass from now on. It is for requests: see
    /// [`tick_for_now`](Self::tick_for_now).
    ///
    /// Errors: there is no thread for the ticker, or no timer; the next call tries
    /// again.
    pub(crate) fn tick(&self) -> Result<(), EngineError> {
        if self.0.ticking.get().is_none() {
            let ticking = match &self.0.by_timer {
                Some(timer) => {
                    timer.start().map(|()| Ticking::Timer).map_err(|error| no_timer(&error))?
                }
                None => Ticking::Thread { _ticker: self.tick_for_now()? },
            };
            // Of two requests that are both the first, one drops its ticker.
            let _ = self.0.ticking.set(ticking);
        }
        Ok(())
    }

    /// Sees to it that epochs pass until what is returned is dropped: no thread
    /// is left behind in a process that may yet fork.
    pub(crate) fn tick_for_now(&self) -> Result<Ticker, EngineError> {
        Ticker::start(self.0.engine.clone())
    }
}

fn no_timer(error: &std::io::Error) -> EngineError {
    EngineError::Engine(format!("cannot set its timer: {error}"))
}

fn with(
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
        .memory_init_cow(true)
        .collector(Collector::Null)
        .gc_support(false)
        // What handlers do not need, they cannot abuse.
        .wasm_threads(false)
        .shared_memory(false)
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        .wasm_memory64(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false)
        .wasm_stack_switching(false);
    settings.apply(&mut config);
    config
}

fn pool(
    slots: usize,
    settings: &EngineSettings,
    pagemap_scan: Enabled,
) -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(count(slots, 1))
        // A counter: these cost nothing until they are used.
        .total_core_instances(count(slots, MAX_CORE_INSTANCES))
        .max_core_instances_per_component(MAX_CORE_INSTANCES)
        .max_memories_per_component(MAX_MEMORIES)
        .max_tables_per_component(MAX_TABLES)
        .max_tables_per_module(MAX_TABLES)
        .total_memories(count(slots, 1))
        .total_tables(tables(slots))
        .table_elements(MAX_TABLE_ELEMENTS)
        // Each slot reserves that much anyway; the limiter holds a guest to its
        // policy.
        .max_memory_size(usize::try_from(settings.max_memory()).unwrap_or(usize::MAX))
        .total_gc_heaps(0)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_RESIDENT)
        .pagemap_scan(pagemap_scan)
        // Cold slots would be warmed, and kept, without need.
        .max_unused_warm_slots(0)
        .decommit_batch_size(1);
    InstanceAllocationStrategy::Pooling(pool)
}

/// Tables for each memory of the pool. Toolchains make one or two.
const TABLES_PER_SLOT: u32 = 4;

/// How many tables the pool has: as many as one component may have, at least.
fn tables(slots: usize) -> u32 {
    count(slots, TABLES_PER_SLOT).max(MAX_TABLES)
}

/// What the pool has, if it has `each` for a slot.
fn count(slots: usize, each: u32) -> u32 {
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
    fn engines_with_the_same_settings_run_the_same_code_and_others_do_not() {
        let guarded = EngineSettings::default();
        let explicit = EngineSettings::hostile();
        let mut codes = Vec::new();
        for settings in [guarded, explicit] {
            let pooled = Engine::new(1, &settings).unwrap();
            assert_eq!(pooled.fallback(), None);
            let code = hash(&pooled);
            assert_eq!(hash(&Engine::on_demand(&settings).unwrap()), code);
            assert_eq!(hash(&Engine::for_compiling(&settings).unwrap()), code);
            codes.push(code);
        }
        assert_ne!(codes[0], codes[1]);
    }
}
