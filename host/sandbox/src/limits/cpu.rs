//! The CPU time and the wall time of an instance.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, Timespec, clock_gettime};
use socketserver::Request;

use crate::engine::ticker::TICK;
use crate::limits::kill::Kill;

/// The CPU time that makes a request a long one. The first epoch counts as used up, though
/// the guest may have waited for its client.
const LONG: Duration = TICK.saturating_mul(2);

/// The number of host calls after which the host reads a clock. No host call takes more than
/// some tens of milliseconds of CPU time.
const CALLS_BETWEEN_CHECKS: u32 = 8;

/// The way in which the CPU time of a request is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuTimes {
    /// By the CPU clock of its thread, which costs a short request some percent of its time.
    Read,
    /// Mostly by the time that it takes, if that is below 0.1 ms: for sums and histograms. The clock
    /// is read once in a millisecond, and later estimates are lower by what earlier ones were too
    /// high.
    Estimated,
}

/// The longest request whose CPU time may be an estimate, and the longest time for which a thread
/// estimates. Metrics have no smaller steps than the first.
const SHORT: u64 = 100_000;
const BETWEEN_READINGS: u64 = 1_000_000;

thread_local! {
    /// The last reading of the CPU clock of this thread.
    static LAST_READING: Cell<Option<Reading>> = const { Cell::new(None) };
}

/// A reading of the CPU clock of a thread, in nanoseconds.
#[derive(Debug, Clone, Copy)]
struct Reading {
    cpu_time: u64,
    /// The time of the monotonic clock.
    at: u64,
    /// The CPU time by which the estimates until then were too high.
    too_high: u64,
    /// The part of that which the estimates since then have not made up for.
    left: u64,
    /// The CPU time of the estimates since then.
    estimated: u64,
}

impl Reading {
    /// Returns the CPU time since this reading that is in no estimate, at a later one.
    fn until(self, cpu_time: u64) -> Result<u64, TooHigh> {
        // The clock of a forked process begins at zero, after the reading of its parent.
        let Some(since) = cpu_time.checked_sub(self.cpu_time) else { return Ok(cpu_time) };
        let estimated = self.too_high.saturating_add(self.estimated);
        since.checked_sub(estimated).ok_or(TooHigh(estimated.saturating_sub(since)))
    }
}

/// The CPU time by which estimates were too high, in nanoseconds.
struct TooHigh(u64);

/// A measurement of the CPU time of this thread that reads its clock at the end only, except for
/// the first one of the thread.
///
/// To read the clock is a system call. The CPU time is at most that of the thread since the clock
/// was read last, and at most the time that has passed. The result is the lesser of the two: it is
/// more than was used only if the thread did not run all the time, and then by no more than the
/// thread has used between that reading and the start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch {
    last_reading: Reading,
    begun: u64,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Stopwatch { last_reading: LAST_READING.get().unwrap_or_else(read), begun: now() }
    }

    /// Returns the CPU time since the start, in nanoseconds.
    pub(crate) fn nanoseconds(self) -> u64 {
        let Reading { cpu_time, at, .. } = read();
        let of_thread = self.last_reading.until(cpu_time).unwrap_or(0);
        of_thread.min(at.saturating_sub(self.begun))
    }

    /// Returns the CPU time since the start, in nanoseconds, and reads the clock or not.
    pub(crate) fn measure(self, how: CpuTimes) -> u64 {
        match how {
            CpuTimes::Read => self.nanoseconds(),
            CpuTimes::Estimated => self.estimate(),
        }
    }

    fn estimate(self) -> u64 {
        let time = now();
        let passed = time.saturating_sub(self.begun);
        match LAST_READING.get() {
            Some(mut last) if passed < SHORT && time.saturating_sub(last.at) < BETWEEN_READINGS => {
                let made_up = passed.min(last.left);
                last.left -= made_up;
                last.estimated = last.estimated.saturating_add(passed - made_up);
                LAST_READING.set(Some(last));
                passed - made_up
            }
            _ => self.nanoseconds(),
        }
    }
}

/// The CPU time of a task, which shares its thread with others.
#[derive(Debug)]
pub(crate) struct TaskClock {
    /// The request, for which other threads work too.
    request: Request,
    here: Mutex<Here>,
}

/// The CPU time of a task in its own thread.
#[derive(Debug, Clone, Copy)]
struct Here {
    /// The CPU time until the task was suspended last, in nanoseconds.
    used: u64,
    /// The measurement of the poll that runs, or of the last one.
    poll: Option<Stopwatch>,
}

impl TaskClock {
    pub(crate) fn new(request: &Request) -> Self {
        TaskClock { request: request.clone(), here: Mutex::new(Here { used: 0, poll: None }) }
    }

    fn here(&self) -> MutexGuard<'_, Here> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `task`, whose CPU time this clock has from its beginning.
    pub(crate) async fn measure<T>(&self, mut task: Pin<&mut impl Future<Output = T>>) -> T {
        poll_fn(|cx| {
            self.here().poll = Some(Stopwatch::start());
            let polled = task.as_mut().poll(cx);
            if polled.is_pending() {
                let mut here = self.here();
                here.used = here.time(CpuTimes::Read);
            }
            polled
        })
        .await
    }

    /// Returns the CPU time of the task, which runs. It may be estimated once, at the end.
    pub(crate) fn time(&self, how: CpuTimes) -> Duration {
        Duration::from_nanos(self.here().time(how)) + self.request.cpu_time_elsewhere()
    }
}

impl Here {
    /// Returns the CPU time in nanoseconds.
    fn time(&self, how: CpuTimes) -> u64 {
        self.used.saturating_add(self.poll.map_or(0, |poll| poll.measure(how)))
    }
}

/// Reads the CPU clock of this thread.
fn read() -> Reading {
    let cpu_time = nanoseconds(thread_cpu_time());
    let too_high = LAST_READING.get().and_then(|last| last.until(cpu_time).err());
    let too_high = too_high.map_or(0, |TooHigh(time)| time);
    let reading = Reading { cpu_time, at: now(), too_high, left: too_high, estimated: 0 };
    LAST_READING.set(Some(reading));
    reading
}

/// Returns the time of the monotonic clock in nanoseconds.
fn now() -> u64 {
    nanoseconds(duration(clock_gettime(ClockId::Monotonic)))
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The time that an instance has used, and its limits.
///
/// Epochs measure time that passes, also while the thread waits in a host call or for a
/// processor. So the end of an epoch only leads to a check. The thread's CPU clock decides,
/// and the guest gets more epochs for the time that is left.
#[derive(Debug)]
pub(crate) struct RunTime {
    cpu_limit: Duration,
    /// The clock of the task, if the instance has no thread to itself.
    task_clock: Option<Arc<TaskClock>>,
    /// The end of the wall time, and the limit that it comes from; `None` while there is no
    /// request.
    wall_time: Option<(Instant, Duration)>,
    /// The thread's CPU clock when the instance began; `None` until the first check.
    cpu_begin: Option<Duration>,
    /// The number of host calls so far.
    host_calls: u32,
    last_check: Option<Instant>,
}

/// The result of a check that found no limit reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimeLeft {
    /// The time until the next check.
    pub next_check: Duration,
    /// Set if the request is a long one.
    pub is_long: bool,
}

impl TimeLeft {
    /// Returns the epochs until the next check: at least one.
    pub(crate) fn epochs(self) -> u64 {
        let epochs = self.next_check.as_nanos().div_ceil(TICK.as_nanos());
        // The engine adds this to its epoch counter: a limit of centuries must not overflow
        // that.
        u64::try_from(epochs).unwrap_or(u64::MAX).clamp(1, u64::from(u32::MAX))
    }
}

impl RunTime {
    pub(crate) fn new(cpu_limit: Duration) -> Self {
        RunTime {
            cpu_limit,
            task_clock: None,
            wall_time: None,
            cpu_begin: None,
            host_calls: 0,
            last_check: None,
        }
    }

    /// Begins to measure CPU time anew.
    pub(crate) fn restart_cpu_time(&mut self) {
        let (wall_time, task_clock) = (self.wall_time, self.task_clock.take());
        // The clock of a task begins with its request.
        let cpu_begin = task_clock.as_ref().map(|_| Duration::ZERO);
        *self = RunTime { task_clock, wall_time, cpu_begin, ..RunTime::new(self.cpu_limit) };
    }

    /// Has CPU time measured by the clock of a task.
    pub(crate) fn set_task_clock(&mut self, clock: Arc<TaskClock>) {
        self.task_clock = Some(clock);
    }

    /// Sets the end of the wall time, and the limit that it comes from.
    pub(crate) fn set_wall_time(&mut self, wall_time: Option<(Instant, Duration)>) {
        self.wall_time = wall_time;
    }

    /// Counts a host call that returns, and returns `true` if a check is due. Few requests
    /// call the host often enough for this to read a clock.
    pub(crate) fn is_check_due(&mut self) -> bool {
        self.host_calls = self.host_calls.wrapping_add(1);
        if !self.host_calls.is_multiple_of(CALLS_BETWEEN_CHECKS) {
            return false;
        }
        let now = Instant::now();
        now.duration_since(*self.last_check.get_or_insert(now)) >= TICK
    }

    /// Checks the CPU time and the wall time.
    ///
    /// # Errors
    ///
    /// One of them is used up: the host ends the guest.
    pub(crate) fn check(&mut self) -> Result<TimeLeft, Kill> {
        let now = Instant::now();
        self.last_check = Some(now);
        let wall_left = match self.wall_time {
            Some((end, limit)) if now >= end => return Err(Kill::WallTime { limit }),
            Some((end, _)) => end.saturating_duration_since(now),
            None => Duration::MAX,
        };
        let cpu_left = self.cpu_time_left()?;
        let is_long = self.cpu_limit.saturating_sub(cpu_left) >= LONG;
        let next_check = if is_long { cpu_left } else { cpu_left.min(TICK) };
        Ok(TimeLeft { next_check: next_check.min(wall_left), is_long })
    }

    /// Returns the CPU time that is left.
    ///
    /// To read the thread's CPU clock costs as much as a tenth of an instance's creation. So
    /// the first reading is at the end of the first epoch, which few requests live to see.
    /// The time until then counts as one epoch: except for some host calls, the guest cannot
    /// have used more.
    fn cpu_time_left(&mut self) -> Result<Duration, Kill> {
        let now = self
            .task_clock
            .as_ref()
            .map_or_else(thread_cpu_time, |clock| clock.time(CpuTimes::Read));
        let begin = *self.cpu_begin.get_or_insert_with(|| now.saturating_sub(TICK));
        let left = self.cpu_limit.saturating_sub(now.saturating_sub(begin));
        if left.is_zero() {
            return Err(Kill::CpuTime { limit: self.cpu_limit });
        }
        Ok(left)
    }
}

/// Returns the CPU time that this thread has used.
pub(crate) fn thread_cpu_time() -> Duration {
    duration(clock_gettime(ClockId::ThreadCPUTime))
}

fn duration(time: Timespec) -> Duration {
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Uses this much CPU time of the thread.
    fn compute(time: Duration) {
        let begun = thread_cpu_time();
        while thread_cpu_time().saturating_sub(begun) < time {}
    }

    #[test]
    fn a_measurement_is_at_least_what_was_used_and_at_most_the_time_that_has_passed() {
        for time in [Duration::ZERO, Duration::from_millis(2), Duration::from_millis(5)] {
            let passed = Instant::now();
            let stopwatch = Stopwatch::start();
            let used = thread_cpu_time();
            compute(time);
            let used = thread_cpu_time().saturating_sub(used);
            let measured = Duration::from_nanos(stopwatch.nanoseconds());
            // The two clocks may differ in their speed.
            assert!(measured >= used.mul_f64(0.99), "{measured:?} of {used:?}");
            assert!(measured <= passed.elapsed());
        }
    }

    #[test]
    fn the_first_measurement_has_nothing_of_what_the_thread_has_used_before() {
        const BEFORE: Duration = Duration::from_millis(40);
        let measured = thread::spawn(|| {
            compute(BEFORE);
            let stopwatch = Stopwatch::start();
            // So much time passes, and no CPU time.
            thread::sleep(2 * BEFORE);
            Duration::from_nanos(stopwatch.nanoseconds())
        });
        assert!(measured.join().unwrap() < BEFORE);
    }

    #[test]
    fn estimates_of_short_times_are_together_what_was_used() {
        const ESTIMATES: u32 = 2_000;
        let (begun, mut measured) = (thread_cpu_time(), Duration::ZERO);
        for _ in 0..ESTIMATES {
            let stopwatch = Stopwatch::start();
            // Some 60 us pass, of which the thread uses a tenth.
            thread::sleep(Duration::from_nanos(1));
            measured += Duration::from_nanos(stopwatch.estimate());
        }
        let used = thread_cpu_time().saturating_sub(begun);
        // What is estimated between two readings may be too high.
        let most = used + Duration::from_nanos(2 * BETWEEN_READINGS);
        assert!(measured <= most, "{measured:?} of {used:?}");
        let stopwatch = Stopwatch::start();
        compute(Duration::from_millis(50));
        assert!(stopwatch.estimate() >= 45_000_000);
    }

    #[test]
    fn a_forked_process_has_a_clock_of_its_own() {
        let (too_high, left, estimated) = (1 << 40, 1 << 40, 1 << 40);
        LAST_READING.set(Some(Reading { cpu_time: u64::MAX, at: 0, too_high, left, estimated }));
        let stopwatch = Stopwatch::start();
        let used = thread_cpu_time();
        compute(Duration::from_millis(1));
        let used = nanoseconds(thread_cpu_time().saturating_sub(used));
        assert!(stopwatch.nanoseconds() >= used / 2);
    }
}
