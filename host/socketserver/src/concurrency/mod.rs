//! The ways of running requests: what Python has as mix-ins.
//!
//! Each way is one file, with its [`Dispatcher`]. A new way is a new file, settings, a
//! variant of [`Concurrency`] and of [`ConcurrencyKind`], and a line in
//! [`Concurrency::dispatcher`].
//!
//! | file | contents |
//! |---|---|
//! | this one | [`Concurrency`] |
//! | `settings` | the settings of each way |
//! | `dispatcher` | the trait of all ways |
//! | `job` | one request on its way through the server |
//! | `post` | the post at which threads take requests themselves |
//! | `permits` | the number of requests in flight, and its limit |
//! | `sync`, `threading`, `fibers`, `forking`, `workers` | the ways of running requests |
//! | `children` | the processes that a server has forked |
//! | `run_in_child` | a function that runs code in a process of its own |

mod children;
mod dispatcher;
mod fibers;
mod forking;
mod job;
mod permits;
mod post;
mod run_in_child;
mod settings;
mod sync;
mod threading;
mod workers;

use std::fmt;
use std::sync::Arc;

use nix::sys::signal::SigSet;

pub(crate) use dispatcher::{Dispatched, Dispatcher, ServerSockets, WorkerSettings};
pub(crate) use job::{Application, Job};
pub(crate) use post::{Post, SteppedDown, Term, max_leaders};
pub use run_in_child::run_in_child;
pub use settings::{Fibers, Forking, Threading, WorkerConcurrency, Workers};

use crate::error::BuildError;
use crate::server::control::Control;

/// The way in which requests run: one at a time, or several at once.
#[derive(Debug, Clone, Default)]
pub enum Concurrency {
    /// In the thread that serves, one after the other: Python's `TCPServer`.
    #[default]
    Sync,
    /// Each in a thread: Python's `ThreadingMixIn`.
    Threading(Threading),
    /// As tasks of a few threads, for very many connections at once.
    Fibers(Fibers),
    /// Each in a process: Python's `ForkingMixIn`. The process that serves
    /// must have no other thread.
    Forking(Forking),
    /// In threads of several processes, or as tasks of their threads, so that the end of one
    /// process costs only its own requests. The process that serves must have no other thread.
    Workers(Workers),
}

impl Concurrency {
    /// Returns the kind, without the settings.
    pub fn kind(&self) -> ConcurrencyKind {
        match self {
            Concurrency::Sync => ConcurrencyKind::Sync,
            Concurrency::Threading(_) => ConcurrencyKind::Threading,
            Concurrency::Fibers(_) => ConcurrencyKind::Fibers,
            Concurrency::Forking(_) => ConcurrencyKind::Forking,
            Concurrency::Workers(_) => ConcurrencyKind::Workers,
        }
    }

    /// Returns true if requests run as tasks, in this process or in a worker.
    pub fn has_fibers(&self) -> bool {
        match self {
            Concurrency::Fibers(_) => true,
            Concurrency::Workers(workers) => {
                matches!(workers.concurrency, WorkerConcurrency::Fibers(_))
            }
            _ => false,
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
            Concurrency::Fibers(settings) => {
                Box::new(fibers::RequestFibers::new(settings, Arc::clone(control))?)
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
    /// [`Concurrency::Fibers`].
    Fibers,
    /// [`Concurrency::Forking`].
    Forking,
    /// [`Concurrency::Workers`].
    Workers,
}

impl ConcurrencyKind {
    /// Every kind.
    pub const ALL: [ConcurrencyKind; 5] = [
        ConcurrencyKind::Sync,
        ConcurrencyKind::Threading,
        ConcurrencyKind::Fibers,
        ConcurrencyKind::Forking,
        ConcurrencyKind::Workers,
    ];

    /// Returns `sync`, `threading`, `fibers`, `forking` or `workers`.
    pub fn as_str(self) -> &'static str {
        match self {
            ConcurrencyKind::Sync => "sync",
            ConcurrencyKind::Threading => "threading",
            ConcurrencyKind::Fibers => "fibers",
            ConcurrencyKind::Forking => "forking",
            ConcurrencyKind::Workers => "workers",
        }
    }

    /// Returns true if threads of a process run the requests beside the loop.
    pub fn has_threads(self) -> bool {
        matches!(
            self,
            ConcurrencyKind::Threading | ConcurrencyKind::Fibers | ConcurrencyKind::Workers
        )
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
