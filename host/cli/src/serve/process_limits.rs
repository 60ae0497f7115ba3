//! The limits of a forked process. The engine ends a handler at its limits. The kernel and
//! the parent end native code that has escaped from the engine.

use std::time::Duration;

use socketserver_sandbox::Policy;

/// The CPU time that a process has beyond that of its handler: to be forked, to end the
/// handler and to report that. The limit of the handler must be reached first.
const MORE_CPU_TIME: Duration = Duration::from_secs(5);

/// The time that a process has beyond that of its handler. It may have to wait for a
/// processor, for the log and for a file.
const MORE_TIME: Duration = Duration::from_secs(10);

/// The least memory that a handler fills in a second, in bytes. One instruction can fill all
/// of its memory, and the engine notices the end of the handler's time only after that.
const FILLED_PER_SECOND: usize = 200 << 20;

/// The time by the clock that the preflight of a handler may take for each second of its CPU time.
/// Other processes use the machine too.
const CLOCK_PER_CPU_TIME: u32 = 10;

/// The most that a forked process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessLimits {
    /// The CPU time of a process for one request, in seconds (`RLIMIT_CPU`).
    pub cpu_seconds: u64,
    /// The life of a process for one request.
    pub lifetime: Duration,
    /// The life of a process that runs the preflight of a handler.
    pub preflight: Duration,
}

impl ProcessLimits {
    /// Returns limits that a handler under `policy` does not reach.
    pub fn for_policy(policy: &Policy) -> Self {
        let Policy { cpu_time, wall_time, idle_timeout, memory, .. } = policy;
        let filling = Duration::from_secs(memory.div_ceil(FILLED_PER_SECOND) as u64);
        let cpu_time_in_all = cpu_time.saturating_add(MORE_CPU_TIME).saturating_add(filling);
        let begun_second = u64::from(cpu_time_in_all.subsec_nanos() > 0);
        let more_time = MORE_TIME.saturating_add(filling);
        ProcessLimits {
            cpu_seconds: cpu_time_in_all.as_secs().saturating_add(begun_second),
            lifetime: wall_time.saturating_add(more_time),
            // The handler may sleep at its start for as long as in a request.
            preflight: cpu_time
                .saturating_mul(CLOCK_PER_CPU_TIME)
                .saturating_add(*idle_timeout)
                .saturating_add(more_time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_lives_longer_than_its_handler_may() {
        let limits = |cpu_time, wall_time, idle_timeout, memory| {
            let policy = Policy { cpu_time, wall_time, idle_timeout, memory, ..Policy::default() };
            ProcessLimits::for_policy(&policy)
        };
        let seconds = Duration::from_secs;
        let usual = limits(seconds(10), seconds(3600), seconds(60), 64 << 20);
        assert_eq!((usual.cpu_seconds, usual.lifetime), (16, seconds(3611)));
        assert_eq!(usual.preflight, seconds(171));
        let milli = Duration::from_millis(1);
        let large = limits(milli, milli, seconds(1), 4 << 30);
        assert_eq!((large.cpu_seconds, large.lifetime), (27, Duration::from_millis(31_001)));
        let longest = limits(Duration::MAX, Duration::MAX, Duration::MAX, usize::MAX);
        assert_eq!((longest.cpu_seconds, longest.lifetime), (u64::MAX, Duration::MAX));
    }
}
