//! Holding an instance to its CPU time.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use wasmtime::{Store, UpdateDeadline};

use crate::engine::TICK;
use crate::failure::Kill;
use crate::state::State;

/// Gives everything that runs in `store` from now on, in this thread, `limit`
/// of CPU time.
///
/// Epochs measure time that passes, also while the thread waits in a host call
/// or for a processor. So an epoch that is over only asks: what counts is the
/// CPU clock of the thread, and the guest gets more epochs for what is left.
///
/// Reading that clock costs as much as a tenth of making an instance, so it is
/// first read when the first epoch is over, which few requests live to see.
/// What the guest has used until then, it cannot have used more than an epoch,
/// is counted as one.
pub(crate) fn limit_cpu_time(store: &mut Store<State>, limit: Duration) {
    let mut begun = None;
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |store| {
        if let Some((end, limit)) = store.data().wall_time
            && Instant::now() >= end
        {
            return Err(Kill::WallTime { limit }.into());
        }
        let now = thread_cpu_time();
        let begun = *begun.get_or_insert_with(|| now.saturating_sub(TICK));
        let left = limit.saturating_sub(now.saturating_sub(begun));
        if left.is_zero() {
            return Err(Kill::CpuTime { limit }.into());
        }
        // The wall time may be over sooner.
        let wall =
            store.data().wall_time.map(|(end, _)| end.saturating_duration_since(Instant::now()));
        Ok(UpdateDeadline::Continue(ticks(left.min(wall.unwrap_or(Duration::MAX)))))
    });
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
