//! The counters of a server, which all of its processes share.
//!
//! | file | content |
//! |---|---|
//! | this one | counting |
//! | `shape` | the memory that the processes share |
//! | `numbers`, `histogram` | its parts |
//! | `in_flight`, `failures` | the requests in flight, and the last failures: who they are |
//! | `totals` | the numbers at one time |

mod failures;
mod histogram;
mod in_flight;
mod numbers;
mod shape;
mod totals;

use std::fmt::Write;
use std::io::{self, Write as _};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, getpid, test_kill_process};
use serde_json::{Value, json};
use socketserver::access::Refusal;
use socketserver::{Address, DropReason, HandlerError, Reason, Request, Shared};
use socketserver_sandbox::HandlerCounters;

use super::LogFormat;
use super::log_writer;
use histogram::{FIRST_SIZE, FIRST_TIME};
use in_flight::SharedTable;
use numbers::{add, decrement, get, replace, set};
use shape::{ProcessCounters, ProcessUsage, Shape};

pub use failures::Failure;
pub use histogram::Histogram;
pub use in_flight::InFlight;
pub use numbers::Counted;
pub use totals::Totals;

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
    (
        "connections_waiting",
        "connections that wait in the loop and are no requests yet, with `--defer-accept` or `--proxy-from`",
    ),
    ("instances", "instances that requests used"),
    ("bytes.received", "bytes that requests received which have ended"),
    ("bytes.sent", "bytes that requests sent which have ended"),
    ("children.forked", "processes that were forked, for requests or as workers"),
    ("children.workers", "workers that run now"),
    ("accept_errors", "failed attempts to take a request from a listening socket"),
    ("logs_cut", "requests whose log was cut at `--log-bytes`"),
];

/// The counters of a server.
#[derive(Debug)]
pub struct Counters {
    shared: Shared<Shape>,
    /// Set in a worker: the index of its counters, if there were free ones.
    worker: OnceLock<Option<usize>>,
    /// Set if another process looks at the counters. Only then are requests in flight, failures
    /// and usage kept.
    is_watched: bool,
}

/// The phases of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It does not serve yet.
    Starting,
    /// It serves.
    Serving,
    /// It takes no more clients, and ends.
    Draining,
}

impl Counters {
    /// Makes counters that are zero, and that no other program sees.
    ///
    /// # Errors
    ///
    /// The machine has no memory for them.
    pub fn new() -> io::Result<Self> {
        Ok(Counters { shared: Shared::zeroed()?, worker: OnceLock::new(), is_watched: false })
    }

    /// Makes a file for counters that are zero, which other programs may open.
    ///
    /// # Errors
    ///
    /// The machine has no memory for it.
    pub fn file() -> io::Result<OwnedFd> {
        Shared::<Shape>::file()
    }

    /// Returns the counters in a file.
    ///
    /// # Errors
    ///
    /// The file is none that [`file`](Self::file) has made, or cannot be mapped.
    pub fn in_file(file: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Counters { shared: Shared::in_file(file)?, worker: OnceLock::new(), is_watched: true })
    }

    /// Counts a request that begins.
    pub fn accepted(self: &Arc<Self>, request: &Request, client: &Address) {
        add(&self.own().accepted, 1);
        add(&self.own().in_flight, 1);
        if self.is_watched {
            let worker = self.is_in_worker().then(|| get(&self.own().worker));
            if let Some(tracked) = SharedTable::enter(self, worker.unwrap_or(0), request, client) {
                request.keep(tracked);
            }
        }
    }

    /// Sets the number of connections of this process that wait in its loop.
    pub fn connections_wait(&self, count: usize) {
        let worker = self.worker.get().copied().flatten();
        let own = worker.and_then(|index| self.shared.worker_waiting.get(index));
        set(own.unwrap_or(&self.shared.listener_waiting), count as u64);
    }

    /// Returns true if another process looks at the counters.
    pub fn is_watched(&self) -> bool {
        self.is_watched
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
        if self.is_watched {
            let usage = self.own_usage();
            usage.duration.count(microseconds(request.begun().elapsed()), FIRST_TIME);
            if let Some(used) = request.usage() {
                usage.cpu_time.count(microseconds(used.cpu_time), FIRST_TIME);
                usage.memory.count(used.memory, FIRST_SIZE);
            }
        }
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

    /// Keeps a failure, if another process looks at the counters.
    pub fn failed(&self, client: &Address, error: &HandlerError) {
        if self.is_watched {
            self.shared.failures.keep(client, error);
        }
    }

    /// Sets the number of requests that the server can have at once, from which on it serves.
    pub fn serves(&self, capacity: usize) {
        set(&self.shared.capacity, capacity as u64);
        set(&self.shared.phase, Phase::Serving as u64);
    }

    /// Records that the server takes no more clients.
    pub fn drains(&self) {
        set(&self.shared.phase, Phase::Draining as u64);
    }

    /// Returns the number of requests that the server can have at once.
    pub fn capacity(&self) -> u64 {
        get(&self.shared.capacity)
    }

    /// Returns the phase of the server.
    pub fn phase(&self) -> Phase {
        let phase = get(&self.shared.phase);
        let all = [Phase::Serving, Phase::Draining];
        all.into_iter().find(|each| *each as u64 == phase).unwrap_or(Phase::Starting)
    }

    /// Returns the numbers of all processes.
    pub fn totals(&self) -> Totals {
        Totals::of(&self.shared).with_usage(&self.shared)
    }

    /// Returns the requests that have been in flight for the longest time.
    pub fn oldest_in_flight(&self) -> Vec<InFlight> {
        self.shared.table.oldest()
    }

    /// Returns the last failures, the last one first.
    pub fn last_failures(&self) -> Vec<Failure> {
        self.shared.failures.last()
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
            if let Some(index) = free {
                self.shared.used.fetch_max(index as u64 + 1, Ordering::Relaxed);
            }
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

    fn own_usage(&self) -> &ProcessUsage {
        let worker = self.worker.get().copied().flatten();
        let own = worker.and_then(|index| self.shared.worker_usage.get(index));
        own.unwrap_or(&self.shared.listener_usage)
    }

    /// Frees the counters of workers that have ended, and counts their requests in flight
    /// as failed.
    pub fn sweep(&self) {
        if self.is_in_worker() {
            return;
        }
        for (row, waiting) in self.shared.used_workers().iter().zip(&self.shared.worker_waiting) {
            let pid = get(&row.worker);
            if pid == 0 || is_alive(pid) {
                continue;
            }
            // In one step: native code that escaped from a sandbox can write any number.
            let left = get(&row.in_flight);
            if replace(&row.in_flight, left, 0) {
                Reason::Worker.count(&self.shared.failed, left);
            }
            set(waiting, 0);
            self.shared.table.remove_worker(pid);
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
        Totals::of(&self.shared).to_json()
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

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
