//! A process for each request: Python's `ForkingMixIn`.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::children::{Children, Ended};
use super::{Core, Finished, Job, guarded};
use crate::capacity::{Capacity, Needs};
use crate::error::{BuildError, HandlerError};
use crate::reason::Reason;
use crate::socket::Listener;
use crate::sys::{self, Forked, Tasks};

/// The exit status that Rust gives to a panic.
const PANICKED: i32 = 101;

/// The settings of [`Concurrency::Forking`](crate::Concurrency::Forking).
#[derive(Debug, Clone)]
pub struct Forking {
    /// How many children may run at once; the clients of others wait in the
    /// backlog. Python's `max_children`, 40 by default.
    pub max_children: usize,
    /// How many the machine can hold. A handler that takes more than a process
    /// and a socket lowers it.
    pub capacity: Capacity,
    /// Whether closing the server waits for the children. Python's
    /// `block_on_close`, true by default.
    pub block_on_close: bool,
    /// How long a child may live. One that is still there then is killed, which
    /// [`handle_child_error`](crate::Hooks::handle_child_error) is told with the
    /// reason `lifetime`: its place is free again, whatever it does. Python has no
    /// such limit; `None`, for none, by default.
    pub max_lifetime: Option<Duration>,
}

impl Forking {
    /// Python's defaults.
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

/// The children of one server.
pub(crate) struct Forks {
    max_children: usize,
    block_on_close: bool,
    tasks: Tasks,
    children: Children,
}

impl Forks {
    pub(crate) fn new(options: &Forking) -> Result<Self, BuildError> {
        let Forking { max_children, ref capacity, block_on_close, max_lifetime } = *options;
        if max_children > capacity.requests {
            let capacity = capacity.clone();
            return Err(BuildError::TooManyRequests { asked: max_children, capacity });
        }
        let (tasks, children) = (Tasks::new()?, Children::new(max_lifetime)?);
        Ok(Forks { max_children: max_children.max(1), block_on_close, tasks, children })
    }

    pub(crate) fn max_children(&self) -> usize {
        self.max_children
    }

    pub(crate) fn active_children(&self) -> usize {
        self.children.count()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.children.count() < self.max_children
    }

    pub(crate) fn ended(&self) -> BorrowedFd<'_> {
        self.children.ended()
    }

    /// When to take note of children again, and of their age, at the latest.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.children.due()
    }

    /// Forks a child that finishes the request. The parent closes its copy of
    /// it and, unlike a thread, does not shut it down: that would end the
    /// child's connection.
    pub(crate) fn process_request(
        &self,
        job: Job,
        listeners: &[Listener],
        waiting: &VecDeque<Job>,
    ) -> io::Result<()> {
        match sys::fork(&self.tasks) {
            Ok(Forked::Parent(pid)) => {
                job.request.leave_to_child();
                self.children.add(pid, Some(job.client_address), job.request.take_kept());
                Ok(())
            }
            Ok(Forked::Child) => self.run(&job, listeners, waiting),
            Err(error) => {
                let reason = format!("cannot fork a process for the request: {error}");
                job.fail(&HandlerError::new(Reason::NoProcess, reason));
                Err(error)
            }
        }
    }

    /// How many threads this process has.
    pub(crate) fn threads(&self) -> io::Result<u64> {
        self.tasks.threads()
    }

    /// Python's `collect_children`, without waiting.
    pub(crate) fn collect(&self, core: &Core) {
        self.children.collect().iter().for_each(|ended| report(ended, core));
    }

    pub(crate) fn close(&self, core: &Core, deadline: Option<Instant>) -> usize {
        self.collect(core);
        while self.block_on_close && self.children.wait(deadline) {
            self.collect(core);
        }
        self.children.count()
    }

    /// The child: finishes the request and ends, with Python's exit status.
    fn run(&self, job: &Job, listeners: &[Listener], waiting: &VecDeque<Job>) -> ! {
        // That is for the parent to drop.
        std::mem::forget(job.request.take_kept());
        // The only thing of the server's that a child needs is the socket that it
        // replies on.
        for listener in listeners.iter().filter(|listener| !listener.is_of(&job.request)) {
            sys::close_inherited(listener.as_fd());
        }
        let own = job.request.as_fd().as_raw_fd();
        let waiting = waiting.iter().map(|other| other.request.as_fd());
        // Datagrams share their sockets: closing one again is an error and no harm.
        for other in waiting.filter(|other| other.as_raw_fd() != own) {
            sys::close_inherited(other);
        }
        self.tasks.close_inherited();
        let prepared = guarded(|| job.core.hooks.after_fork_in_child(Some(&job.request)));
        let finished = guarded(|| match prepared {
            Some(Ok(())) => Some(job.run()),
            Some(Err(error)) => {
                job.fail(&error);
                Some(Finished::Failed)
            }
            None => {
                job.request.shutdown_request();
                None
            }
        });
        sys::exit_now(match finished.flatten() {
            Some(Finished::Done) => 0,
            Some(Finished::Failed | Finished::Exit(_)) => 1,
            // Nobody has reported it, so the parent does.
            None => PANICKED,
        })
    }
}

fn report(ended: &Ended, core: &Core) {
    if let Some(failure) = ended.failure() {
        let reason = if ended.outlived() { Reason::Lifetime } else { Reason::Child };
        let error = HandlerError::new(reason, failure);
        guarded(|| core.hooks.handle_child_error(ended.client_address.as_ref(), &error));
    }
}
