//! The memory that all processes of a server share.

use std::sync::atomic::AtomicU64;

use crossbeam_utils::CachePadded;
use socketserver::access::Refusal;
use socketserver::{DropReason, Reason, shared_data};

use super::failures::SharedFailures;
use super::histogram::SharedHistogram;
use super::in_flight::SharedTable;

/// The number of workers that have counters of their own at one time, including those that
/// are about to end. Further workers count with the process that listens.
pub const MAX_WORKERS: usize = 2048;

shared_data! {
    /// The counters of all processes.
    #[derive(Debug)]
    pub struct Shape {
        /// The process that listens, with its children that serve one request each.
        pub listener: CachePadded<ProcessCounters>,
        pub workers: [CachePadded<ProcessCounters>; MAX_WORKERS],
        /// The number of workers' counters that have ever been used.
        pub used: AtomicU64,
        pub forked: AtomicU64,
        pub accept_errors: AtomicU64,
        pub failed: [AtomicU64; Reason::ALL.len()],
        pub refused: [AtomicU64; Refusal::ALL.len()],
        pub dropped: [AtomicU64; DropReason::ALL.len()],
        /// The number of requests that the server can have at once.
        pub capacity: AtomicU64,
        /// The phase of the server, as the number of a [`Phase`](super::Phase).
        pub phase: AtomicU64,
        pub table: SharedTable,
        pub failures: SharedFailures,
        /// The connections that wait in the loop of the process that listens, and of each worker.
        pub listener_waiting: AtomicU64,
        pub worker_waiting: [AtomicU64; MAX_WORKERS],
        /// As `listener` and `workers`.
        pub listener_usage: CachePadded<ProcessUsage>,
        pub worker_usage: [CachePadded<ProcessUsage>; MAX_WORKERS],
    }
}

shared_data! {
    /// The counters of one process that requests change. They have cache lines to themselves,
    /// so that processes do not take the lines from each other.
    #[derive(Debug)]
    pub struct ProcessCounters {
        pub accepted: AtomicU64,
        pub in_flight: AtomicU64,
        pub done: AtomicU64,
        pub received: AtomicU64,
        pub sent: AtomicU64,
        pub instances: AtomicU64,
        pub logs_cut: AtomicU64,
        /// The process id of the worker; zero if these counters are free.
        pub worker: AtomicU64,
    }
}

shared_data! {
    /// The usage of the requests of one process.
    #[derive(Debug)]
    pub struct ProcessUsage {
        pub duration: SharedHistogram,
        pub cpu_time: SharedHistogram,
        pub memory: SharedHistogram,
    }
}

impl Shape {
    /// Returns the counters of workers that have ever been used.
    pub fn used_workers(&self) -> &[CachePadded<ProcessCounters>] {
        &self.workers[..self.used()]
    }

    /// Returns the usage of the process that listens, and of the workers.
    pub fn usages(&self) -> impl Iterator<Item = &ProcessUsage> {
        let workers = &self.worker_usage[..self.used()];
        std::iter::once(&self.listener_usage).chain(workers).map(|usage| &**usage)
    }

    fn used(&self) -> usize {
        // Native code that escaped from a sandbox can write any number.
        usize::try_from(super::numbers::get(&self.used))
            .map_or(MAX_WORKERS, |it| it.min(MAX_WORKERS))
    }
}
