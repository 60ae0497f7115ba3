//! A component as the handler of requests.

use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use socketserver::{
    Address, Capacity, Endpoint, HandlerError, Needs, Reason, Request, RequestHandler, ServerInfo,
    combine_results,
};
use wasmtime::Store;
use wasmtime::component::{InstancePre, Linker};
use wasmtime::error::format_err;

use crate::engine::ticker::Ticker;
use crate::engine::{ADDRESSES_PER_MEMORY, Engine, MAPPINGS_PER_MEMORY, Pool};
use crate::error::LoadError;
use crate::host::contract::{self, same_contract};
use crate::host::counters::HandlerCounters;
use crate::host::grants::Grants;
use crate::host::open_files::DESCRIPTORS;
use crate::host::state::{Peer, State};
use crate::host::wasi;
use crate::instance::descriptors::{HandlerDescriptors, memory_images};
use crate::instance::exports::{Exports, Functions, Outcome};
use crate::instance::failure::{Exit, Step, ended, returned};
use crate::instance::preflight::{self, Made};
use crate::limits::cpu::limit_cpu_time;
use crate::limits::memory::{Limits, SharedMemory};
use crate::load::component::Component;
use crate::load::footprint::{Footprint, Initial};
use crate::policy::{OnKill, Policy};
use crate::world::World;
use socketserver::printable;

/// Answers each request in a new instance of one component.
pub struct ComponentHandler {
    engine: Engine,
    pre: InstancePre<State>,
    exports: Exports,
    policy: Policy,
    grants: Arc<Grants>,
    /// Whether it imports what it needs to wait for time to pass.
    sleeps: bool,
    shared_memory: Arc<SharedMemory>,
    name: Arc<str>,
    footprint: Footprint,
    /// Bytes that an instance begins with.
    initial: usize,
    /// Bytes of them that the engine keeps beside memories and tables.
    engine_memory: usize,
    has_start: bool,
    /// The descriptors of what its memories begin with, where children need them.
    images: Arc<[RawFd]>,
    counters: Option<Arc<dyn HandlerCounters>>,
    /// An instance that was made ahead and that nobody has used yet. Each forked
    /// child finds a copy of it here, takes it and ends with it.
    ahead: Mutex<Option<Made>>,
}

/// For how long instances are made to see how long one takes: what a guest does while
/// it is made may take seconds.
const TIMED: Duration = Duration::from_secs(1);

/// How long it takes to make an instance and to drop it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceTimes {
    /// Making one, on average.
    pub create: Duration,
    /// Dropping one, on average.
    pub drop: Duration,
}

/// How a request ended, if not well.
enum Ended {
    /// By itself, with `exit`. Nothing of the guest is called again.
    Exited(Step, Exit),
    /// It trapped, or was made to end. Nothing of it is called again.
    Killed(HandlerError),
    /// It returned an error.
    Failed(HandlerError),
}

impl ComponentHandler {
    /// Checks that `component` can be a handler, down to a trial instance, and
    /// makes it one that is held to `policy`.
    ///
    /// Errors: it targets another world, imports what is not granted, was
    /// built against other types, needs more memory than it may have, or fails
    /// to start.
    pub fn new(engine: &Engine, component: &Component, policy: Policy) -> Result<Self, LoadError> {
        let handler = ComponentHandler::without_start(engine, component, policy)?;
        if handler.has_start {
            let _ticker = handler.tick_for_now()?;
            handler.try_instance()?;
        }
        Ok(handler)
    }

    /// As [`new`](Self::new), but nothing of the component runs in this process, which
    /// may be in no jail yet: if it [has a start](Self::has_start), then whether it fails
    /// to start and what types its functions have is left to
    /// [`try_start`](Self::try_start).
    ///
    /// Errors: as far as they show.
    pub fn without_start(
        engine: &Engine,
        component: &Component,
        policy: Policy,
    ) -> Result<Self, LoadError> {
        let description = component.description();
        let policy = Policy { memory: policy.memory.min(engine.max_memory()), ..policy };
        if description.worlds.is_empty() {
            return Err(LoadError::WrongWorld { exports: description.exports.clone() });
        }
        if !description.not_granted.is_empty() {
            return Err(LoadError::NotGranted { imports: description.not_granted.clone() });
        }
        let footprint = *component.footprint();
        let Initial { bytes: initial, engine: engine_memory } = footprint.check(&policy)?;
        let incompatible =
            |error: wasmtime::Error| LoadError::Incompatible(printable(&format!("{error:#}"), 500));
        let mut linker = Linker::new(engine.wasmtime());
        let (grants, imports) = (Grants::new(&policy)?, &description.imports);
        contract::add_to_linker(&mut linker, imports, &grants).map_err(incompatible)?;
        let mut handler = ComponentHandler {
            engine: engine.clone(),
            pre: linker.instantiate_pre(component.wasmtime()).map_err(incompatible)?,
            exports: Exports::of(component)?,
            grants,
            sleeps: imports.iter().any(|name| same_contract(wasi::POLL, name)),
            shared_memory: SharedMemory::new(policy.memory_total),
            policy,
            name: Arc::clone(component.name()),
            footprint,
            initial,
            engine_memory,
            has_start: false,
            images: Arc::default(),
            counters: None,
            ahead: Mutex::default(),
        };
        let store = handler.store(None);
        let store = store.map_err(|error| LoadError::Instantiate(error.to_string()))?;
        match preflight::at_rest(store, &handler.pre, &handler.exports)? {
            None => {
                handler.has_start = true;
                // Whoever makes instances may open nothing in the jail.
                component.wasmtime().initialize_copy_on_write_image().map_err(incompatible)?;
                if engine.is_for_forking() {
                    handler.images = memory_images().map_err(|error| incompatible(error.into()))?;
                }
            }
            // It has shown that it works: it can as well be the first.
            Some(made) if engine.is_for_forking() => *handler.ahead() = Some(made),
            Some(_) => {}
        }
        Ok(handler)
    }

    /// Whether code of the component runs as soon as an instance is made: the functions
    /// by which C++ and Go begin, for example.
    pub fn has_start(&self) -> bool {
        self.has_start
    }

    /// Makes an instance, which shows what would fail for every request. For a process
    /// that was forked for it: epochs go on to pass in it.
    ///
    /// Errors: it fails to start, or its functions have other types than its world says.
    pub fn try_start(&self) -> Result<(), LoadError> {
        self.engine.tick().map_err(|error| LoadError::Instantiate(format!("{error:#}")))?;
        self.try_instance()
    }

    /// Adds what the handler does from now on to `counters`.
    #[must_use]
    pub fn with_counters(self, counters: Arc<dyn HandlerCounters>) -> Self {
        if let Some((store, _)) = &mut *self.ahead() {
            store.data_mut().counters = Some(Arc::clone(&counters));
        }
        ComponentHandler { counters: Some(counters), ..self }
    }

    /// The name of the component, for the log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it holds open beside a request.
    pub fn descriptors(&self) -> HandlerDescriptors {
        HandlerDescriptors { grants: Arc::clone(&self.grants), images: Arc::clone(&self.images) }
    }

    /// How many requests this machine, and the engine's pool, can hold at once
    /// if each takes `base` and what this handler needs: [`Needs::THREAD`] for
    /// threads, [`Needs::PROCESS`] for forked processes.
    ///
    /// A process has the mappings of its instance, and a pool, to itself: so
    /// neither counts for a base without mappings.
    pub fn capacity(&self, base: Needs) -> Capacity {
        // A process of its own has mappings, and a share of the memory, of its own.
        let shares = base.mappings > 0;
        let memories = self.footprint.memories;
        let own = if shares { memories * MAPPINGS_PER_MEMORY } else { 0 };
        let reserves = if shares && self.engine.pool().is_none() { memories } else { 0 };
        let addresses = reserves.saturating_mul(ADDRESSES_PER_MEMORY);
        // Files that it holds open are descriptors too.
        let opens = shares && !self.grants.directories.is_empty();
        let needs = Needs {
            descriptors: if opens { DESCRIPTORS } else { base.descriptors },
            mappings: base.mappings.saturating_add(own),
            address_space: base.address_space.saturating_add(addresses),
            ..base
        };
        let mut capacity = Capacity::of_this_machine(needs);
        if !shares {
            return capacity;
        }
        let (total, each) = (self.policy.memory_total, self.initial);
        capacity.cap(SharedMemory::for_new_instances(total) / each.max(1), &|| {
            format!("all instances together may have {total} bytes, and each begins with {each}")
        });
        if let Some(pool) = self.engine.pool() {
            self.cap_by_pool(&mut capacity, pool);
        }
        capacity
    }

    fn cap_by_pool(&self, capacity: &mut Capacity, pool: Pool) {
        let Footprint { memories, tables, core_instances, .. } = self.footprint;
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

    /// Makes and drops `count` instances, one after the other, and measures
    /// the average; fewer if that takes more than a second.
    ///
    /// Errors: an instance could not be made.
    pub fn time_instances(&self, count: u32) -> Result<InstanceTimes, LoadError> {
        let _ticker = self.tick_for_now()?;
        let (mut create, mut drop_) = (Duration::ZERO, Duration::ZERO);
        let mut made_so_far = 0;
        while made_so_far < count && create + drop_ < TIMED {
            let begun = Instant::now();
            let made = self.instantiate(None);
            create += begun.elapsed();
            let made = made.map_err(|error| LoadError::Instantiate(format!("{error:#}")))?;
            let begun = Instant::now();
            drop(made);
            drop_ += begun.elapsed();
            made_so_far += 1;
        }
        let count = made_so_far.max(1);
        Ok(InstanceTimes { create: create / count, drop: drop_ / count })
    }

    fn try_instance(&self) -> Result<(), LoadError> {
        let made = self.instantiate(None);
        let made = made.map_err(|error| LoadError::Instantiate(format!("{error:#}")))?;
        preflight::check(made, &self.exports).map(drop)
    }

    fn ahead(&self) -> MutexGuard<'_, Option<Made>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick_for_now(&self) -> Result<Ticker, LoadError> {
        self.engine.tick_for_now().map_err(|error| LoadError::Instantiate(format!("{error:#}")))
    }

    /// Makes an instance: for a request, whose time it takes, or ahead of one.
    fn instantiate(&self, request: Option<&Request>) -> Result<Made, HandlerError> {
        let mut store = self.store(request)?;
        limit_cpu_time(&mut store, self.policy.cpu_time);
        match self.pre.instantiate(&mut store) {
            Ok(instance) => Ok((store, instance)),
            Err(error) => Err(ended(Step::Instantiate, &error, store.data())),
        }
    }

    fn store(&self, request: Option<&Request>) -> Result<Store<State>, HandlerError> {
        self.shared_memory.wait_for(self.initial, self.policy.idle_timeout);
        let limits = Limits::new(self.policy.memory, &self.shared_memory);
        let mut state = State::new(limits, &self.policy, &self.name, self.counters.as_ref());
        if let Some(request) = request {
            self.attach(&mut state, request);
        }
        let mut store = Store::new(self.engine.wasmtime(), state);
        store.limiter(|state| &mut state.limits);
        store.set_max_component_handles(self.policy.handles);
        if !store.data_mut().limits.keep(self.engine_memory) {
            let error = format_err!("there is no memory for the engine to keep it in");
            return Err(ended(Step::Instantiate, &error, store.data()));
        }
        Ok(store)
    }

    fn attach(&self, state: &mut State, request: &Request) {
        state.wall_time = request.wall_deadline().map(|end| (end, self.policy.wall_time));
        state.request = self.sleeps.then(|| request.clone());
    }

    /// Answers one request in a new instance.
    fn answer(
        &self,
        functions: &Functions,
        request: &Request,
        client_address: &Address,
        server: &Arc<ServerInfo>,
    ) -> Result<(), Ended> {
        let peer = Peer { client_address: client_address.clone(), server: Arc::clone(server) };
        let ahead = self.ahead().take();
        let (mut store, instance) = match ahead {
            Some((mut store, instance)) => {
                // Its time began to run when it was made.
                limit_cpu_time(&mut store, self.policy.cpu_time);
                self.attach(store.data_mut(), request);
                (store, instance)
            }
            None => self.instantiate(Some(request)).map_err(Ended::Killed)?,
        };
        if let Some(counters) = &self.counters {
            counters.instance_used();
        }
        let store = &mut store;
        store.data_mut().peer = Some(peer);
        let setup = functions.setup(store, &instance, request, client_address);
        settle(Step::Setup, setup, store)??;
        let handle = settle(Step::Handle, functions.handle(store, &instance), store)?;
        let finish = settle(Step::Finish, functions.finish(store, &instance), store)?;
        Ok(combine_results(handle, finish)?)
    }

    /// Why this handler does not answer what comes to sockets of `world`.
    fn not_for(&self, world: World) -> String {
        let targets: Vec<String> =
            self.exports.worlds().map(|world| format!("`{world}`")).collect();
        let schemes: Vec<&str> = self.exports.worlds().map(World::schemes).collect();
        format!(
            "the handler `{}` targets {}, and such a socket needs `{world}`: bind {} for it, or serve another handler",
            self.name,
            targets.join(" and "),
            schemes.join(" or ")
        )
    }
}

impl RequestHandler for ComponentHandler {
    /// A handler is for the sockets of the worlds that it targets.
    fn check_endpoint(&self, endpoint: &Endpoint) -> Result<(), String> {
        let world = World::of(endpoint.socket_type());
        self.exports.get(world).map(drop).ok_or_else(|| self.not_for(world))
    }

    /// Python's order: `handle` after `setup`, `finish` after `handle` even if
    /// that failed. After a trap, an exit, or when a limit has ended the guest,
    /// nothing of the instance is called again. An exit in `finish` takes the
    /// place of an error of `handle`.
    fn finish_request(
        &self,
        request: &Request,
        client_address: &Address,
        server: &Arc<ServerInfo>,
    ) -> Result<(), HandlerError> {
        let no_ticker = |error| HandlerError::new(Reason::NoTicker, error);
        self.engine.tick().map_err(no_ticker)?;
        request.set_idle_timeout(Some(self.policy.idle_timeout));
        request.set_wall_time(Some(self.policy.wall_time));
        request.set_max_received(Some(self.policy.max_received));
        request.set_max_sent(Some(self.policy.max_sent));
        let world = World::of(request.socket_type());
        let functions = self.exports.get(world);
        let functions =
            functions.ok_or_else(|| HandlerError::new(Reason::WrongWorld, self.not_for(world)))?;
        match self.answer(functions, request, client_address, server) {
            Ok(()) => Ok(()),
            Err(Ended::Failed(error)) => Err(error),
            Err(Ended::Killed(error)) => {
                if self.policy.on_kill == OnKill::Reset {
                    request.reset_on_close();
                }
                Err(error)
            }
            // Python's SystemExit: no error, and nothing is said of it.
            Err(Ended::Exited(step, Exit { failed })) => {
                let (handler, peer) = (self.name(), client_address.to_string());
                tracing::debug!(handler, peer, failed, "{} called exit", step.as_str());
                Ok(())
            }
        }
    }
}

impl From<HandlerError> for Ended {
    fn from(error: HandlerError) -> Self {
        Ended::Failed(error)
    }
}

/// Tells a guest that was ended (the outer error) from one that returned an
/// error (the inner one), which may go on.
fn settle(
    step: Step,
    result: wasmtime::Result<Outcome>,
    store: &Store<State>,
) -> Result<Result<(), HandlerError>, Ended> {
    match result {
        Ok((Ok(()),)) => Ok(Ok(())),
        Ok((Err(message),)) => Ok(Err(returned(step, &message, store.data()))),
        Err(error) => Err(match error.downcast_ref::<Exit>() {
            Some(exit) => Ended::Exited(step, *exit),
            None => Ended::Killed(ended(step, &error, store.data())),
        }),
    }
}
