//! The numbers of a server at one time.

use serde::Serialize;
use serde_json::{Value, json};
use socketserver::access::Refusal;
use socketserver::{DropReason, Reason};

use super::histogram::{FIRST_SIZE, FIRST_TIME, Histogram};
use super::numbers::{Counted, get, get_all};
use super::shape::{ProcessCounters, Shape};

/// The numbers of a server at one time, or of several together.
#[derive(Debug, Clone)]
pub struct Totals {
    pub accepted: u64,
    pub in_flight: u64,
    pub done: u64,
    pub received: u64,
    pub sent: u64,
    pub instances: u64,
    pub logs_cut: u64,
    pub forked: u64,
    pub workers: u64,
    pub waiting: u64,
    pub accept_errors: u64,
    /// By [`Reason`].
    pub failed: Vec<u64>,
    /// By [`Refusal`].
    pub refused: Vec<u64>,
    /// By [`DropReason`].
    pub dropped: Vec<u64>,
    pub usage: Usages,
}

/// The usage of requests that have ended.
#[derive(Debug, Clone, Serialize)]
pub struct Usages {
    /// In microseconds.
    pub duration: Histogram,
    /// In microseconds.
    pub cpu_time: Histogram,
    /// In bytes.
    pub memory: Histogram,
}

impl Totals {
    /// Returns the numbers of a server that has not counted anything.
    pub fn zero() -> Self {
        let zeros = |count| vec![0; count];
        Totals {
            accepted: 0,
            in_flight: 0,
            done: 0,
            received: 0,
            sent: 0,
            instances: 0,
            logs_cut: 0,
            forked: 0,
            workers: 0,
            waiting: 0,
            accept_errors: 0,
            failed: zeros(Reason::ALL.len()),
            refused: zeros(Refusal::ALL.len()),
            dropped: zeros(DropReason::ALL.len()),
            usage: Usages {
                duration: Histogram::new(FIRST_TIME),
                cpu_time: Histogram::new(FIRST_TIME),
                memory: Histogram::new(FIRST_SIZE),
            },
        }
    }

    /// Returns what the processes of a server have counted.
    pub(super) fn of(shared: &Shape) -> Self {
        let mut totals = Totals::zero();
        let workers = shared.used_workers();
        for row in std::iter::once(&shared.listener).chain(workers) {
            totals.add_process(row);
        }
        totals.workers = workers.iter().filter(|row| get(&row.worker) != 0).count() as u64;
        let waiting = shared.worker_waiting[..workers.len()].iter().map(get);
        totals.waiting = waiting.fold(get(&shared.listener_waiting), u64::wrapping_add);
        totals.forked = get(&shared.forked);
        totals.accept_errors = get(&shared.accept_errors);
        totals.failed = get_all(&shared.failed);
        totals.refused = get_all(&shared.refused);
        totals.dropped = get_all(&shared.dropped);
        totals
    }

    fn add_process(&mut self, row: &ProcessCounters) {
        for (own, counter) in [
            (&mut self.accepted, &row.accepted),
            (&mut self.in_flight, &row.in_flight),
            (&mut self.done, &row.done),
            (&mut self.received, &row.received),
            (&mut self.sent, &row.sent),
            (&mut self.instances, &row.instances),
            (&mut self.logs_cut, &row.logs_cut),
        ] {
            *own = own.wrapping_add(get(counter));
        }
    }

    /// Adds the usage of requests, which counts only if someone looks at it.
    pub(super) fn with_usage(mut self, shared: &Shape) -> Self {
        for usage in shared.usages() {
            self.usage.duration.add_shared(&usage.duration);
            self.usage.cpu_time.add_shared(&usage.cpu_time);
            self.usage.memory.add_shared(&usage.memory);
        }
        self
    }

    /// Adds the numbers of another server.
    pub fn add(&mut self, other: &Totals) {
        for (own, other) in [
            (&mut self.accepted, other.accepted),
            (&mut self.in_flight, other.in_flight),
            (&mut self.done, other.done),
            (&mut self.received, other.received),
            (&mut self.sent, other.sent),
            (&mut self.instances, other.instances),
            (&mut self.logs_cut, other.logs_cut),
            (&mut self.forked, other.forked),
            (&mut self.workers, other.workers),
            (&mut self.waiting, other.waiting),
            (&mut self.accept_errors, other.accept_errors),
        ] {
            *own = own.wrapping_add(other);
        }
        for (own, other) in [
            (&mut self.failed, &other.failed),
            (&mut self.refused, &other.refused),
            (&mut self.dropped, &other.dropped),
        ] {
            own.iter_mut().zip(other).for_each(|(own, other)| *own = own.wrapping_add(*other));
        }
        self.usage.duration.add(&other.usage.duration);
        self.usage.cpu_time.add(&other.usage.cpu_time);
        self.usage.memory.add(&other.usage.memory);
    }

    /// Counts the requests that are in flight as failed: their processes have ended.
    pub fn end(&mut self) {
        let at = Reason::ALL.iter().position(|reason| *reason == Reason::Worker);
        if let Some(failed) = at.and_then(|at| self.failed.get_mut(at)) {
            *failed = failed.wrapping_add(self.in_flight);
        }
        (self.in_flight, self.workers, self.waiting) = (0, 0, 0);
    }

    /// Returns the counters as an object.
    pub fn to_json(&self) -> Value {
        json!({
            "requests": {
                "accepted": self.accepted,
                "in_flight": self.in_flight,
                "done": self.done,
                "failed": Reason::to_json(&self.failed),
                "refused": Refusal::to_json(&self.refused),
            },
            "datagrams_dropped": DropReason::to_json(&self.dropped),
            "connections_waiting": self.waiting,
            "instances": self.instances,
            "bytes": { "received": self.received, "sent": self.sent },
            "children": { "forked": self.forked, "workers": self.workers },
            "accept_errors": self.accept_errors,
            "logs_cut": self.logs_cut,
        })
    }
}
