//! Several processes, each of which serves in threads.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, pipe_with};

use super::children::Children;
use super::{Core, Threading, guarded};
use crate::error::{BuildError, HandlerError};
use crate::reason::Reason;
use crate::sys::{self, Forked, Tasks};

/// How long the place of a worker that died stays empty, at first and at most.
/// It doubles with each death that follows the last one soon.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A worker that has lived for this long did not die of its beginning.
const SOUND: Duration = Duration::from_secs(10);

/// The settings of [`Concurrency::Workers`](crate::Concurrency::Workers).
#[derive(Debug, Clone)]
pub struct Workers {
    /// How many processes there are, 1 at least.
    pub count: usize,
    /// How each of them runs its requests.
    pub threading: Threading,
}

impl Workers {
    /// That many processes, with as many threads as the machine can hold in all
    /// of them.
    pub fn new(count: usize) -> Self {
        use crate::capacity::{Capacity, Needs};
        let capacity = Capacity::of_this_machine(Needs::THREAD.in_workers(count));
        Workers { count, threading: Threading { capacity, ..Threading::new() } }
    }
}

/// The worker processes of one server.
pub(crate) struct WorkerProcesses {
    count: usize,
    threading: Threading,
    max_requests: usize,
    tasks: Tasks,
    children: Children,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Both ends of a pipe that nobody writes to. The workers of a run have the
    /// first; when this process closes the other, or dies, they see the end of
    /// it, and end too.
    lifeline: Option<(Arc<OwnedFd>, OwnedFd)>,
    /// How many workers died soon, one after the other.
    deaths: u32,
    /// No worker is started before.
    not_before: Option<Instant>,
}

/// What a worker does, from its lifeline to its exit status.
pub(crate) type Work<'a> = &'a dyn Fn(&Threading, Arc<OwnedFd>) -> i32;

impl WorkerProcesses {
    pub(crate) fn new(options: &Workers) -> Result<Self, BuildError> {
        let Workers { count, threading } = options.clone();
        let count = count.max(1);
        let each = threading.max_requests()?;
        Ok(WorkerProcesses {
            count,
            threading,
            max_requests: each.saturating_mul(count),
            tasks: Tasks::new()?,
            children: Children::new(None)?,
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn max_requests(&self) -> usize {
        self.max_requests
    }

    pub(crate) fn active_children(&self) -> usize {
        self.children.count()
    }

    pub(crate) fn ended(&self) -> BorrowedFd<'_> {
        self.children.ended()
    }

    /// When to look for missing workers again, if that is not at once.
    pub(crate) fn due(&self) -> Option<Instant> {
        [self.state().not_before, self.children.due()].into_iter().flatten().min()
    }

    /// How many threads this process has.
    pub(crate) fn threads(&self) -> io::Result<u64> {
        self.tasks.threads()
    }

    /// Takes note of workers that have ended, and reports them.
    pub(crate) fn collect(&self, core: &Core) {
        let report = |failure: String| {
            let error = HandlerError::new(Reason::Worker, failure);
            guarded(|| core.hooks.handle_child_error(None, &error));
        };
        for ended in self.children.collect() {
            let failure = ended.failure();
            if ended.leaving {
                // Its run is over, and another one may have begun.
                if let Some(failure) = failure {
                    report(format!("a worker is gone: {failure}"));
                }
                continue;
            }
            let mut state = self.state();
            state.deaths = if ended.lived < SOUND { state.deaths.saturating_add(1) } else { 0 };
            let (first, longest) = PAUSES;
            let doubled = 1 << state.deaths.saturating_sub(1).min(10);
            let pause = first.saturating_mul(doubled).min(longest);
            state.not_before = Some(Instant::now() + pause);
            drop(state);
            let failure = failure.unwrap_or_else(|| format!("process {} ended early", ended.pid));
            report(format!("a worker is gone, and is replaced in {pause:?}: {failure}"));
        }
    }

    /// Begins a run, and starts workers until there are as many as there should
    /// be, unless one died a moment ago.
    pub(crate) fn start_missing(&self, core: &Core, work: Work<'_>) -> io::Result<()> {
        let lifeline = {
            let mut state = self.state();
            if state.not_before.is_some_and(|not_before| Instant::now() < not_before) {
                return Ok(());
            }
            state.not_before = None;
            if state.lifeline.is_none() {
                let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
                state.lifeline = Some((Arc::new(read), write));
            }
            state.lifeline.as_ref().map(|(read, _)| Arc::clone(read))
        };
        let Some(lifeline) = lifeline else { return Ok(()) };
        while self.children.staying() < self.count {
            match sys::fork(&self.tasks) {
                Ok(Forked::Parent(pid)) => self.children.add(pid, None, Vec::new()),
                Ok(Forked::Child) => self.run(core, &lifeline, work),
                Err(error) => {
                    self.state().not_before = Some(Instant::now() + PAUSES.1);
                    let reason = format!("cannot fork a worker: {error}");
                    let error = HandlerError::new(Reason::NoProcess, reason);
                    guarded(|| core.hooks.handle_child_error(None, &error));
                    break;
                }
            }
        }
        Ok(())
    }

    fn run(&self, core: &Core, lifeline: &Arc<OwnedFd>, work: Work<'_>) -> ! {
        if let Some((_, write)) = &self.state().lifeline {
            sys::close_inherited(write.as_fd());
        }
        self.children.close_inherited();
        self.tasks.close_inherited();
        let status = guarded(|| match core.hooks.after_fork_in_child(None) {
            Ok(()) => work(&self.threading, Arc::clone(lifeline)),
            Err(error) => {
                core.hooks.handle_child_error(None, &error);
                1
            }
        });
        sys::exit_now(status.unwrap_or(1))
    }

    /// Ends a run: the workers finish the requests that they have, and end.
    pub(crate) fn end(&self) {
        self.children.let_go();
        *self.state() = State::default();
    }

    pub(crate) fn close(&self, core: &Core, deadline: Option<Instant>) -> usize {
        self.end();
        self.collect(core);
        let waits = self.threading.block_on_close && !self.threading.daemon_threads;
        while waits && self.children.wait(deadline) {
            self.collect(core);
        }
        self.children.count()
    }
}
