//! Calls on files, which may block their thread for as long as a disk takes.

use std::collections::BTreeSet;
use std::mem;

use socketserver::{Request, drop_elsewhere};
use wasmtime::Result;
use wasmtime::component::ResourceTable;
use wasmtime::error::format_err;

use crate::host::state::State;
use crate::limits::kill::Kill;

/// A request that runs as a task, whose thread may not be blocked.
pub(crate) struct Task {
    request: Request,
    /// Set if the guest has opened a file or a directory.
    pub holds_files: bool,
    /// The streams of files that the guest holds.
    pub file_streams: BTreeSet<u32>,
}

impl Task {
    pub(crate) fn new(request: &Request) -> Self {
        Task { request: request.clone(), holds_files: false, file_streams: BTreeSet::new() }
    }
}

/// Works with the resources that the guest holds, some of which are files. The guest waits, so its
/// calls keep their order.
///
/// A request that runs as a task has its table moved to another thread for that, and is suspended:
/// whatever the work uses outlives the guest if the guest is ended meanwhile. Otherwise this thread
/// does the work.
///
/// # Errors
///
/// The wall time of the request was over first. The error ends the guest.
pub(crate) async fn with_files<T: Send + 'static>(
    state: &mut State,
    work: impl FnOnce(&mut ResourceTable) -> T + Send + 'static,
) -> Result<T> {
    let Some(task) = &state.task else { return Ok(work(&mut state.table)) };
    let mut table = mem::take(&mut state.table);
    let done = task.request.run_elsewhere_async(move || {
        let result = work(&mut table);
        (table, result)
    });
    match done.await {
        Ok((table, result)) => {
            state.table = table;
            Ok(result)
        }
        Err(error) => Err(Kill::of_call(&error)
            .map_or_else(|| format_err!("cannot wait for a file: {error}"), Into::into)),
    }
}

/// Drops what the guest holds. To close a file may block.
pub(super) fn drop_resources(state: &mut State) {
    let table = mem::take(&mut state.table);
    if state.task.as_ref().is_some_and(|task| task.holds_files) {
        drop_elsewhere(table);
    }
}
