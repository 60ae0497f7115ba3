//! The ways of concurrency: what Python has as mix-ins.

mod threading;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

pub use threading::Threading;
pub(crate) use threading::Threads;

use crate::address::Address;
use crate::control::Control;
use crate::error::{Blame, BuildError, HandlerError};
use crate::handler::{RequestHandler, ServerInfo};
use crate::hooks::Hooks;
use crate::request::Request;

/// How requests are run: one at a time, or several at once.
#[derive(Debug, Clone, Default)]
pub enum Concurrency {
    /// In the thread that serves, one after the other: Python's `TCPServer`.
    #[default]
    Sync,
    /// In a thread for each: Python's `ThreadingMixIn`.
    Threading(Threading),
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

impl Job {
    /// Python's `process_request` and, in a thread, `process_request_thread`:
    /// finishes the request, reports what failed and shuts it down.
    pub(crate) fn run(self) {
        let Job { core, request, client_address, server } = &self;
        let finished = catch_unwind(AssertUnwindSafe(|| {
            core.handler.finish_request(request, client_address, server)
        }));
        let failed = match finished {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(panic) => {
                let message = panic_message(&*panic).to_owned();
                forget(panic);
                Some(HandlerError::new(Blame::Guest, "panic", message))
            }
        };
        if let Some(error) = failed {
            self.fail(&error);
        } else {
            self.request.shutdown_request();
        }
    }

    /// Reports that the request failed, and shuts it down.
    pub(crate) fn fail(&self, error: &HandlerError) {
        // A hook that panics must not take a thread's slot with it.
        let reported = catch_unwind(AssertUnwindSafe(|| {
            self.core.hooks.handle_error(&self.request, &self.client_address, error);
        }));
        if let Err(panic) = reported {
            forget(panic);
        }
        self.request.shutdown_request();
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
        })
    }

    /// Whether another request may be taken now. If not, the loop is woken as
    /// soon as one may.
    pub(crate) fn has_room(&self) -> bool {
        match self {
            Dispatcher::Sync => true,
            Dispatcher::Threading(threads) => threads.has_room(),
        }
    }

    /// Python's `process_request`. False if the request could not be run for
    /// want of something that may be there again later.
    pub(crate) fn process_request(&self, job: Job) -> bool {
        match self {
            Dispatcher::Sync => {
                job.run();
                true
            }
            Dispatcher::Threading(threads) => threads.process_request(job),
        }
    }

    /// Gives up what has not been needed for a while.
    pub(crate) fn tidy(&self) {
        match self {
            Dispatcher::Sync => {}
            Dispatcher::Threading(threads) => threads.end_idle_threads(),
        }
    }

    /// How many requests may be in flight at once.
    pub(crate) fn max_requests(&self) -> usize {
        match self {
            Dispatcher::Sync => 1,
            Dispatcher::Threading(threads) => threads.max_requests(),
        }
    }

    /// The part of Python's `server_close` that follows the closing of the
    /// listening socket: waits for the requests in flight, for as long as
    /// `block_on_close` and `deadline` say. Returns how many are left.
    pub(crate) fn close(&self, deadline: Option<Instant>) -> usize {
        match self {
            Dispatcher::Sync => 0,
            Dispatcher::Threading(threads) => threads.close(deadline),
        }
    }
}
