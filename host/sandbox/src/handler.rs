//! A component as the handler of requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use socketserver::{
    Address, Blame, Capacity, HandlerError, Needs, Request, RequestHandler, ServerInfo, outcome,
};
use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, Instance, InstancePre, Linker, Resource};

use crate::bindings::types;
use crate::budget::limit_cpu_time;
use crate::component::{Component, EXPORT, WORLD};
use crate::engine::{Engine, MAPPINGS_PER_MEMORY, Ticker};
use crate::error::LoadError;
use crate::failure::{Step, ended, returned};
use crate::imports;
use crate::limits::{Limits, SharedMemory};
use crate::policy::Policy;
use crate::state::{Peer, State};
use crate::text::printable;

/// Answers each request in a new instance of one component.
pub struct ComponentHandler {
    engine: Engine,
    pre: InstancePre<State>,
    exports: Exports,
    policy: Policy,
    shared_memory: Arc<SharedMemory>,
    name: Arc<str>,
    memories: usize,
    initial_memory: usize,
}

/// Where the three functions are.
struct Exports {
    setup: ComponentExportIndex,
    handle: ComponentExportIndex,
    finish: ComponentExportIndex,
}

/// How long it takes to make an instance and to drop it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceTimes {
    /// Making one, on average.
    pub create: Duration,
    /// Dropping one, on average.
    pub drop: Duration,
}

type Setup = (Resource<Request>, types::Address);
type Outcome = (Result<(), String>,);

impl ComponentHandler {
    /// Checks that `component` can be a handler, down to a trial instance, and
    /// makes it one that is held to `policy`.
    ///
    /// Errors: it targets another world, imports what is not granted, was
    /// built against other types, needs more memory than it may have, or fails
    /// to start.
    pub fn new(engine: &Engine, component: &Component, policy: Policy) -> Result<Self, LoadError> {
        let description = component.description();
        if description.world.is_none() {
            return Err(LoadError::WrongWorld {
                wanted: WORLD,
                interface: EXPORT,
                exports: list(&description.exports),
            });
        }
        if !description.not_granted.is_empty() {
            return Err(LoadError::NotGranted { imports: description.not_granted.clone() });
        }
        if description.initial_memory > policy.memory as u64 {
            return Err(LoadError::Memory {
                needed: description.initial_memory,
                limit: policy.memory,
            });
        }
        let incompatible =
            |error: wasmtime::Error| LoadError::Incompatible(printable(&format!("{error:#}"), 500));
        let mut linker = Linker::new(engine.wasmtime());
        imports::add_to_linker(&mut linker).map_err(incompatible)?;
        let handler = ComponentHandler {
            engine: engine.clone(),
            pre: linker.instantiate_pre(component.wasmtime()).map_err(incompatible)?,
            exports: Exports::of(component)?,
            shared_memory: SharedMemory::new(policy.memory_total),
            policy,
            name: Arc::clone(component.name()),
            memories: usize::try_from(description.memories).unwrap_or(usize::MAX),
            initial_memory: usize::try_from(description.initial_memory).unwrap_or(usize::MAX),
        };
        handler.check_types()?;
        Ok(handler)
    }

    /// The name of the component, for the log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many requests this machine, and the engine's pool, can hold at once
    /// if each is answered by this handler.
    pub fn capacity(&self) -> Capacity {
        let needs = Needs {
            mappings: Needs::THREAD.mappings + self.memories * MAPPINGS_PER_MEMORY,
            ..Needs::THREAD
        };
        let mut capacity = Capacity::of_this_machine(needs);
        let (total, each) = (self.policy.memory_total, self.initial_memory);
        capacity.cap(SharedMemory::for_new_instances(total) / each.max(1), &|| {
            format!("all instances together may have {total} bytes, and each begins with {each}")
        });
        if let Some(slots) = self.engine.slots() {
            capacity.cap(slots / self.memories.max(1), &|| {
                format!("the pool has {slots} memories, and an instance takes {}", self.memories)
            });
        }
        capacity
    }

    /// Makes and drops `count` instances, one after the other, and measures
    /// the average.
    ///
    /// Errors: an instance could not be made.
    pub fn time_instances(&self, count: u32) -> Result<InstanceTimes, LoadError> {
        let _ticker = self.tick_for_now()?;
        let (mut create, mut drop_) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..count {
            let begun = Instant::now();
            let made = self.instantiate(None);
            create += begun.elapsed();
            let made = made.map_err(|error| LoadError::Instantiate(error.to_string()))?;
            let begun = Instant::now();
            drop(made);
            drop_ += begun.elapsed();
        }
        let count = count.max(1);
        Ok(InstanceTimes { create: create / count, drop: drop_ / count })
    }

    /// The types of exports can be checked on an instance only. Making one
    /// also shows at once what would fail for every request.
    fn check_types(&self) -> Result<(), LoadError> {
        let _ticker = self.tick_for_now()?;
        let (mut store, instance) =
            self.instantiate(None).map_err(|error| LoadError::Instantiate(error.to_string()))?;
        let Exports { setup, handle, finish } = &self.exports;
        let checked = instance
            .get_typed_func::<Setup, Outcome>(&mut store, setup)
            .and_then(|_| instance.get_typed_func::<(), Outcome>(&mut store, handle))
            .and_then(|_| instance.get_typed_func::<(), Outcome>(&mut store, finish));
        checked
            .map(drop)
            .map_err(|error| LoadError::Incompatible(printable(&format!("{error:#}"), 500)))
    }

    fn tick_for_now(&self) -> Result<Ticker, LoadError> {
        self.engine.tick_for_now().map_err(|error| LoadError::Instantiate(error.to_string()))
    }

    fn instantiate(&self, peer: Option<Peer>) -> Result<(Store<State>, Instance), HandlerError> {
        self.engine.tick().map_err(|error| HandlerError::new(Blame::Host, "no-ticker", error))?;
        self.shared_memory.wait_for(self.initial_memory, self.policy.idle_timeout);
        let limits = Limits::new(self.policy.memory, &self.shared_memory);
        let state = State::new(limits, &self.name, peer);
        let mut store = Store::new(self.engine.wasmtime(), state);
        store.limiter(|state| &mut state.limits);
        store.set_hostcall_fuel(self.policy.memory);
        limit_cpu_time(&mut store, self.policy.cpu_time);
        match self.pre.instantiate(&mut store) {
            Ok(instance) => Ok((store, instance)),
            Err(error) => Err(ended(Step::Instantiate, &error, store.data())),
        }
    }
}

impl Exports {
    fn of(component: &Component) -> Result<Self, LoadError> {
        let component = component.wasmtime();
        let missing =
            |function| LoadError::MissingExport { interface: EXPORT.to_owned(), function };
        let interface = component.get_export_index(None, EXPORT).ok_or_else(|| missing("setup"))?;
        let find = |function| {
            component.get_export_index(Some(&interface), function).ok_or_else(|| missing(function))
        };
        Ok(Exports { setup: find("setup")?, handle: find("handle")?, finish: find("finish")? })
    }
}

impl RequestHandler for ComponentHandler {
    /// Python's order: `handle` after `setup`, `finish` after `handle` even if
    /// that failed. After a trap, or when a limit has ended the guest, nothing
    /// of the instance is called again.
    fn finish_request(
        &self,
        request: &Request,
        client_address: &Address,
        server: &Arc<ServerInfo>,
    ) -> Result<(), HandlerError> {
        let no_ticker = |error| HandlerError::new(Blame::Host, "no-ticker", error);
        self.engine.tick().map_err(no_ticker)?;
        request.set_idle_timeout(Some(self.policy.idle_timeout));
        let peer = Peer { client_address: client_address.clone(), server: Arc::clone(server) };
        let (mut store, instance) = self.instantiate(Some(peer))?;

        let socket = store.data_mut().push(request.clone());
        let setup = socket.and_then(|socket| {
            instance
                .get_typed_func::<Setup, Outcome>(&mut store, &self.exports.setup)?
                .call(&mut store, (socket, client_address.into()))
        });
        settle(Step::Setup, setup, store.data())??;
        let handle =
            settle(Step::Handle, call(&mut store, &instance, &self.exports.handle), store.data())?;
        let finish =
            settle(Step::Finish, call(&mut store, &instance, &self.exports.finish), store.data())?;
        outcome(handle, finish)
    }
}

fn call(
    store: &mut Store<State>,
    instance: &Instance,
    function: &ComponentExportIndex,
) -> wasmtime::Result<Outcome> {
    instance.get_typed_func::<(), Outcome>(&mut *store, function)?.call(store, ())
}

/// Tells a guest that was ended (the outer error) from one that returned an
/// error (the inner one), which may go on.
fn settle(
    step: Step,
    result: wasmtime::Result<Outcome>,
    state: &State,
) -> Result<Result<(), HandlerError>, HandlerError> {
    match result {
        Ok((Ok(()),)) => Ok(Ok(())),
        Ok((Err(message),)) => Ok(Err(returned(step, &message, state))),
        Err(error) => Err(ended(step, &error, state)),
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
