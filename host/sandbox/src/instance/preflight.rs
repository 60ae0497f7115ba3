//! Trial instances: what shows on nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmtime::component::{Instance, InstancePre};
use wasmtime::{CallHook, Store, UpdateDeadline};

use crate::error::LoadError;
use crate::host::state::State;
use crate::instance::exports::Exports;
use crate::instance::failure::{Step, ended};
use socketserver::printable;

/// An instance in its Store.
pub(crate) type Made = (Store<State>, Instance);

/// Why an instance at rest cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("code of the component runs as soon as an instance is made")]
struct HasStart;

/// Makes an instance in which nothing of the component has run. `None` if something
/// would have to.
///
/// Errors: it cannot be made, or [does not fit](check).
pub(crate) fn at_rest(
    mut store: Store<State>,
    pre: &InstancePre<State>,
    exports: &Exports,
) -> Result<Option<Made>, LoadError> {
    // Each module begins in code of the engine's own, which looks at the epoch once,
    // fills tables, and calls the function that is to start. That has no parameters,
    // so it is none of the host's, and looks at the epoch before anything else.
    let begins = Arc::new(AtomicBool::new(false));
    let began = Arc::clone(&begins);
    store.set_epoch_deadline(0);
    store.epoch_deadline_callback(move |_| {
        let of_engine = began.swap(false, Ordering::Relaxed);
        if of_engine { Ok(UpdateDeadline::Continue(0)) } else { Err(HasStart.into()) }
    });
    store.call_hook(move |_, hook| {
        if matches!(hook, CallHook::CallingWasm) {
            begins.store(true, Ordering::Relaxed);
        }
        Ok(())
    });
    match pre.instantiate(&mut store) {
        Ok(instance) => check((store, instance), exports).map(Some),
        Err(error) if error.is::<HasStart>() => Ok(None),
        Err(error) => {
            let error = ended(Step::Instantiate, &error, store.data());
            Err(LoadError::Instantiate(format!("{error:#}")))
        }
    }
}

/// Checks the types of exports, which can be done on an instance only.
///
/// Errors: they are not those of their world.
pub(crate) fn check((mut store, instance): Made, exports: &Exports) -> Result<Made, LoadError> {
    exports
        .check(&mut store, &instance)
        .map_err(|error| LoadError::Incompatible(printable(&format!("{error:#}"), 500)))?;
    Ok((store, instance))
}
