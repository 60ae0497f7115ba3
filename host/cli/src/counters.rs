//! What is counted while serving, by all processes of a server together.

use std::fmt::Write;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::io::Errno;
use rustix::process::{Pid, getpid, test_kill_process};
use serde_json::{Map, Value, json};
use socketserver::{HandlerError, Reason, Request, SharedCounters};
use socketserver_sandbox::HandlerCounters;

use crate::args::LogFormat;
use crate::log_rate;

/// Why a client can be refused: the words of `Refusal`.
const RULES: &[&str] = &[
    "deny",
    "peer",
    "allow",
    "reset",
    "hours",
    "load",
    "source-rate",
    "per-source",
    "rate",
    "pause",
    OTHER,
];

/// Why a datagram can be dropped before it is a request: the words of `DropReason`.
const DROPS: &[&str] = &["own-address", "no-room", OTHER];

/// In the place of a word that is not in one of these lists.
const OTHER: &str = "other";

/// More workers at a time, with those that are about to end, are not counted.
const WORKERS: usize = 2048;

// Where each counter is. The process that listens, with its children that serve one
// request each, and after it each worker has a row to itself: as long as a line of a
// processor's cache, which those that write to it would else take from each other.
const ROW: usize = 8;
const ACCEPTED: usize = 0;
const IN_FLIGHT: usize = 1;
const DONE: usize = 2;
const RECEIVED: usize = 3;
const SENT: usize = 4;
/// Which process the worker is; zero for none.
const WORKER: usize = 5;

// The rest is everybody's.
const INSTANCES: usize = ROW * (1 + WORKERS);
const LOG_BYTES: usize = INSTANCES + 1;
const ACCEPT_ERRORS: usize = LOG_BYTES + 1;
const FORKED: usize = ACCEPT_ERRORS + 1;
const FAILED: usize = FORKED + 1;
const REFUSED: usize = FAILED + Reason::ALL.len();
const DROPPED: usize = REFUSED + RULES.len();
const ALL: usize = DROPPED + DROPS.len();

/// Where a counter of that worker is, or of the process that listens, which is 0.
const fn of(worker: usize, counter: usize) -> usize {
    ROW * worker + counter
}

/// The counters of a server.
pub struct Counters {
    shared: Arc<SharedCounters>,
    /// Which worker this process is, from 1 on; 0 if it is none.
    worker: AtomicUsize,
}

impl HandlerCounters for Counters {
    fn instance_used(&self) {
        self.shared.add(INSTANCES, 1);
    }

    fn log_limit_reached(&self) {
        self.shared.add(LOG_BYTES, 1);
    }
}

impl Counters {
    /// All of them zero.
    ///
    /// Errors: there is no memory for them.
    pub fn new() -> io::Result<Self> {
        let shared = Arc::new(SharedCounters::new(ALL)?);
        Ok(Counters { shared, worker: AtomicUsize::new(0) })
    }

    /// A request begins.
    pub fn accepted(&self) {
        self.shared.add(self.own(ACCEPTED), 1);
        self.shared.add(self.own(IN_FLIGHT), 1);
    }

    /// A client is not served, by that rule.
    pub fn refused(&self, rule: &str) {
        self.shared.add(REFUSED + place(RULES, rule), 1);
    }

    /// So many datagrams are dropped, for that reason.
    pub fn dropped(&self, count: u64, reason: &str) {
        self.shared.add(DROPPED + place(DROPS, reason), count);
    }

    /// A request is over.
    pub fn finished(&self, request: &Request, error: Option<&HandlerError>) {
        self.shared.add(self.own(RECEIVED), request.received());
        self.shared.add(self.own(SENT), request.sent());
        self.over(error.map(HandlerError::reason));
    }

    /// The process of a request is gone, and with it what it had counted.
    pub fn child_failed(&self, error: &HandlerError) {
        self.over(Some(error.reason()));
    }

    fn over(&self, reason: Option<Reason>) {
        let failed = reason.map(|reason| FAILED + reason as usize);
        self.shared.add(failed.unwrap_or_else(|| self.own(DONE)), 1);
        self.shared.decrement(self.own(IN_FLIGHT));
    }

    /// No request could be taken.
    pub fn accept_failed(&self) {
        self.shared.add(ACCEPT_ERRORS, 1);
    }

    /// This process was forked just now, as a worker or for one request.
    pub fn forked(&self, is_worker: bool) {
        self.shared.add(FORKED, 1);
        if is_worker {
            let pid = u64::from(getpid().as_raw_nonzero().get().unsigned_abs());
            let free =
                (1..=WORKERS).find(|worker| self.shared.replace(of(*worker, WORKER), 0, pid));
            self.worker.store(free.unwrap_or(0), Ordering::Relaxed);
        }
    }

    /// Whether this process is a worker. It may not look at other processes, and
    /// leaves it to their parent to print.
    pub fn of_worker(&self) -> bool {
        self.worker() != 0
    }

    fn worker(&self) -> usize {
        self.worker.load(Ordering::Relaxed)
    }

    /// Where a counter of this process is.
    fn own(&self, counter: usize) -> usize {
        of(self.worker(), counter)
    }

    /// Takes note of workers that are gone, and of the requests that ended with
    /// them.
    pub fn sweep(&self) {
        if self.of_worker() {
            return;
        }
        for worker in 1..=WORKERS {
            let pid = self.shared.get(of(worker, WORKER));
            if pid == 0 || is_alive(pid) {
                continue;
            }
            // In one step: whoever broke out of a sandbox can write any number here.
            let left = self.shared.get(of(worker, IN_FLIGHT));
            if self.shared.replace(of(worker, IN_FLIGHT), left, 0) {
                self.shared.add(FAILED + Reason::Worker as usize, left);
            }
            self.shared.replace(of(worker, WORKER), pid, 0);
        }
    }

    /// Prints them to standard error, as the log is written: for people or for
    /// programs. They were asked for, so no limit of the log holds for them.
    pub fn print(&self, format: LogFormat) {
        let text = match format {
            LogFormat::Text => self.to_text(),
            LogFormat::Json => json!({ "counters": self.to_json() }).to_string() + "\n",
        };
        // There is nobody to tell if that cannot be written to.
        let _ = log_rate::unlimited().write_all(text.as_bytes());
    }

    /// All of them, for programs.
    fn to_json(&self) -> Value {
        self.sweep();
        let get = |index| self.shared.get(index);
        let all = |counter| {
            let of_each = (0..=WORKERS).map(|worker| get(of(worker, counter)));
            of_each.fold(0, u64::wrapping_add)
        };
        let workers = (1..=WORKERS).filter(|worker| get(of(*worker, WORKER)) != 0).count();
        let reasons: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        let failed = by_word(&reasons, |place| get(FAILED + place));
        let refused = by_word(RULES, |place| get(REFUSED + place));
        let dropped = by_word(DROPS, |place| get(DROPPED + place));
        json!({
            "requests": {
                "accepted": all(ACCEPTED),
                "in_flight": all(IN_FLIGHT),
                "done": all(DONE),
                "failed": failed,
                "refused": refused,
            },
            "datagrams_dropped": dropped,
            "instances": get(INSTANCES),
            "bytes": { "received": all(RECEIVED), "sent": all(SENT) },
            "children": { "forked": get(FORKED), "workers": workers },
            "accept_errors": get(ACCEPT_ERRORS),
            "logs_cut": get(LOG_BYTES),
        })
    }

    /// All of them, for people: a line each.
    fn to_text(&self) -> String {
        let mut text = String::new();
        lines(&mut text, 0, &self.to_json());
        text
    }
}

/// The counters of words that were counted.
fn by_word(words: &[&str], get: impl Fn(usize) -> u64) -> Map<String, Value> {
    let counted = words.iter().enumerate().map(|(place, word)| (word, get(place)));
    counted.filter(|(_, n)| *n > 0).map(|(word, n)| ((*word).to_owned(), n.into())).collect()
}

fn lines(text: &mut String, depth: usize, value: &Value) {
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
        lines(text, depth + 1, value);
    }
}

/// The place of `word`, or of the last word, which stands for all others.
fn place(words: &[&str], word: &str) -> usize {
    words.iter().position(|known| *known == word).unwrap_or(words.len() - 1)
}

/// Whether there is such a process, be it one that may not be signalled.
fn is_alive(pid: u64) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_shown() {
        let counters = Counters::new().unwrap();
        let error = |reason| HandlerError::new(reason, "why");
        for _ in 0..5 {
            counters.accepted();
        }
        counters.over(None);
        counters.child_failed(&error(Reason::Child));
        counters.child_failed(&error(Reason::CpuTime));
        counters.refused("deny");
        counters.dropped(3, "own-address");
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
        let text = counters.to_text();
        assert!(text.contains("\n    cpu-time             1\n"), "{text}");
        assert!(text.contains("\n  in flight              2\n"), "{text}");
    }

    #[test]
    fn what_a_dead_worker_had_in_flight_has_failed() {
        let counters = Counters::new().unwrap();
        // No process has that number.
        assert!(counters.shared.replace(of(7, WORKER), 0, u64::from(u32::MAX / 2)));
        counters.shared.add(of(7, IN_FLIGHT), 3);
        let shown = counters.to_json();
        assert_eq!(shown["requests"]["failed"], json!({ "worker": 3 }));
        assert_eq!(shown["requests"]["in_flight"], 0);
        assert_eq!(shown["children"]["workers"], 0);
    }

    #[test]
    fn numbers_that_a_process_made_up_are_wrong_and_hold_nobody_up() {
        let counters = Counters::new().unwrap();
        assert!(counters.shared.replace(of(7, WORKER), 0, u64::from(u32::MAX / 2)));
        for worker in [7, 8, 9] {
            counters.shared.add(of(worker, IN_FLIGHT), u64::MAX);
        }
        counters.shared.add(FAILED, 1);
        let (done, shown) = std::sync::mpsc::channel();
        std::thread::spawn(move || done.send(counters.to_text()));
        let shown = shown.recv_timeout(std::time::Duration::from_mins(1)).unwrap();
        assert!(shown.contains(&format!("worker               {}\n", u64::MAX)), "{shown}");
    }

    #[test]
    fn every_rule_has_a_counter() {
        for rule in socketserver::access::Refusal::ALL {
            assert!(RULES.contains(&rule.as_str()), "{}", rule.as_str());
        }
    }

    #[test]
    fn a_worker_counts_for_itself() {
        let counters = Counters::new().unwrap();
        counters.forked(true);
        counters.accepted();
        let shown = counters.to_json();
        assert_eq!(shown["children"], json!({ "forked": 1, "workers": 1 }));
        assert_eq!(shown["requests"]["in_flight"], 1);
        assert_eq!(counters.shared.get(of(1, IN_FLIGHT)), 1);
    }
}
