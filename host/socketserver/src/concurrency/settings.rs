//! The settings of the ways of running requests.

use std::thread;
use std::time::Duration;

use crate::capacity::{Capacity, Needs};
use crate::error::BuildError;

/// The settings of [`Concurrency::Threading`](crate::Concurrency::Threading).
#[derive(Debug, Clone)]
pub struct Threading {
    /// The number of requests that may be in flight at once; further clients wait
    /// in the backlog. `None` for as many as the machine can hold. CPython has
    /// no such limit.
    pub max_requests: Option<usize>,
    /// The number of requests that the machine can hold. A handler that takes more than
    /// a thread and a socket lowers it.
    pub capacity: Capacity,
    /// If true, closing the server does not wait for the requests in flight.
    /// Python's `daemon_threads`, false by default.
    pub daemon_threads: bool,
    /// If true, closing the server waits for the requests in flight. Python's
    /// `block_on_close`, true by default.
    pub block_on_close: bool,
}

impl Threading {
    /// Returns Python's defaults, and as many requests at once as the machine can
    /// hold if each takes a thread and a socket.
    pub fn new() -> Self {
        Threading {
            max_requests: None,
            capacity: Capacity::of_this_machine(Needs::THREAD),
            daemon_threads: false,
            block_on_close: true,
        }
    }

    /// Returns the number of requests that may be in flight, at least 1.
    pub(super) fn max_requests(&self) -> Result<usize, BuildError> {
        self.capacity.max_requests(self.max_requests)
    }

    pub(super) fn waits_on_close(&self) -> bool {
        self.block_on_close && !self.daemon_threads
    }
}

impl Default for Threading {
    fn default() -> Self {
        Self::new()
    }
}

/// The settings of [`Concurrency::Fibers`](crate::Concurrency::Fibers).
#[derive(Debug, Clone)]
pub struct Fibers {
    /// The number of requests that may be in flight at once; further clients wait in the backlog.
    /// `None` for as many as the machine can hold.
    pub max_requests: Option<usize>,
    /// The number of requests that the machine can hold. A handler that takes more than a socket
    /// lowers it.
    pub capacity: Capacity,
    /// The number of threads, at least 1.
    pub threads: usize,
    /// If true, closing the server waits for the requests in flight. Python's `block_on_close`,
    /// true by default.
    pub block_on_close: bool,
}

impl Fibers {
    /// Returns as many threads as there are processors, and as many requests at once as the
    /// machine can hold if each takes a socket.
    pub fn new() -> Self {
        Fibers {
            max_requests: None,
            capacity: Capacity::of_this_machine(Needs::FIBER),
            threads: thread::available_parallelism().map_or(1, usize::from),
            block_on_close: true,
        }
    }

    /// Returns the number of requests that may be in flight, at least 1.
    pub(super) fn max_requests(&self) -> Result<usize, BuildError> {
        self.capacity.max_requests(self.max_requests)
    }
}

impl Default for Fibers {
    fn default() -> Self {
        Self::new()
    }
}

/// The settings of [`Concurrency::Forking`](crate::Concurrency::Forking).
#[derive(Debug, Clone)]
pub struct Forking {
    /// The number of children that may run at once; further clients wait in the
    /// backlog. Python's `max_children`, 40 by default.
    pub max_children: usize,
    /// The number of requests that the machine can hold. A handler that takes more than
    /// a process and a socket lowers it.
    pub capacity: Capacity,
    /// If true, closing the server waits for the children. Python's
    /// `block_on_close`, true by default.
    pub block_on_close: bool,
    /// The longest time that a child may live. After it the parent kills the child,
    /// calls [`handle_child_error`](crate::Hooks::handle_child_error) with the
    /// reason `lifetime`, and has a free permit again, even if the child blocks.
    /// `None`, the default, sets no limit, as in Python.
    pub max_lifetime: Option<Duration>,
}

impl Forking {
    /// Returns Python's defaults.
    pub fn new() -> Self {
        Forking {
            max_children: 40,
            capacity: Capacity::of_this_machine(Needs::PROCESS),
            block_on_close: true,
            max_lifetime: None,
        }
    }
}

impl Default for Forking {
    fn default() -> Self {
        Self::new()
    }
}

/// The settings of [`Concurrency::Workers`](crate::Concurrency::Workers).
#[derive(Debug, Clone)]
pub struct Workers {
    /// The number of processes, at least 1.
    pub count: usize,
    /// The way in which each process runs its requests.
    pub threading: Threading,
}

impl Workers {
    /// Returns settings for `count` processes, with as many threads as the machine can
    /// hold in all of them together.
    pub fn new(count: usize) -> Self {
        let capacity = Capacity::of_this_machine(Needs::THREAD.in_workers(count));
        Workers { count, threading: Threading { capacity, ..Threading::new() } }
    }
}
