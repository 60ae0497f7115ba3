//! When a forked process is ended from outside. The engine ends a handler at its limits;
//! whoever broke out of the engine is ended by the kernel, and by the process that forks.

use std::time::Duration;

use socketserver_sandbox::Policy;

/// How much more CPU time than a handler a process has: to be forked, and to end its
/// handler and say so. It must never be the one that is noticed first.
const MORE_CPU_TIME: Duration = Duration::from_secs(5);

/// How much longer than a handler a process may be there. It may have to wait for a
/// processor, for its log, and for a file.
const LONGER: Duration = Duration::from_secs(10);

/// How much memory a handler may touch in a second, at the least. One instruction may fill
/// all that it has, and the engine notices the end of its time after that.
const A_SECOND: usize = 200 << 20;

/// How many times its CPU time the start of a handler may take by the clock. It may not
/// be alone on the machine.
const PATIENCE: u32 = 10;

/// What a forked process has at the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overtime {
    /// Its CPU time in seconds, if it is for one request (`RLIMIT_CPU`).
    pub cpu_seconds: u64,
    /// How long it is there, if it is for one request.
    pub lifetime: Duration,
    /// How long it is there, if it tries whether a handler starts.
    pub start: Duration,
}

impl Overtime {
    /// For handlers that are held to this policy.
    pub fn of(policy: &Policy) -> Self {
        let Policy { cpu_time, wall_time, idle_timeout, memory, .. } = policy;
        let fills = Duration::from_secs(memory.div_ceil(A_SECOND) as u64);
        let more = cpu_time.saturating_add(MORE_CPU_TIME).saturating_add(fills);
        let begun = u64::from(more.subsec_nanos() > 0);
        let longer = LONGER.saturating_add(fills);
        Overtime {
            cpu_seconds: more.as_secs().saturating_add(begun),
            lifetime: wall_time.saturating_add(longer),
            // Meanwhile it may sleep, for as long as in a request.
            start: cpu_time
                .saturating_mul(PATIENCE)
                .saturating_add(*idle_timeout)
                .saturating_add(longer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_later_than_every_limit_of_a_handler() {
        let of = |cpu_time, wall_time, idle_timeout, memory| {
            let policy = Policy { cpu_time, wall_time, idle_timeout, memory, ..Policy::default() };
            Overtime::of(&policy)
        };
        let seconds = Duration::from_secs;
        let overtime = of(seconds(10), seconds(3600), seconds(60), 64 << 20);
        assert_eq!((overtime.cpu_seconds, overtime.lifetime), (16, seconds(3611)));
        assert_eq!(overtime.start, seconds(171));
        let overtime = of(Duration::from_millis(1), Duration::from_millis(1), seconds(1), 4 << 30);
        assert_eq!((overtime.cpu_seconds, overtime.lifetime), (27, Duration::from_millis(31_001)));
        let longest = of(Duration::MAX, Duration::MAX, Duration::MAX, usize::MAX);
        assert_eq!((longest.cpu_seconds, longest.lifetime), (u64::MAX, Duration::MAX));
    }
}
