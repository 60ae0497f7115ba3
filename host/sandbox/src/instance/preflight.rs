//! The preflight: an instance at load, which shows what would fail for every request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use socketserver::printable;
use wasmtime::component::InstancePre;
use wasmtime::{CallHook, Store, UpdateDeadline};

use crate::error::LoadError;
use crate::host::state::State;
use crate::host::waits::Waits;
use crate::instance::exports::Exports;
use crate::instance::failure::{Step, call_failure};
use crate::instance::store::Instantiated;

/// The component cannot be instantiated without running code of it.
#[derive(Debug, thiserror::Error)]
#[error("code of the component runs as soon as an instance is created")]
struct HasStart;

/// Creates an instance without running code of the component. Returns `None` if
/// instantiation would run some.
///
/// # Errors
///
/// The instance cannot be created, or [its exports have wrong types](check_types).
pub(crate) fn instantiate_without_start(
    mut store: Store<State>,
    pre: &InstancePre<State>,
    exports: &Exports,
) -> Result<Option<Instantiated>, LoadError> {
    // Each module begins in code of the engine, which checks the epoch once, fills tables,
    // and calls the start function. A start function has no parameters, so it is no host
    // function, and it checks the epoch before anything else.
    let in_engine_code = Arc::new(AtomicBool::new(false));
    let entered = Arc::clone(&in_engine_code);
    store.set_epoch_deadline(0);
    store.epoch_deadline_callback(move |_| {
        let by_engine = in_engine_code.swap(false, Ordering::Relaxed);
        if by_engine { Ok(UpdateDeadline::Continue(0)) } else { Err(HasStart.into()) }
    });
    store.call_hook(move |_, hook| {
        if matches!(hook, CallHook::CallingWasm) {
            entered.store(true, Ordering::Relaxed);
        }
        Ok(())
    });
    match pre.instantiate(&mut store) {
        Ok(instance) => {
            let instantiated = Instantiated { store, instance, waits: Waits::Block, touched: None };
            check_types(instantiated, exports).map(Some)
        }
        Err(error) if error.is::<HasStart>() => Ok(None),
        Err(error) => {
            let error = call_failure(Step::Instantiate, &error, store.data());
            Err(LoadError::Instantiate(format!("{error:#}")))
        }
    }
}

/// Checks the types of the exported functions. That can be done on an instance only.
///
/// # Errors
///
/// The types are not those of the world.
pub(crate) fn check_types(
    mut instantiated: Instantiated,
    exports: &Exports,
) -> Result<Instantiated, LoadError> {
    exports
        .check_types(&mut instantiated)
        .map_err(|error| LoadError::Incompatible(printable(&format!("{error:#}"), 500)))?;
    Ok(instantiated)
}
