//! One request at a time, in the thread that serves: Python's servers without a mix-in.

use std::time::Instant;

use super::dispatcher::{Dispatched, Dispatcher, ServerSockets};
use super::job::{Application, Job, RequestEnd};

/// Runs each request in the thread that serves.
pub(super) struct ServingThread;

impl Dispatcher for ServingThread {
    fn max_requests(&self) -> usize {
        1
    }

    fn has_free_permit(&self) -> bool {
        true
    }

    fn process_request(&self, job: Job, _sockets: ServerSockets<'_>) -> Dispatched {
        match job.run() {
            RequestEnd::Exit(exit) => Dispatched::Exit(exit),
            RequestEnd::Done | RequestEnd::Failed => Dispatched::Done,
        }
    }

    fn close(&self, _app: &Application, _deadline: Option<Instant>) -> usize {
        0
    }
}
