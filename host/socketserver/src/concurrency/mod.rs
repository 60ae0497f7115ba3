//! The ways of running requests: what Python has as mix-ins.
//!
//! Each way is one file, with its settings and its [`Dispatcher`]. A new way is a new
//! file, a variant of [`Concurrency`] and of [`ConcurrencyKind`], and a line in
//! [`Concurrency::dispatcher`].
//!
//! | file | contents |
//! |---|---|
//! | this one | [`Concurrency`], and the trait of all ways |
//! | `job` | one request on its way through the server |
//! | `sync`, `threading`, `forking`, `workers` | the ways of running requests |
//! | `children` | the processes that a server has forked |
//! | `run_in_child` | a function that runs code in a process of its own |

mod children;
mod forking;
mod job;
mod run_in_child;
mod sync;
mod threading;
mod workers;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Instant;

use nix::sys::signal::SigSet;

pub use forking::Forking;
use job::RequestEnd;
pub(crate) use job::{Application, Job};
pub use run_in_child::run_in_child;
pub use threading::Threading;
pub(crate) use workers::RunWorker;
pub use workers::Workers;

use crate::error::{BuildError, SystemExit};
use crate::listen::listener::Listener;
use crate::server::control::Control;

/// The way in which requests run: one at a time, or several at once.
#[derive(Debug, Clone, Default)]
pub enum Concurrency {
    /// In the thread that serves, one after the other: Python's `TCPServer`.
    #[default]
    Sync,
    /// Each in a thread: Python's `ThreadingMixIn`.
    Threading(Threading),
    /// Each in a process: Python's `ForkingMixIn`. The process that serves
    /// must have no other thread.
    Forking(Forking),
    /// In threads of several processes, so that the end of one process costs only its
    /// own requests. The process that serves must have no other thread.
    Workers(Workers),
}

impl Concurrency {
    /// Returns the kind, without the settings.
    pub fn kind(&self) -> ConcurrencyKind {
        match self {
            Concurrency::Sync => ConcurrencyKind::Sync,
            Concurrency::Threading(_) => ConcurrencyKind::Threading,
            Concurrency::Forking(_) => ConcurrencyKind::Forking,
            Concurrency::Workers(_) => ConcurrencyKind::Workers,
        }
    }

    /// Returns the dispatcher that runs requests in this way. It wakes the loop through
    /// `control`. Forked processes leave the signals `for_parent` to this process.
    pub(crate) fn dispatcher(
        &self,
        control: &Arc<Control>,
        for_parent: Option<SigSet>,
    ) -> Result<Box<dyn Dispatcher>, BuildError> {
        Ok(match self {
            Concurrency::Sync => Box::new(sync::ServingThread),
            Concurrency::Threading(settings) => {
                Box::new(threading::RequestThreads::new(settings, Arc::clone(control))?)
            }
            Concurrency::Forking(settings) => {
                Box::new(forking::RequestProcesses::new(settings, for_parent)?)
            }
            Concurrency::Workers(settings) => {
                Box::new(workers::WorkerProcesses::new(settings, for_parent)?)
            }
        })
    }
}

/// A way of running requests, without its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConcurrencyKind {
    /// [`Concurrency::Sync`].
    Sync,
    /// [`Concurrency::Threading`].
    Threading,
    /// [`Concurrency::Forking`].
    Forking,
    /// [`Concurrency::Workers`].
    Workers,
}

impl ConcurrencyKind {
    /// Every kind.
    pub const ALL: [ConcurrencyKind; 4] = [
        ConcurrencyKind::Sync,
        ConcurrencyKind::Threading,
        ConcurrencyKind::Forking,
        ConcurrencyKind::Workers,
    ];

    /// Returns `sync`, `threading`, `forking` or `workers`.
    pub fn as_str(self) -> &'static str {
        match self {
            ConcurrencyKind::Sync => "sync",
            ConcurrencyKind::Threading => "threading",
            ConcurrencyKind::Forking => "forking",
            ConcurrencyKind::Workers => "workers",
        }
    }

    /// Returns true if each request has a thread.
    pub fn has_threads(self) -> bool {
        matches!(self, ConcurrencyKind::Threading | ConcurrencyKind::Workers)
    }

    /// Returns true if forked processes serve the requests.
    pub fn forks(self) -> bool {
        matches!(self, ConcurrencyKind::Forking | ConcurrencyKind::Workers)
    }
}

impl fmt::Display for ConcurrencyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The end of [`Dispatcher::process_request`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dispatched {
    /// The request runs, or has run.
    Done,
    /// The request failed for want of a resource that may be free again later.
    Exhausted,
    /// The request ran in the serving thread, and ends the loop.
    Exit(SystemExit),
}

/// The sockets of the server that a forked child must not hold.
#[derive(Clone, Copy)]
pub(crate) struct ServerSockets<'a> {
    pub listeners: &'a [Listener],
    /// Requests that were taken from a queue and do not run yet.
    pub waiting: &'a VecDeque<Job>,
}

/// A [`Concurrency`] with its state: runs the requests of one server.
pub(crate) trait Dispatcher: Send + Sync {
    /// Returns the number of requests that may be in flight at once.
    fn max_requests(&self) -> usize;

    /// Returns true if another request may be taken now. If not, the loop is woken as
    /// soon as one may.
    fn has_free_permit(&self) -> bool;

    /// Runs a request, or starts to. Python's `process_request`.
    fn process_request(&self, job: Job, sockets: ServerSockets<'_>) -> Dispatched;

    /// Waits for the requests in flight, for as long as `block_on_close` and `deadline`
    /// say, and returns the number of requests, or workers with requests, that are
    /// left. The last part of Python's `server_close`.
    fn close(&self, app: &Application, deadline: Option<Instant>) -> usize;

    /// Returns the number of requests that run, or of workers.
    fn in_flight(&self) -> usize {
        self.active_children()
    }

    /// Returns the number of child processes: the size of Python's `active_children`.
    fn active_children(&self) -> usize {
        0
    }

    /// Kills every child process, without waiting for its end.
    fn kill_children(&self) {}

    /// Returns the descriptor that becomes readable when
    /// [`collect_children`](Self::collect_children) has something to do.
    fn children_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Reaps the children that have ended, without waiting. Python's `collect_children`.
    fn collect_children(&self, _app: &Application) {}

    /// Returns the time at which the loop must call
    /// [`collect_children`](Self::collect_children) and
    /// [`start_workers`](Self::start_workers) again at the latest.
    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// Returns the number of threads of this process, if the dispatcher forks: then the
    /// process may have only one.
    fn threads_if_forking(&self) -> Option<io::Result<u64>> {
        None
    }

    /// Returns true if other processes take the requests.
    fn has_workers(&self) -> bool {
        false
    }

    /// Starts the workers that are missing. Each of them calls `run`.
    fn start_workers(&self, _app: &Application, _run: RunWorker<'_>) -> io::Result<()> {
        Ok(())
    }

    /// Tells the workers that the loop has ended: they finish their requests, and end.
    fn end_run(&self) {}

    /// Ends the threads that have had no request for a while.
    fn end_idle_threads(&self) {}
}
