//! `wasi:clocks/monotonic-clock`: waiting for time to pass. The timers of `wasmtime-wasi` are
//! Tokio's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::{Linker, Resource};
use wasmtime::{Result, StoreContextMut};
use wasmtime_wasi_io::poll::DynPollable;

use crate::host::grants::Grants;
use crate::host::state::State;

use super::poll::Timer;

type Cx<'a> = StoreContextMut<'a, State>;

/// Defines the monotonic clock. Its instants are nanoseconds since the handler was loaded, so
/// that a handler does not learn how long the machine has been running.
pub(super) fn add_monotonic(linker: &mut Linker<State>, grants: &Arc<Grants>) -> Result<()> {
    let mut clock = linker.instance("wasi:clocks/monotonic-clock@0.2.0")?;
    let begun = grants.begun;
    clock.func_wrap("now", move |_: Cx<'_>, ()| Ok((nanoseconds(begun.elapsed()),)))?;
    clock.func_wrap("resolution", |_: Cx<'_>, ()| Ok((1_u64,)))?;
    clock.func_wrap("subscribe-instant", move |cx: Cx<'_>, (when,): (u64,)| {
        subscribe(cx, begun.checked_add(Duration::from_nanos(when)))
    })?;
    clock.func_wrap("subscribe-duration", |cx: Cx<'_>, (how_long,): (u64,)| {
        subscribe(cx, Instant::now().checked_add(Duration::from_nanos(how_long)))
    })
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn subscribe(mut cx: Cx<'_>, when: Option<Instant>) -> Result<(Resource<DynPollable>,)> {
    let table = &mut cx.data_mut().table;
    let timer = table.push(Timer(when))?;
    Ok((wasmtime_wasi_io::poll::subscribe(table, timer)?,))
}
