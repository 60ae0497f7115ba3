//! Holding an instance to its CPU time.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use wasmtime::{CallHook, Result, Store, StoreContextMut, UpdateDeadline};

use crate::engine::ticker::TICK;
use crate::host::state::State;
use crate::instance::failure::Kill;
use crate::policy::MAX_ERROR;

/// The CPU time that makes a request a long one. The first epoch counts as used up,
/// though the guest may have waited for its client.
const LONG: Duration = TICK.saturating_mul(2);

/// After how many calls of the host it is asked what time it is. None of them can use
/// more than some tens of milliseconds.
const CALLS: u32 = 8;

/// What an instance has used of its CPU time.
#[derive(Debug)]
pub(crate) struct CpuTime {
    limit: Duration,
    /// The CPU clock of the thread when it began; `None` until that is first read.
    begun: Option<Duration>,
    /// How often the guest has called the host.
    calls: u32,
    /// When it was looked at last, as far as those calls know.
    looked: Option<Instant>,
}

impl CpuTime {
    /// All of it is left.
    pub(crate) fn new(limit: Duration) -> Self {
        CpuTime { limit, begun: None, calls: 0, looked: None }
    }

    /// Whether it is time to look, as a call of the host returns. Few requests call it
    /// often enough for this to read a clock.
    fn is_due(&mut self) -> bool {
        self.calls = self.calls.wrapping_add(1);
        if !self.calls.is_multiple_of(CALLS) {
            return false;
        }
        let now = Instant::now();
        now.duration_since(*self.looked.get_or_insert(now)) >= TICK
    }

    /// What is left, by the CPU clock of this thread.
    ///
    /// Reading that clock costs as much as a tenth of making an instance, so it is
    /// first read when the first epoch is over, which few requests live to see.
    /// What the guest has used until then is counted as one: but for some calls of
    /// the host, it cannot have used more.
    fn left(&mut self) -> Result<Duration, Kill> {
        let now = thread_cpu_time();
        let begun = *self.begun.get_or_insert_with(|| now.saturating_sub(TICK));
        let left = self.limit.saturating_sub(now.saturating_sub(begun));
        if left.is_zero() {
            return Err(Kill::CpuTime { limit: self.limit });
        }
        Ok(left)
    }
}

/// Gives everything that runs in `store` from now on, in this thread, `limit`
/// of CPU time.
///
/// Epochs measure time that passes, also while the thread waits in a host call
/// or for a processor. So an epoch that is over only asks: what counts is the
/// CPU clock of the thread, and the guest gets more epochs for what is left.
///
/// A guest looks whether an epoch is over where its functions and loops begin. One
/// that calls the host a hundred thousand times without either is asked when one of
/// these calls returns.
pub(crate) fn limit_cpu_time(store: &mut Store<State>, limit: Duration) {
    store.data_mut().cpu_time = CpuTime::new(limit);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut store| {
        let left = look(store.data_mut())?;
        Ok(UpdateDeadline::Continue(ticks(left)))
    });
    store.call_hook(between);
}

/// What is done when the guest calls the host, or the host the guest, and when
/// such a call returns. It is for every call, so it must cost next to nothing.
fn between(mut store: StoreContextMut<'_, State>, hook: CallHook) -> Result<()> {
    match hook {
        CallHook::CallingHost => {
            let most = store.data().call_data;
            store.set_hostcall_fuel(most);
        }
        // What it returns is read next, and copied: an error.
        CallHook::ReturningFromWasm => {
            let most = store.data().call_data.min(MAX_ERROR);
            store.set_hostcall_fuel(most);
        }
        CallHook::ReturningFromHost if store.data_mut().cpu_time.is_due() => {
            look(store.data_mut())?;
        }
        CallHook::ReturningFromHost | CallHook::CallingWasm => {}
    }
    Ok(())
}

/// How long the guest may go on before somebody looks again.
///
/// Errors: its CPU time or its wall time is over. The guest is ended.
fn look(state: &mut State) -> Result<Duration, Kill> {
    let now = Instant::now();
    state.cpu_time.looked = Some(now);
    let Some((end, limit)) = state.wall_time else { return next_look(state) };
    if now >= end {
        return Err(Kill::WallTime { limit });
    }
    // The wall time may be over sooner.
    Ok(next_look(state)?.min(end.saturating_duration_since(now)))
}

/// As [`look`], by the CPU time alone.
fn next_look(state: &mut State) -> Result<Duration, Kill> {
    let left = state.cpu_time.left()?;
    if state.cpu_time.limit.saturating_sub(left) < LONG {
        return Ok(left.min(TICK));
    }
    state.limits.computes_for_long();
    Ok(left)
}

fn ticks(duration: Duration) -> u64 {
    let ticks = duration.as_nanos().div_ceil(TICK.as_nanos());
    // A budget of centuries must not overflow the counter it is added to.
    u64::try_from(ticks).unwrap_or(u64::MAX).clamp(1, u64::from(u32::MAX))
}

fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
