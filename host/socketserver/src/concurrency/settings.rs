//! The settings of the ways of running requests.

use std::thread;
use std::time::Duration;

use super::Concurrency;
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
    /// If true, closing the server does not wait for the requests in flight, and neither does a
    /// worker that ends. Python's `daemon_threads`, false by default.
    pub daemon_threads: bool,
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
            daemon_threads: false,
            block_on_close: true,
        }
    }

    /// Returns the settings of each of `count` workers: as many requests as the machine can hold in
    /// all of them together, and the share of one in the threads, at least 1.
    pub fn in_workers(count: usize) -> Self {
        let default = Fibers::new();
        Fibers {
            capacity: Capacity::of_this_machine(Needs::FIBER.in_workers(count)),
            threads: (default.threads / count.max(1)).max(1),
            ..default
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
    pub concurrency: WorkerConcurrency,
}

/// The way in which a worker runs its requests.
#[derive(Debug, Clone)]
pub enum WorkerConcurrency {
    /// Each in a thread.
    Threading(Threading),
    /// As tasks of a few threads.
    Fibers(Fibers),
}

impl Workers {
    /// Returns settings for `count` processes, with as many threads as the machine can
    /// hold in all of them together.
    pub fn new(count: usize) -> Self {
        let capacity = Capacity::of_this_machine(Needs::THREAD.in_workers(count));
        let threading = Threading { capacity, ..Threading::new() };
        Workers { count, concurrency: WorkerConcurrency::Threading(threading) }
    }

    /// Returns settings for `count` processes that run requests as tasks, as
    /// [`Fibers::in_workers`] says.
    pub fn with_fibers(count: usize) -> Self {
        Workers { count, concurrency: WorkerConcurrency::Fibers(Fibers::in_workers(count)) }
    }
}

impl WorkerConcurrency {
    /// Returns the number of requests that may be in flight in one worker, at least 1.
    pub(super) fn max_requests(&self) -> Result<usize, BuildError> {
        match self {
            WorkerConcurrency::Threading(threading) => threading.max_requests(),
            WorkerConcurrency::Fibers(fibers) => fibers.max_requests(),
        }
    }

    /// Returns true if closing the server waits for its workers.
    pub(super) fn waits_on_close(&self) -> bool {
        match self {
            WorkerConcurrency::Threading(threading) => threading.waits_on_close(),
            WorkerConcurrency::Fibers(fibers) => fibers.waits_on_close(),
        }
    }

    /// Returns the concurrency of the server in a worker. The parent need not wait for its workers,
    /// but requests that a worker leaves are lost.
    pub(super) fn in_worker(&self) -> Concurrency {
        match self {
            WorkerConcurrency::Threading(threading) => {
                Concurrency::Threading(Threading { block_on_close: true, ..threading.clone() })
            }
            WorkerConcurrency::Fibers(fibers) => {
                Concurrency::Fibers(Fibers { block_on_close: true, ..fibers.clone() })
            }
        }
    }
}
