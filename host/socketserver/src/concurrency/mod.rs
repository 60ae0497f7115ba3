//! The ways of concurrency: what Python has as mix-ins.

mod children;
mod forking;
mod threading;
mod workers;

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

pub(crate) use children::{Children, Ended};
pub use forking::Forking;
use forking::Forks;
pub use threading::Threading;
use threading::Threads;
pub use workers::Workers;
use workers::{Work, WorkerProcesses};

use crate::address::Address;
use crate::control::Control;
use crate::error::{BuildError, HandlerError, SystemExit};
use crate::handler::{RequestHandler, ServerInfo};
use crate::hooks::Hooks;
use crate::reason::Reason;
use crate::request::Request;
use crate::socket::Listener;

/// How requests are run: one at a time, or several at once.
#[derive(Debug, Clone, Default)]
pub enum Concurrency {
    /// In the thread that serves, one after the other: Python's `TCPServer`.
    #[default]
    Sync,
    /// In a thread for each: Python's `ThreadingMixIn`.
    Threading(Threading),
    /// In a process for each: Python's `ForkingMixIn`. The process that serves
    /// must have no other thread.
    Forking(Forking),
    /// In threads of several processes, so that the end of one costs only its
    /// own requests. The process that serves must have no other thread.
    Workers(Workers),
}

/// What each request needs from its server.
pub(crate) struct Core {
    pub handler: Box<dyn RequestHandler>,
    pub hooks: Box<dyn Hooks>,
}

/// One request, from its acceptance on.
pub(crate) struct Job {
    pub core: Arc<Core>,
    pub request: Request,
    pub client_address: Address,
    pub server: Arc<ServerInfo>,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finished {
    Done,
    /// The error was reported.
    Failed,
    /// The handler asked for the end of its thread or process, which nobody
    /// reports.
    Exit(SystemExit),
}

/// What came of giving a request to a [`Dispatcher`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dispatched {
    /// It runs, or has run.
    Done,
    /// It could not be run for want of something that may be there again later.
    Exhausted,
    /// It ran here, and ends the loop.
    Exit(SystemExit),
}

/// Runs code of the program that uses this crate. `None` if it panicked.
pub(crate) fn guarded<R>(code: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(code)).map_err(forget).ok()
}

impl Job {
    /// Python's `process_request` and, in a thread, `process_request_thread`:
    /// finishes the request, reports what failed and shuts it down.
    pub(crate) fn run(&self) -> Finished {
        let Job { core, request, client_address, server } = self;
        let finished = catch_unwind(AssertUnwindSafe(|| {
            core.handler.finish_request(request, client_address, server)
        }));
        let failed = match finished {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(panic) => {
                let message = panic_message(&*panic).to_owned();
                forget(panic);
                Some(HandlerError::new(Reason::Panic, message))
            }
        };
        let Some(error) = failed else {
            self.finish(None);
            return Finished::Done;
        };
        if let Some(exit) = error.system_exit() {
            self.finish(None);
            return Finished::Exit(exit);
        }
        self.fail(&error);
        Finished::Failed
    }

    /// Reports that the request failed, and shuts it down.
    pub(crate) fn fail(&self, error: &HandlerError) {
        // A hook that panics must not take a thread's slot with it.
        guarded(|| self.core.hooks.handle_error(&self.request, &self.client_address, error));
        self.finish(Some(error));
    }

    /// Says that the request is over, and shuts it down.
    fn finish(&self, error: Option<&HandlerError>) {
        let Job { core, request, client_address, .. } = self;
        guarded(|| core.hooks.request_finished(request, client_address, error));
        request.shutdown_request();
    }
}

/// Dropping what was thrown may itself panic.
fn forget(panic: Box<dyn std::any::Any + Send>) {
    std::mem::forget(panic);
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic with no message")
}

/// A [`Concurrency`] at work.
pub(crate) enum Dispatcher {
    Sync,
    Threading(Arc<Threads>),
    Forking(Forks),
    Workers(WorkerProcesses),
}

impl Dispatcher {
    pub(crate) fn new(
        concurrency: &Concurrency,
        control: &Arc<Control>,
    ) -> Result<Self, BuildError> {
        Ok(match concurrency {
            Concurrency::Sync => Dispatcher::Sync,
            Concurrency::Threading(options) => {
                Dispatcher::Threading(Threads::new(options, Arc::clone(control))?)
            }
            Concurrency::Forking(options) => Dispatcher::Forking(Forks::new(options)?),
            Concurrency::Workers(options) => Dispatcher::Workers(WorkerProcesses::new(options)?),
        })
    }

    /// If this forks, for which the process may have one thread only: how many
    /// it has.
    pub(crate) fn threads_if_forking(&self) -> Option<std::io::Result<u64>> {
        match self {
            Dispatcher::Forking(forks) => Some(forks.threads()),
            Dispatcher::Workers(workers) => Some(workers.threads()),
            Dispatcher::Sync | Dispatcher::Threading(_) => None,
        }
    }

    /// Whether the requests are taken by other processes.
    pub(crate) fn has_workers(&self) -> bool {
        matches!(self, Dispatcher::Workers(_))
    }

    /// Whether another request may be taken now. If not, the loop is woken as
    /// soon as one may.
    pub(crate) fn has_room(&self) -> bool {
        match self {
            Dispatcher::Sync => true,
            Dispatcher::Threading(threads) => threads.has_room(),
            Dispatcher::Forking(forks) => forks.has_room(),
            Dispatcher::Workers(_) => false,
        }
    }

    /// Python's `process_request`. A forked child closes its copies of the `listeners`
    /// and of the requests that are `waiting`.
    pub(crate) fn process_request(
        &self,
        job: Job,
        listeners: &[Listener],
        waiting: &VecDeque<Job>,
    ) -> Dispatched {
        let runs = match self {
            // Workers have a loop, and a dispatcher, of their own.
            Dispatcher::Sync | Dispatcher::Workers(_) => match job.run() {
                Finished::Exit(exit) => return Dispatched::Exit(exit),
                Finished::Done | Finished::Failed => true,
            },
            Dispatcher::Threading(threads) => threads.process_request(job),
            Dispatcher::Forking(forks) => forks.process_request(job, listeners, waiting).is_ok(),
        };
        if runs { Dispatched::Done } else { Dispatched::Exhausted }
    }

    /// What becomes readable when [`collect`](Self::collect) has something to
    /// do.
    pub(crate) fn ended(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Dispatcher::Sync | Dispatcher::Threading(_) => None,
            Dispatcher::Forking(forks) => Some(forks.ended()),
            Dispatcher::Workers(workers) => Some(workers.ended()),
        }
    }

    /// Takes note of children that have ended: Python's `collect_children`.
    pub(crate) fn collect(&self, core: &Core) {
        match self {
            Dispatcher::Sync | Dispatcher::Threading(_) => {}
            Dispatcher::Forking(forks) => forks.collect(core),
            Dispatcher::Workers(workers) => workers.collect(core),
        }
    }

    /// How many children there are: the size of Python's `active_children`.
    pub(crate) fn active_children(&self) -> usize {
        match self {
            Dispatcher::Sync | Dispatcher::Threading(_) => 0,
            Dispatcher::Forking(forks) => forks.active_children(),
            Dispatcher::Workers(workers) => workers.active_children(),
        }
    }

    /// Starts the workers that should be there and are not; `work` is what they
    /// do.
    pub(crate) fn start_workers(&self, core: &Core, work: Work<'_>) -> std::io::Result<()> {
        match self {
            Dispatcher::Workers(workers) => workers.start_missing(core, work),
            _ => Ok(()),
        }
    }

    /// When the loop should look again at the latest.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self {
            Dispatcher::Forking(forks) => forks.due(),
            Dispatcher::Workers(workers) => workers.due(),
            Dispatcher::Sync | Dispatcher::Threading(_) => None,
        }
    }

    /// The loop has ended: workers end too, when their requests are done.
    pub(crate) fn end_run(&self) {
        if let Dispatcher::Workers(workers) = self {
            workers.end();
        }
    }

    /// Returns how many requests run, or how many workers there are.
    pub(crate) fn in_flight(&self) -> usize {
        match self {
            Dispatcher::Threading(threads) => threads.in_flight(),
            _ => self.active_children(),
        }
    }

    /// Gives up what has not been needed for a while.
    pub(crate) fn tidy(&self) {
        if let Dispatcher::Threading(threads) = self {
            threads.end_idle_threads();
        }
    }

    /// How many requests may be in flight at once.
    pub(crate) fn max_requests(&self) -> usize {
        match self {
            Dispatcher::Sync => 1,
            Dispatcher::Threading(threads) => threads.max_requests(),
            Dispatcher::Forking(forks) => forks.max_children(),
            Dispatcher::Workers(workers) => workers.max_requests(),
        }
    }

    /// The part of Python's `server_close` that follows the closing of the
    /// listening socket: waits for the requests in flight, for as long as
    /// `block_on_close` and `deadline` say. Returns how many are left, or how
    /// many workers with requests are.
    pub(crate) fn close(&self, core: &Core, deadline: Option<Instant>) -> usize {
        match self {
            Dispatcher::Sync => 0,
            Dispatcher::Threading(threads) => threads.close(deadline),
            Dispatcher::Forking(forks) => forks.close(core, deadline),
            Dispatcher::Workers(workers) => workers.close(core, deadline),
        }
    }
}
