//! The handler that a component is made into.

use std::future::{Future, poll_fn};
use std::os::fd::RawFd;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use socketserver::{Address, HandlerError, Request, printable};
use wasmtime::Store;
use wasmtime::component::{InstancePre, Linker};
use wasmtime::error::format_err;

use crate::broker::Broker;
use crate::engine::Engine;
use crate::engine::ticker::Ticker;
use crate::error::LoadError;
use crate::host::counters::HandlerCounters;
use crate::host::elsewhere::Task;
use crate::host::grants::Grants;
use crate::host::opened_sockets::OpenedSockets;
use crate::host::state::State;
use crate::host::version::is_compatible;
use crate::host::waits::Waits;
use crate::host::wasi::Stdio;
use crate::host::{contract, interfaces, wasi};
use crate::instance::descriptors::{HandlerDescriptors, memory_images};
use crate::instance::exports::Exports;
use crate::instance::failure::{Step, call_failure, killed};
use crate::instance::preflight;
use crate::instance::store::{Instantiated, limit_run_time, new_store};
use crate::limits::cpu::{CpuTimes, TaskClock};
use crate::limits::kill::Kill;
use crate::limits::memory::InstanceMemory;
use crate::limits::total_memory::TotalMemory;
use crate::limits::touched::{TouchedMemory, charge_for};
use crate::load::component::Component;
use crate::load::footprint::{Footprint, InitialMemory};
use crate::policy::Policy;

/// Handles each request in a new instance of one component.
#[allow(clippy::struct_excessive_bools, reason = "they do not depend on each other")]
pub struct ComponentHandler {
    pub(super) engine: Engine,
    pre: InstancePre<State>,
    /// The same with calls that block, for checks before there are requests.
    blocking: InstancePre<State>,
    pub(super) exports: Exports,
    pub(super) policy: Policy,
    pub(super) grants: Arc<Grants>,
    /// Set if the component imports what it needs to open sockets.
    networks: bool,
    /// Set if the component imports what it needs to wait for time to pass or for sockets, or is a
    /// program.
    waits: bool,
    /// Set if the component imports what a context of WASI must be made for.
    needs_context: bool,
    total_memory: Arc<TotalMemory>,
    name: Arc<str>,
    pub(super) footprint: Footprint,
    pub(super) initial_memory: InitialMemory,
    has_start: bool,
    clients_speak_first: bool,
    /// The memory images, if children need them.
    images: Arc<[RawFd]>,
    pub(super) counters: Option<Arc<dyn HandlerCounters>>,
    /// Set if requests are told what they have used.
    pub(super) cpu_times: Option<CpuTimes>,
    /// The process that opens sockets for guests, if this one may not.
    broker: Option<Arc<Broker>>,
    /// An instance for the first request. Each forked child finds a copy of it here, takes
    /// it, and ends with it.
    prewarmed: Mutex<Option<Instantiated>>,
}

/// A request that an instance is made for, and its client.
#[derive(Clone, Copy)]
pub(super) struct Arrived<'a> {
    pub request: &'a Request,
    pub client_address: &'a Address,
    /// The clock of the request's task, if it runs as one.
    pub task_clock: Option<&'a Arc<TaskClock>>,
}

/// The time after which [`ComponentHandler::time_instances`] creates no further instance:
/// code that runs in instantiation may take seconds.
const TIMED: Duration = Duration::from_secs(1);

/// The average times that it takes to create and to drop an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceTimes {
    /// The time to create an instance.
    pub create: Duration,
    /// The time to drop an instance.
    pub drop: Duration,
}

impl ComponentHandler {
    /// Makes `component` a handler that is held to `policy`, after checks that end with the
    /// preflight.
    ///
    /// # Errors
    ///
    /// The component targets no world, imports an interface that the host does not provide, was
    /// built against other types, needs more memory than it may have, or fails to start.
    pub fn new(engine: &Engine, component: &Component, policy: Policy) -> Result<Self, LoadError> {
        let handler = ComponentHandler::without_start(engine, component, policy)?;
        if handler.has_start {
            let _ticker = handler.temporary_ticker()?;
            handler.check_instance()?;
        }
        Ok(handler)
    }

    /// Makes `component` a handler like [`new`](Self::new), but runs no code of the
    /// component in this process, which may not be in a jail yet. If the component
    /// [has a start](Self::has_start), [`preflight`](Self::preflight) does the last checks:
    /// that it starts, and that its functions have the right types.
    ///
    /// # Errors
    ///
    /// A check fails that needs no code of the component.
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
        if !description.not_provided.is_empty() {
            return Err(LoadError::NotProvided { imports: description.not_provided.clone() });
        }
        let footprint = *component.footprint();
        let initial_memory = footprint.check(&policy)?;
        let incompatible =
            |error: wasmtime::Error| LoadError::Incompatible(printable(&format!("{error:#}"), 500));
        let (grants, imports) = (Grants::new(&policy)?, &description.imports);
        let link = |waits| {
            let mut linker = Linker::new(engine.wasmtime());
            interfaces::add_to_linker(&mut linker, imports, &grants, waits)?;
            linker.instantiate_pre(component.wasmtime())
        };
        let blocking = link(Waits::Block).map_err(incompatible)?;
        let pre = match engine.waits() {
            Waits::Block => blocking.clone(),
            Waits::Suspend => link(Waits::Suspend).map_err(incompatible)?,
        };
        let exports = Exports::find(component)?;
        let networks = imports.iter().any(|name| is_compatible(contract::NETWORK, name))
            || wasi::networks(imports);
        let mut handler = ComponentHandler {
            engine: engine.clone(),
            pre,
            blocking,
            waits: exports.is_program()
                || networks
                || imports.iter().any(|name| is_compatible(wasi::POLL, name)),
            exports,
            grants,
            networks,
            needs_context: wasi::needs_context(imports),
            total_memory: TotalMemory::new(policy.memory_total),
            policy,
            name: Arc::clone(component.name()),
            footprint,
            initial_memory,
            has_start: false,
            clients_speak_first: description.clients_speak_first,
            images: Arc::default(),
            counters: None,
            cpu_times: None,
            broker: None,
            prewarmed: Mutex::default(),
        };
        let store = handler.new_store(None, None);
        let store = store.map_err(|error| LoadError::Instantiate(error.to_string()))?;
        match preflight::instantiate_without_start(store, &handler.blocking, &handler.exports)? {
            None => {
                handler.has_start = true;
                // A process in the jail cannot create the images when it creates instances.
                component.wasmtime().initialize_copy_on_write_image().map_err(incompatible)?;
                if engine.is_for_forking() {
                    handler.images = memory_images().map_err(|error| incompatible(error.into()))?;
                }
            }
            Some(instantiated) if engine.is_for_forking() => {
                *handler.prewarmed() = Some(instantiated);
            }
            Some(_) => {}
        }
        Ok(handler)
    }

    /// Returns `true` if code of the component runs as soon as an instance is created, such
    /// as the functions with which programs in C++ and Go begin, or if code of the engine copies
    /// data into its memory, which looks the same.
    pub fn has_start(&self) -> bool {
        self.has_start
    }

    /// Returns true if the component states that its clients speak first. So a server may begin
    /// its requests with their first byte ([`DeferAccept`](socketserver::DeferAccept)).
    pub fn clients_speak_first(&self) -> bool {
        self.clients_speak_first
    }

    /// Runs the preflight: creates an instance, which shows what would fail for every request.
    /// It is for a process that was forked for it: the engine goes on to count epochs.
    ///
    /// # Errors
    ///
    /// The component fails to start, or its functions have other types than its world says.
    pub fn preflight(&self) -> Result<(), LoadError> {
        self.engine
            .start_ticking()
            .map_err(|error| LoadError::Instantiate(format!("{error:#}")))?;
        self.check_instance()
    }

    /// Reports events of the handler to `counters` from now on.
    #[must_use]
    pub fn with_counters(self, counters: Arc<dyn HandlerCounters>) -> Self {
        if let Some(Instantiated { store, .. }) = &mut *self.prewarmed() {
            store.data_mut().log.lock().set_counters(Arc::clone(&counters));
        }
        ComponentHandler { counters: Some(counters), ..self }
    }

    /// Measures from now on the CPU time and the memory of each request, and reports them to
    /// [`Request::set_usage`].
    #[must_use]
    pub fn with_usage(self, cpu_times: CpuTimes) -> Self {
        ComponentHandler { cpu_times: Some(cpu_times), ..self }
    }

    /// Has sockets opened by a broker from now on. This process and the processes that it forks
    /// need not be able to open any.
    #[must_use]
    pub fn with_broker(self, broker: Arc<Broker>) -> Self {
        ComponentHandler { broker: Some(broker), ..self }
    }

    /// Returns true if the component can open sockets, and some are granted.
    pub fn opens_sockets(&self) -> bool {
        self.networks && !self.grants.network.is_empty()
    }

    /// Returns the name of the component, for the log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the descriptors that the handler holds beside its requests.
    pub fn descriptors(&self) -> HandlerDescriptors {
        HandlerDescriptors { grants: Arc::clone(&self.grants), images: Arc::clone(&self.images) }
    }

    /// Creates and drops `count` instances, one after the other, and returns the average
    /// times. It creates fewer if that takes more than a second.
    ///
    /// # Errors
    ///
    /// An instance cannot be created.
    pub fn time_instances(&self, count: u32) -> Result<InstanceTimes, LoadError> {
        let _ticker = self.temporary_ticker()?;
        let (mut create_time, mut drop_time) = (Duration::ZERO, Duration::ZERO);
        let mut created = 0;
        while created < count && create_time + drop_time < TIMED {
            let begin = Instant::now();
            let instantiated = self.instantiate_before_requests();
            create_time += begin.elapsed();
            let instantiated =
                instantiated.map_err(|error| LoadError::Instantiate(format!("{error:#}")))?;
            let begin = Instant::now();
            drop(instantiated);
            drop_time += begin.elapsed();
            created += 1;
        }
        let count = created.max(1);
        Ok(InstanceTimes { create: create_time / count, drop: drop_time / count })
    }

    fn check_instance(&self) -> Result<(), LoadError> {
        let instantiated = self.instantiate_before_requests();
        let instantiated =
            instantiated.map_err(|error| LoadError::Instantiate(format!("{error:#}")))?;
        preflight::check_types(instantiated, &self.exports).map(drop)
    }

    fn prewarmed(&self) -> MutexGuard<'_, Option<Instantiated>> {
        self.prewarmed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn temporary_ticker(&self) -> Result<Ticker, LoadError> {
        self.engine.temporary_ticker().map_err(|error| LoadError::Instantiate(format!("{error:#}")))
    }

    /// Returns an instance for a request: the prewarmed one, or a new one.
    pub(super) async fn instance_for(
        &self,
        request: Arrived<'_>,
    ) -> Result<Instantiated, HandlerError> {
        let prewarmed = self.prewarmed().take();
        let Some(mut prewarmed) = prewarmed else { return self.instantiate(request).await };
        // Its CPU time began when it was created.
        limit_run_time(&mut prewarmed.store, prewarmed.waits);
        let state = prewarmed.store.data_mut();
        self.attach(state, request);
        // Its random numbers are those of all children.
        self.make_context(state)?;
        Ok(prewarmed)
    }

    /// Creates an instance for a request, when there is memory for it. What runs is held to the
    /// wall time of the request.
    async fn instantiate(&self, request: Arrived<'_>) -> Result<Instantiated, HandlerError> {
        if request.task_clock.is_some() {
            // The future is large, and most requests wait when it is done.
            return Box::pin(self.instantiate_in_task(request)).await;
        }
        // If there is no memory then, the instance will be refused.
        self.total_memory.wait_for(self.initial_memory.total, self.policy.idle_timeout);
        let (waits, mut store) = (self.engine.waits(), self.new_store(Some(request), None)?);
        limit_run_time(&mut store, waits);
        let instance = match waits {
            Waits::Block => self.pre.instantiate(&mut store),
            Waits::Suspend => self.pre.instantiate_async(&mut store).await,
        };
        match instance {
            Ok(instance) => Ok(Instantiated { store, instance, waits, touched: None }),
            Err(error) => Err(call_failure(Step::Instantiate, &error, store.data())),
        }
    }

    /// Creates an instance for a request that runs as a task, which is charged for the memory that
    /// it touches.
    async fn instantiate_in_task(
        &self,
        request: Arrived<'_>,
    ) -> Result<Instantiated, HandlerError> {
        let waits = self.engine.waits();
        let touched = self.reserve_memory(request.request).await?;
        let mut store = self.new_store(Some(request), Some(&touched))?;
        limit_run_time(&mut store, waits);
        let instance = {
            let instance = pin!(async {
                match waits {
                    Waits::Block => self.pre.instantiate(&mut store),
                    Waits::Suspend => self.pre.instantiate_async(&mut store).await,
                }
            });
            charge_for(Some(&touched), instance).await
        };
        match instance {
            Ok(instance) => Ok(Instantiated { store, instance, waits, touched: Some(touched) }),
            Err(error) => Err(call_failure(Step::Instantiate, &error, store.data())),
        }
    }

    /// Takes the memory that a task begins with. It waits until there is room, for as long as the
    /// idle timeout, behind the tasks that wait already.
    async fn reserve_memory(&self, request: &Request) -> Result<Arc<TouchedMemory>, HandlerError> {
        let (total, bytes) = (&self.total_memory, self.first_charge());
        let end = Instant::now().checked_add(self.policy.idle_timeout);
        let (mut reserving, mut timer) =
            (pin!(total.reserve(bytes)), pin!(request.sleep_until_async(end)));
        let is_reserved = poll_fn(|cx| match reserving.as_mut().poll(cx) {
            // A limit of the request that ends the sleep is found again when it runs.
            Poll::Pending => timer.as_mut().poll(cx).map(|_| false),
            ready @ Poll::Ready(_) => ready,
        });
        // The last quarter is for instances that run, except for those that have waited in vain.
        if is_reserved.await || total.take(bytes) {
            return Ok(TouchedMemory::with_floor(total, bytes));
        }
        let kill = Kill::MemoryTotal { limit: total.limit() };
        Err(killed(Step::Instantiate, kill))
    }

    /// Creates an instance that serves no request.
    fn instantiate_before_requests(&self) -> Result<Instantiated, HandlerError> {
        self.total_memory.wait_for(self.initial_memory.total, self.policy.idle_timeout);
        let mut store = self.new_store(None, None)?;
        limit_run_time(&mut store, Waits::Block);
        match self.blocking.instantiate(&mut store) {
            Ok(instance) => {
                Ok(Instantiated { store, instance, waits: Waits::Block, touched: None })
            }
            Err(error) => Err(call_failure(Step::Instantiate, &error, store.data())),
        }
    }

    fn new_store(
        &self,
        request: Option<Arrived<'_>>,
        touched: Option<&Arc<TouchedMemory>>,
    ) -> Result<Store<State>, HandlerError> {
        let mut memory = InstanceMemory::new(self.policy.memory, &self.total_memory);
        if let Some(touched) = touched {
            memory.charge_to(touched);
        }
        let mut state = State::new(memory, &self.policy, &self.name, self.counters.as_ref());
        state.is_program = self.exports.is_program();
        if let Some(request) = request {
            self.attach(&mut state, request);
        }
        self.make_context(&mut state)?;
        let mut store = new_store(self.engine.wasmtime(), state, self.policy.handles);
        if !store.data_mut().memory.keep(self.initial_memory.engine) {
            let error = format_err!("there is no memory for what the engine keeps for it");
            return Err(call_failure(Step::Instantiate, &error, store.data()));
        }
        Ok(store)
    }

    fn attach(&self, state: &mut State, arrived: Arrived<'_>) {
        let Arrived { request, client_address, task_clock } = arrived;
        if let Some(clock) = task_clock {
            state.time.set_task_clock(Arc::clone(clock));
            state.task = Some(Task::new(request));
        }
        let wall_time = request.wall_deadline().map(|end| (end, self.policy.wall_time));
        state.time.set_wall_time(wall_time);
        let broker = || self.broker.clone();
        let opened = || Box::new(OpenedSockets::new(request, &self.grants, &self.policy, broker()));
        state.opened = self.networks.then(opened);
        state.sleep.request = self.waits.then(|| request.clone());
        if state.is_program {
            state.stdio = Some(Stdio::new(request, client_address, self.policy.call_memory));
        }
    }

    /// Makes the context of WASI, if the component needs one.
    fn make_context(&self, state: &mut State) -> Result<(), HandlerError> {
        if !self.needs_context {
            return Ok(());
        }
        let made = state.wasi.renew(self.policy.call_memory);
        made.map_err(|error| call_failure(Step::Instantiate, &error, state))
    }
}
