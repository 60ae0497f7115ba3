//! Stores, which connect the limits of an instance to the engine.

use std::sync::Arc;

use wasmtime::component::Instance;
use wasmtime::{CallHook, Engine, Result, Store, StoreContextMut, UpdateDeadline};

use crate::host::state::State;
use crate::host::waits::Waits;
use crate::limits::cpu::TimeLeft;
use crate::limits::kill::Kill;
use crate::limits::touched::TouchedMemory;
use crate::policy::MAX_ERROR;

/// An instance in its Store.
pub(crate) struct Instantiated {
    pub store: Store<State>,
    pub instance: Instance,
    /// The way in which its calls wait.
    pub waits: Waits,
    /// The account of a task. It is dropped last: until then the memory is not given back.
    pub touched: Option<Arc<TouchedMemory>>,
}

impl Instantiated {
    /// Ends the instance in a process that ends with it. The kernel frees its memory then: to
    /// free it before would cost a forked child 5% to 10% more CPU time.
    pub(crate) fn leave_to_kernel(mut self) {
        self.store.data_mut().end();
        std::mem::forget(self);
    }
}

/// Returns a Store that holds its instance to the limits of memory and handles.
pub(crate) fn new_store(engine: &Engine, state: State, handles: usize) -> Store<State> {
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.memory);
    store.set_max_component_handles(handles);
    store
}

/// Limits the CPU time and the wall time of everything that runs in `store` from now on, in
/// this thread.
///
/// A guest checks for the end of an epoch where its functions and loops begin. A guest that
/// calls the host a hundred thousand times without either is checked when a host call
/// returns.
///
/// A guest in a task lets others run at the end of each epoch.
pub(crate) fn limit_run_time(store: &mut Store<State>, waits: Waits) {
    store.data_mut().time.restart_cpu_time();
    store.set_epoch_deadline(1);
    match waits {
        Waits::Block => store.epoch_deadline_callback(|mut store| {
            let left = check(store.data_mut())?;
            if left.is_long {
                store.data_mut().memory.shorten_time_slice();
            }
            Ok(UpdateDeadline::Continue(left.epochs()))
        }),
        Waits::Suspend => store.epoch_deadline_callback(|mut store| {
            check(store.data_mut())?;
            Ok(UpdateDeadline::Yield(1))
        }),
    }
    store.call_hook(call_hook);
}

/// Runs when the guest calls the host or the host calls the guest, and when such a call
/// returns. It runs for every call, so it must cost next to nothing.
fn call_hook(mut store: StoreContextMut<'_, State>, hook: CallHook) -> Result<()> {
    match hook {
        CallHook::CallingHost => {
            let limit = store.data().max_call_data;
            store.set_hostcall_fuel(limit);
        }
        // The host copies what the guest returns next: an error.
        CallHook::ReturningFromWasm => {
            let limit = store.data().max_call_data.min(MAX_ERROR);
            store.set_hostcall_fuel(limit);
        }
        CallHook::ReturningFromHost if store.data_mut().time.is_check_due() => {
            check(store.data_mut())?;
        }
        CallHook::ReturningFromHost | CallHook::CallingWasm => {}
    }
    Ok(())
}

/// Checks the time of the guest, and charges it for the memory that it has touched.
fn check(state: &mut State) -> Result<TimeLeft, Kill> {
    state.memory.charge()?;
    state.time.check()
}
