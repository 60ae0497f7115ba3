//! Waiting for time to pass.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use socketserver::{IdleTimeout, WallTimeout};
use wasmtime::Result;

use crate::host::state::State;
use crate::limits::kill::Kill;

/// Waits until `end`, or for ever if that is `None`.
///
/// For the request this is a wait like any other: it counts for the idle timeout and the
/// wall time, and not as CPU time. An instance that is created before there is a request may
/// sleep for as long as the idle timeout in all.
///
/// # Errors
///
/// A limit was reached. The error ends the guest.
pub(crate) async fn sleep_until(state: &mut State, end: Option<Instant>) -> Result<()> {
    match &state.request {
        Some(request) => request.sleep_until_async(end).await.map_err(|error| kill(&error)),
        None => sleep_before_the_request(state, end),
    }
}

fn kill(error: &io::Error) -> wasmtime::Error {
    let inner = error.get_ref();
    if let Some(idle) = inner.and_then(|inner| inner.downcast_ref::<IdleTimeout>()) {
        return Kill::Sleep { limit: idle.limit }.into();
    }
    if let Some(wall) = inner.and_then(|inner| inner.downcast_ref::<WallTimeout>()) {
        return Kill::WallTime { limit: wall.limit }.into();
    }
    wasmtime::error::format_err!("cannot wait: {error}")
}

/// Sleeps in an instance that has no request. A guest that would sleep beyond the limit is
/// ended at once: to wait until then would serve no client.
fn sleep_before_the_request(state: &mut State, end: Option<Instant>) -> Result<()> {
    let pause = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
    let Some(left) = state.sleep_left.checked_sub(pause) else {
        return Err(Kill::Sleep { limit: state.sleep_limit }.into());
    };
    state.sleep_left = left;
    thread::sleep(pause);
    Ok(())
}
