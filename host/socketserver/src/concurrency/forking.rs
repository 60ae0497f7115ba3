//! A process for each request: Python's `ForkingMixIn`.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use nix::sys::signal::SigSet;

use super::children::{Children, EndedChild};
use super::dispatcher::{Dispatched, Dispatcher, ServerSockets};
use super::job::{Application, Job, RequestEnd, catch_panic};
use super::settings::Forking;
use crate::error::{BuildError, HandlerError};
use crate::reason::Reason;
use crate::sys::{self, Forked, Tasks};

/// The exit status that Rust gives to a panic. The parent reports a child that ends with
/// it.
const PANICKED: i32 = 101;

/// Runs each request in a child process.
pub(super) struct RequestProcesses {
    max_children: usize,
    block_on_close: bool,
    tasks: Tasks,
    /// The signals that children leave to this process.
    for_parent: Option<SigSet>,
    children: Children,
}

impl RequestProcesses {
    pub(super) fn new(settings: &Forking, for_parent: Option<SigSet>) -> Result<Self, BuildError> {
        let Forking { max_children, ref capacity, block_on_close, max_lifetime } = *settings;
        if max_children > capacity.requests {
            let capacity = capacity.clone();
            return Err(BuildError::TooManyRequests { asked: max_children, capacity });
        }
        Ok(RequestProcesses {
            max_children: max_children.max(1),
            block_on_close,
            tasks: Tasks::new()?,
            for_parent,
            children: Children::new(max_lifetime)?,
        })
    }

    /// Finishes the request in the child, and ends the child with Python's exit status.
    fn run_child(&self, job: &Job, sockets: ServerSockets<'_>) -> ! {
        // The parent drops the guards.
        std::mem::forget(job.request.take_guards());
        job.request.set_last_of_process();
        close_server_sockets(job, sockets);
        self.tasks.close_inherited();
        let prepared = catch_panic(|| job.app.hooks.after_fork_in_child(Some(&job.request)));
        let end = catch_panic(|| match prepared {
            Some(Ok(())) => Some(job.run()),
            Some(Err(error)) => {
                job.fail(&error);
                Some(RequestEnd::Failed)
            }
            None => {
                job.request.shutdown_request(true);
                None
            }
        });
        sys::exit_now(match end.flatten() {
            Some(RequestEnd::Done) => 0,
            Some(RequestEnd::Failed | RequestEnd::Exit(_)) => 1,
            None => PANICKED,
        })
    }
}

/// Closes the sockets of the server in a child, but the one that its request replies on.
fn close_server_sockets(job: &Job, sockets: ServerSockets<'_>) {
    let listeners = sockets.listeners.iter();
    for listener in listeners.filter(|listener| !listener.is_socket_of(&job.request)) {
        sys::close_inherited(listener.as_fd());
    }
    if let Some(pending) = sockets.pending {
        pending.close_inherited();
    }
    let own = job.request.as_fd().as_raw_fd();
    let waiting = sockets.waiting.iter().map(|other| other.request.as_fd());
    // Datagrams share their sockets: the second close of one fails and does no harm.
    for other in waiting.filter(|other| other.as_raw_fd() != own) {
        sys::close_inherited(other);
    }
}

impl Dispatcher for RequestProcesses {
    fn max_requests(&self) -> usize {
        self.max_children
    }

    fn has_free_permit(&self) -> bool {
        self.children.count() < self.max_children
    }

    /// Forks a child that finishes the request. The parent closes its copy of
    /// the request and does not shut it down: that would end the child's connection.
    fn process_request(&self, job: Job, sockets: ServerSockets<'_>) -> Dispatched {
        match sys::fork(&self.tasks, self.for_parent.as_ref()) {
            Ok(Forked::Parent(pid)) => {
                job.request.leave_to_child();
                self.children.add(pid, Some(job.client_address), job.request.take_guards());
                Dispatched::Done
            }
            Ok(Forked::Child) => self.run_child(&job, sockets),
            Err(error) => {
                let reason = format!("cannot fork a process for the request: {error}");
                job.fail(&HandlerError::new(Reason::NoProcess, reason));
                Dispatched::Exhausted
            }
        }
    }

    fn close(&self, app: &Application, deadline: Option<Instant>) -> usize {
        self.collect_children(app);
        while self.block_on_close && self.children.wait(deadline) {
            self.collect_children(app);
        }
        self.children.count()
    }

    fn children(&self) -> Option<&Children> {
        Some(&self.children)
    }

    fn collect_children(&self, app: &Application) {
        self.children.collect().iter().for_each(|ended| report_failure(ended, app));
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.children.next_deadline()
    }

    fn threads_if_forking(&self) -> Option<io::Result<u64>> {
        Some(self.tasks.threads())
    }
}

fn report_failure(ended: &EndedChild, app: &Application) {
    if let Some(failure) = ended.failure() {
        let reason = if ended.outlived() { Reason::Lifetime } else { Reason::Child };
        let error = HandlerError::new(reason, failure);
        catch_panic(|| app.hooks.handle_child_error(ended.client_address.as_ref(), &error));
    }
}
