//! Letting a guest wait for time to pass.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use socketserver::{IdleTimeout, WallTimeout};
use wasmtime::Result;

use crate::host::state::State;
use crate::instance::failure::Kill;

/// Waits until `end`, or without end if that is `None`.
///
/// For its request that is waiting like any other: it counts against the idle
/// timeout and the wall time, and not as CPU time. An instance that is made
/// before there is a request may sleep for as long as the idle timeout in all.
///
/// Errors: one of the limits was reached. The call ends the guest.
pub(crate) fn until(state: &mut State, end: Option<Instant>) -> Result<()> {
    match &state.request {
        Some(request) => request.sleep_until(end).map_err(|error| killed(&error)),
        None => before_the_first_request(state, end),
    }
}

fn killed(error: &io::Error) -> wasmtime::Error {
    let inner = error.get_ref();
    if let Some(idle) = inner.and_then(|inner| inner.downcast_ref::<IdleTimeout>()) {
        return Kill::Sleep { limit: idle.limit }.into();
    }
    if let Some(wall) = inner.and_then(|inner| inner.downcast_ref::<WallTimeout>()) {
        return Kill::WallTime { limit: wall.limit }.into();
    }
    wasmtime::error::format_err!("cannot wait: {error}")
}

/// One that would sleep for too long is ended at once: nobody is served later.
fn before_the_first_request(state: &mut State, end: Option<Instant>) -> Result<()> {
    let pause = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
    let Some(left) = state.sleep_left.checked_sub(pause) else {
        return Err(Kill::Sleep { limit: state.sleep_limit }.into());
    };
    state.sleep_left = left;
    thread::sleep(pause);
    Ok(())
}
