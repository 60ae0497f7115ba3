//! The trait of all ways of running requests.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use super::Concurrency;
use super::children::Children;
use super::job::{Application, Job};
use super::post::Post;
use crate::error::SystemExit;
use crate::listen::listener::Listener;
use crate::server::pending::PendingConnections;

/// Runs a worker in its process, and returns the exit status.
pub(crate) type RunWorker<'a> = &'a dyn Fn(WorkerSettings) -> i32;

/// The things that a worker gets from its parent.
pub(crate) struct WorkerSettings {
    pub concurrency: Concurrency,
    /// Its end of the lifeline.
    pub lifeline: Arc<OwnedFd>,
    /// Wakes the leaders of all workers when it is written to.
    pub bell: Arc<OwnedFd>,
    pub max_leaders: usize,
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
    /// Connections that wait in the loop, if the server has some that do.
    pub pending: Option<&'a PendingConnections>,
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

    /// Returns the processes that the dispatcher has forked, if it forks.
    fn children(&self) -> Option<&Children> {
        None
    }

    /// Returns the number of child processes: the size of Python's `active_children`.
    fn active_children(&self) -> usize {
        self.children().map_or(0, Children::count)
    }

    /// Kills every child process, without waiting for its end.
    fn kill_children(&self) {
        if let Some(children) = self.children() {
            children.kill_all();
        }
    }

    /// Returns the descriptor that becomes readable when
    /// [`collect_children`](Self::collect_children) has something to do.
    fn children_fd(&self) -> Option<BorrowedFd<'_>> {
        self.children().map(AsFd::as_fd)
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

    /// Returns true if threads may take requests themselves, at a post, from these listeners.
    fn has_leaders(&self, _listeners: &[Listener]) -> bool {
        false
    }

    /// Tells the threads where they can take requests, until [`end_run`](Self::end_run).
    fn begin_run(&self, _post: Arc<dyn Post>) {}

    /// Counts a request that a leader has taken.
    fn take_permit(&self) {}

    /// Tells threads and workers that the loop has ended: they finish their requests.
    fn end_run(&self) {}

    /// Ends the threads that have had no request for a while.
    fn end_idle_threads(&self) {}
}
