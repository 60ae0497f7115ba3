//! The counters of a server, which all of its processes share.

use std::fmt::Write;
use std::io::{self, Write as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use rustix::io::Errno;
use rustix::process::{Pid, getpid, test_kill_process};
use serde_json::{Map, Value, json};
use socketserver::access::Refusal;
use socketserver::{DropReason, HandlerError, Reason, Request, Shared, shared_data};
use socketserver_sandbox::HandlerCounters;

use super::LogFormat;
use super::log_writer;

/// The number of workers that have counters of their own at one time, including those that
/// are about to end. Further workers count with the process that listens.
const MAX_WORKERS: usize = 2048;

/// The names of the counters, and what each counts. The names with `*` stand for a counter for
/// each reason or rule.
#[cfg(test)]
pub const EXPLANATIONS: &[(&str, &str)] = &[
    ("requests.accepted", "requests that passed the rules of who is served"),
    ("requests.in_flight", "requests that run now"),
    ("requests.done", "requests that ended without an error"),
    ("requests.failed.*", "requests that failed, by [reason](reasons.md#why-a-request-failed)"),
    (
        "requests.refused.*",
        "clients that were refused, by [rule](reasons.md#why-a-client-was-refused)",
    ),
    (
        "datagrams_dropped.*",
        "datagrams that were dropped before they were requests, by [reason](reasons.md#why-a-datagram-was-dropped)",
    ),
    ("instances", "instances that requests used"),
    ("bytes.received", "bytes that requests received which have ended"),
    ("bytes.sent", "bytes that requests sent which have ended"),
    ("children.forked", "processes that were forked, for requests or as workers"),
    ("children.workers", "workers that run now"),
    ("accept_errors", "failed attempts to take a request from a listening socket"),
    ("logs_cut", "requests whose log was cut at `--log-bytes`"),
];

shared_data! {
    /// The counters of all processes.
    #[derive(Debug)]
    struct Shape {
        /// The process that listens, with its children that serve one request each.
        listener: CachePadded<ProcessCounters>,
        workers: [CachePadded<ProcessCounters>; MAX_WORKERS],
        forked: AtomicU64,
        accept_errors: AtomicU64,
        failed: [AtomicU64; Reason::ALL.len()],
        refused: [AtomicU64; Refusal::ALL.len()],
        dropped: [AtomicU64; DropReason::ALL.len()],
    }
}

shared_data! {
    /// The counters of one process that requests change. They have cache lines to themselves,
    /// so that processes do not take the lines from each other.
    #[derive(Debug)]
    struct ProcessCounters {
        accepted: AtomicU64,
        in_flight: AtomicU64,
        done: AtomicU64,
        received: AtomicU64,
        sent: AtomicU64,
        instances: AtomicU64,
        logs_cut: AtomicU64,
        /// The process id of the worker; zero if these counters are free.
        worker: AtomicU64,
    }
}

/// An enum that has a counter for each of its variants.
trait Counted: Copy + Eq + 'static {
    const ALL: &'static [Self];

    /// Returns the name of the counter.
    fn name(self) -> &'static str;

    /// Returns the counter of this variant.
    fn counter(self, counters: &[AtomicU64]) -> Option<&AtomicU64> {
        let mut pairs = Self::ALL.iter().zip(counters);
        pairs.find(|(variant, _)| **variant == self).map(|(_, counter)| counter)
    }

    /// Adds to the counter of this variant.
    fn count(self, counters: &[AtomicU64], number: u64) {
        if let Some(counter) = self.counter(counters) {
            add(counter, number);
        }
    }

    /// Returns the counters that are not zero, by their names.
    fn counted(counters: &[AtomicU64]) -> Map<String, Value> {
        let pairs =
            Self::ALL.iter().zip(counters).map(|(variant, counter)| (variant, get(counter)));
        let counted = pairs.filter(|(_, number)| *number > 0);
        counted.map(|(variant, number)| (variant.name().to_owned(), number.into())).collect()
    }
}

impl Counted for Reason {
    const ALL: &'static [Reason] = Reason::ALL;

    fn name(self) -> &'static str {
        self.as_str()
    }
}

impl Counted for Refusal {
    const ALL: &'static [Refusal] = &Refusal::ALL;

    fn name(self) -> &'static str {
        self.as_str()
    }
}

impl Counted for DropReason {
    const ALL: &'static [DropReason] = &DropReason::ALL;

    fn name(self) -> &'static str {
        self.as_str()
    }
}

/// The counters of a server.
#[derive(Debug)]
pub struct Counters {
    shared: Shared<Shape>,
    /// Set in a worker: the index of its counters, if there were free ones.
    worker: OnceLock<Option<usize>>,
}

impl Counters {
    /// Makes counters that are zero.
    ///
    /// # Errors
    ///
    /// The machine has no memory for them.
    pub fn new() -> io::Result<Self> {
        Ok(Counters { shared: Shared::zeroed()?, worker: OnceLock::new() })
    }

    /// Counts a request that begins.
    pub fn accepted(&self) {
        add(&self.own().accepted, 1);
        add(&self.own().in_flight, 1);
    }

    /// Counts a client that `rule` refuses.
    pub fn refused(&self, rule: Refusal) {
        rule.count(&self.shared.refused, 1);
    }

    /// Counts datagrams that are dropped.
    pub fn dropped(&self, count: u64, reason: DropReason) {
        reason.count(&self.shared.dropped, count);
    }

    /// Counts a request that has ended.
    pub fn finished(&self, request: &Request, error: Option<&HandlerError>) {
        add(&self.own().received, request.received());
        add(&self.own().sent, request.sent());
        self.ended(error.map(HandlerError::reason));
    }

    /// Counts a request whose process ended before it could count the end itself.
    pub fn child_failed(&self, error: &HandlerError) {
        self.ended(Some(error.reason()));
    }

    fn ended(&self, failure: Option<Reason>) {
        match failure {
            Some(reason) => reason.count(&self.shared.failed, 1),
            None => add(&self.own().done, 1),
        }
        decrement(&self.own().in_flight);
    }

    /// Counts a failed attempt to take a request.
    pub fn accept_failed(&self) {
        add(&self.shared.accept_errors, 1);
    }

    /// Counts this process, which was forked just now, as a worker or for one request.
    pub fn forked(&self, is_worker: bool) {
        add(&self.shared.forked, 1);
        if is_worker {
            let pid = u64::from(getpid().as_raw_nonzero().get().unsigned_abs());
            let free = self.shared.workers.iter().position(|row| replace(&row.worker, 0, pid));
            self.worker.get_or_init(|| free);
        }
    }

    /// Returns whether this process is a worker. A worker may not look at other processes,
    /// and leaves printing to its parent.
    pub fn is_in_worker(&self) -> bool {
        self.worker.get().is_some()
    }

    /// Returns the counters of this process.
    fn own(&self) -> &ProcessCounters {
        let worker = self.worker.get().copied().flatten();
        worker.and_then(|index| self.shared.workers.get(index)).unwrap_or(&self.shared.listener)
    }

    /// Frees the counters of workers that have ended, and counts their requests in flight
    /// as failed.
    pub fn sweep(&self) {
        if self.is_in_worker() {
            return;
        }
        for row in &self.shared.workers {
            let pid = get(&row.worker);
            if pid == 0 || is_alive(pid) {
                continue;
            }
            // In one step: native code that escaped from a sandbox can write any number.
            let left = get(&row.in_flight);
            if replace(&row.in_flight, left, 0) {
                Reason::Worker.count(&self.shared.failed, left);
            }
            replace(&row.worker, pid, 0);
        }
    }

    /// Prints the counters to standard error in the format of the log. The operator asked
    /// for them, so the limit of the log does not apply.
    pub fn print(&self, format: LogFormat) {
        let text = match format {
            LogFormat::Text => self.to_text(),
            LogFormat::Json => json!({ "counters": self.to_json() }).to_string() + "\n",
        };
        // A failure cannot be reported anywhere else.
        let _ = log_writer::unlimited().write_all(text.as_bytes());
    }

    fn to_json(&self) -> Value {
        self.sweep();
        let shared = &self.shared;
        let sum = |counter: fn(&ProcessCounters) -> &AtomicU64| {
            let rows = std::iter::once(&shared.listener).chain(&shared.workers);
            rows.fold(0, |sum: u64, row| sum.wrapping_add(get(counter(row))))
        };
        let workers = shared.workers.iter().filter(|row| get(&row.worker) != 0).count();
        json!({
            "requests": {
                "accepted": sum(|row| &row.accepted),
                "in_flight": sum(|row| &row.in_flight),
                "done": sum(|row| &row.done),
                "failed": Reason::counted(&shared.failed),
                "refused": Refusal::counted(&shared.refused),
            },
            "datagrams_dropped": DropReason::counted(&shared.dropped),
            "instances": sum(|row| &row.instances),
            "bytes": { "received": sum(|row| &row.received), "sent": sum(|row| &row.sent) },
            "children": { "forked": get(&shared.forked), "workers": workers },
            "accept_errors": get(&shared.accept_errors),
            "logs_cut": sum(|row| &row.logs_cut),
        })
    }

    /// Returns a line for each counter.
    fn to_text(&self) -> String {
        let mut text = String::new();
        write_lines(&mut text, 0, &self.to_json());
        text
    }
}

impl HandlerCounters for Counters {
    fn instance_used(&self) {
        add(&self.own().instances, 1);
    }

    fn log_limit_reached(&self) {
        add(&self.own().logs_cut, 1);
    }
}

/// Adds to a counter, which wraps around after 2<sup>64</sup>.
fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}

/// Takes one from a counter that is not zero.
fn decrement(counter: &AtomicU64) {
    let less_one = |now: u64| now.checked_sub(1);
    // An error says that the counter is zero.
    let _ = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less_one);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Sets a counter to `new` if it is `current`, and returns whether it was.
fn replace(counter: &AtomicU64, current: u64, new: u64) -> bool {
    counter.compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
}

fn write_lines(text: &mut String, depth: usize, value: &Value) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let indent = 2 * depth;
        let name = name.replace('_', " ");
        // Writing to a String does not fail.
        let _ = match value.as_object() {
            None => writeln!(text, "{:indent$}{name:<width$} {value}", "", width = 24 - indent),
            Some(inner) if inner.is_empty() => {
                writeln!(text, "{:indent$}{name:<width$} 0", "", width = 24 - indent)
            }
            Some(_) => writeln!(text, "{:indent$}{name}", ""),
        };
        write_lines(text, depth + 1, value);
    }
}

/// Returns whether there is such a process, also if this process may not signal it.
fn is_alive(pid: u64) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process id that no process has.
    const NO_PROCESS: u64 = u32::MAX as u64 / 2;

    #[test]
    fn what_is_counted_is_shown() {
        let counters = Counters::new().unwrap();
        let error = |reason| HandlerError::new(reason, "why");
        for _ in 0..5 {
            counters.accepted();
        }
        counters.ended(None);
        counters.child_failed(&error(Reason::Child));
        counters.child_failed(&error(Reason::CpuTime));
        counters.refused(Refusal::Deny);
        counters.dropped(3, DropReason::OwnAddress);
        counters.instance_used();
        let shown = counters.to_json();
        assert_eq!(
            shown["requests"],
            json!({
                "accepted": 5, "in_flight": 2, "done": 1,
                "failed": { "child": 1, "cpu-time": 1 },
                "refused": { "deny": 1 },
            })
        );
        assert_eq!(shown["datagrams_dropped"], json!({ "own-address": 3 }));
        assert_eq!(shown["instances"], 1);
        let text = counters.to_text();
        assert!(text.contains("\n    cpu-time             1\n"), "{text}");
        assert!(text.contains("\n  in flight              2\n"), "{text}");
    }

    #[test]
    fn the_requests_in_flight_of_a_dead_worker_have_failed() {
        let counters = Counters::new().unwrap();
        let row = &counters.shared.workers[7];
        assert!(replace(&row.worker, 0, NO_PROCESS));
        add(&row.in_flight, 3);
        let shown = counters.to_json();
        assert_eq!(shown["requests"]["failed"], json!({ "worker": 3 }));
        assert_eq!(shown["requests"]["in_flight"], 0);
        assert_eq!(shown["children"]["workers"], 0);
    }

    #[test]
    fn numbers_that_a_process_made_up_are_wrong_and_block_nothing() {
        let counters = Counters::new().unwrap();
        assert!(replace(&counters.shared.workers[7].worker, 0, NO_PROCESS));
        for row in &counters.shared.workers[7..10] {
            add(&row.in_flight, u64::MAX);
        }
        Reason::Trap.count(&counters.shared.failed, 1);
        let (done, shown) = std::sync::mpsc::channel();
        std::thread::spawn(move || done.send(counters.to_text()));
        let shown = shown.recv_timeout(std::time::Duration::from_mins(1)).unwrap();
        assert!(shown.contains(&format!("worker               {}\n", u64::MAX)), "{shown}");
    }

    #[test]
    fn each_variant_has_a_counter_of_its_own() {
        fn check<T: Counted + std::fmt::Debug>(counters: &[AtomicU64]) {
            assert_eq!(T::ALL.len(), counters.len());
            for variant in T::ALL {
                variant.count(counters, 1);
            }
            assert!(counters.iter().all(|counter| get(counter) == 1));
            assert_eq!(T::counted(counters).len(), T::ALL.len(), "names are unique");
        }
        let counters = Counters::new().unwrap();
        check::<Reason>(&counters.shared.failed);
        check::<Refusal>(&counters.shared.refused);
        check::<DropReason>(&counters.shared.dropped);
    }

    #[test]
    fn each_counter_is_explained() {
        fn names(prefix: &str, value: &Value, found: &mut Vec<String>) {
            match value.as_object() {
                Some(inner) if inner.is_empty() => found.push(format!("{prefix}*")),
                Some(inner) => {
                    for (name, value) in inner {
                        let separator = if value.is_object() { "." } else { "" };
                        names(&format!("{prefix}{name}{separator}"), value, found);
                    }
                }
                None => found.push(prefix.to_owned()),
            }
        }
        let mut counted = Vec::new();
        names("", &Counters::new().unwrap().to_json(), &mut counted);
        let mut explained: Vec<_> = EXPLANATIONS.iter().map(|(name, _)| *name).collect();
        counted.sort();
        explained.sort_unstable();
        assert_eq!(counted, explained);
    }

    #[test]
    fn a_worker_counts_in_its_own_cache_lines() {
        let counters = Counters::new().unwrap();
        counters.forked(true);
        counters.accepted();
        let shown = counters.to_json();
        assert_eq!(shown["children"], json!({ "forked": 1, "workers": 1 }));
        assert_eq!(shown["requests"]["in_flight"], 1);
        assert_eq!(get(&counters.shared.workers[0].in_flight), 1);
        assert!(size_of::<ProcessCounters>() <= 64);
        assert!(align_of::<CachePadded<ProcessCounters>>() >= 64);
    }
}
