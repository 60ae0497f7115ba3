//! One Engine for the process, and the ticker that drives its epochs.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socketserver::{Capacity, Needs};
use wasmtime::{
    Collector, Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
};

use crate::error::EngineError;
use crate::policy::{MAX_CORE_INSTANCES, MAX_MEMORIES, MAX_TABLE_ELEMENTS, MAX_TABLES};

/// How long an epoch lasts: the grain of the CPU budget.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// How much of a memory is kept, and cleaned by hand, when an instance is
/// dropped. Giving pages back to the kernel costs more than cleaning them, the
/// more so the more threads the process has.
const KEEP_RESIDENT: usize = 256 << 10;

/// Memory mappings that a linear memory in use takes: its image, what is before
/// and after it, and the rest of its slot. Counted in `/proc/PID/maps`.
pub(crate) const MAPPINGS_PER_MEMORY: usize = 5;

/// Compiles and runs components. There is one in a process; clones are the
/// same engine, and dropping the last of them stops its ticker.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    engine: wasmtime::Engine,
    slots: Option<usize>,
    fallback: Option<String>,
    ticker: OnceLock<Result<Ticker, String>>,
}

impl Engine {
    /// An engine with room for `slots` memories at once.
    ///
    /// Memories come from a pool that is reserved now. If the machine refuses
    /// to reserve that much, they are made on demand, which is slower;
    /// [`fallback`](Self::fallback) tells why.
    ///
    /// Errors: this machine cannot run the engine at all.
    pub fn new(slots: usize) -> Result<Self, EngineError> {
        let mut config = config();
        config.allocation_strategy(pool(slots));
        let (engine, fallback) = match wasmtime::Engine::new(&config) {
            Ok(engine) => (engine, None),
            Err(pool_error) => {
                config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
                let engine = wasmtime::Engine::new(&config)
                    .map_err(|error| EngineError::Engine(format!("{error:#}")))?;
                (engine, Some(format!("{pool_error:#}")))
            }
        };
        let slots = fallback.is_none().then_some(slots);
        Ok(Engine(Arc::new(Inner { engine, slots, fallback, ticker: OnceLock::new() })))
    }

    /// How many requests this machine can hold at once if each takes one
    /// memory, as nearly all handlers do: the number of `slots` to ask for.
    pub fn capacity() -> Capacity {
        let mappings = Needs::THREAD.mappings + MAPPINGS_PER_MEMORY;
        Capacity::of_this_machine(Needs { mappings, ..Needs::THREAD })
    }

    /// Why there is no pool; `None` if there is.
    pub fn fallback(&self) -> Option<&str> {
        self.0.fallback.as_deref()
    }

    /// How many memories the pool has room for; `None` if there is no pool.
    pub(crate) fn slots(&self) -> Option<usize> {
        self.0.slots
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.0.engine
    }

    /// Sees to it that epochs pass from now on. The first request starts the
    /// ticker, and so it runs in the process that serves.
    pub(crate) fn tick(&self) -> Result<(), EngineError> {
        let ticker = self.0.ticker.get_or_init(|| Ticker::start(self.0.engine.clone()));
        ticker.as_ref().map(|_| ()).map_err(|error| EngineError::Engine(error.clone()))
    }

    /// Sees to it that epochs pass until what is returned is dropped: no thread
    /// is left behind in a process that may yet fork.
    pub(crate) fn tick_for_now(&self) -> Result<Ticker, EngineError> {
        Ticker::start(self.0.engine.clone()).map_err(EngineError::Engine)
    }
}

fn config() -> Config {
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
    config
}

fn pool(slots: usize) -> InstanceAllocationStrategy {
    let count = |each: u32| u32::try_from(slots).unwrap_or(u32::MAX).saturating_mul(each);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(count(1))
        // A counter: these cost nothing until they are used.
        .total_core_instances(count(MAX_CORE_INSTANCES))
        .max_core_instances_per_component(MAX_CORE_INSTANCES)
        .max_memories_per_component(MAX_MEMORIES)
        .max_tables_per_component(MAX_TABLES)
        .max_tables_per_module(MAX_TABLES)
        .total_memories(count(1))
        .total_tables(count(TABLES_PER_SLOT))
        .table_elements(MAX_TABLE_ELEMENTS)
        // Each slot reserves all that 32 bits can address anyway, so that
        // accesses need no checks; the limiter holds a guest to its policy.
        .max_memory_size(1 << 32)
        .total_gc_heaps(0)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_RESIDENT)
        .pagemap_scan(Enabled::Auto)
        // Cold slots would be warmed, and kept, without need.
        .max_unused_warm_slots(0)
        .decommit_batch_size(1);
    InstanceAllocationStrategy::Pooling(pool)
}

/// Tables for each memory of the pool. Toolchains make one or two.
pub(crate) const TABLES_PER_SLOT: u32 = 4;

/// The thread that counts epochs. Dropping this ends it.
pub(crate) struct Ticker {
    /// Dropped to stop it.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: wasmtime::Engine) -> Result<Ticker, String> {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("epoch-ticker".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                    engine.increment_epoch();
                }
            })
            .map_err(|error| format!("cannot start its ticker: {error}"))?;
        Ok(Ticker { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing that could panic.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tickers() -> usize {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
        let names = tasks.filter_map(|task| name(task.unwrap()));
        names.filter(|name| name.trim() == "epoch-ticker").count()
    }

    /// A thread names itself a moment after it begins, and leaves `/proc` a
    /// moment after it has ended.
    fn wait_for_tickers(count: usize) {
        let begun = std::time::Instant::now();
        while tickers() != count {
            assert!(begun.elapsed() < Duration::from_secs(30), "{} tickers", tickers());
            thread::yield_now();
        }
    }

    #[test]
    fn there_is_one_ticker_from_the_first_request_to_the_end_of_the_engine() {
        let engine = Engine::new(1).unwrap();
        assert_eq!(tickers(), 0);
        let for_now = engine.tick_for_now().unwrap();
        wait_for_tickers(1);
        drop(for_now);
        wait_for_tickers(0);
        engine.tick().unwrap();
        engine.tick().unwrap();
        let same = engine.clone();
        drop(engine);
        same.tick().unwrap();
        wait_for_tickers(1);
        drop(same);
        wait_for_tickers(0);
    }
}
