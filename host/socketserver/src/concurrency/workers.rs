//! Several processes, each of which serves in threads or in fibers.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::SigSet;
use rustix::pipe::{PipeFlags, pipe_with};

use super::children::{Children, EndedChild};
use super::dispatcher::{Dispatched, Dispatcher, RunWorker, ServerSockets, WorkerSettings};
use super::job::{Application, Job, RequestEnd, catch_panic};
use super::post::max_leaders;
use super::settings::{WorkerConcurrency, Workers};
use crate::error::{BuildError, HandlerError};
use crate::reason::Reason;
use crate::server::post::{new_bell, ring};
use crate::sys::{self, Forked, Tasks};

/// The first and the longest pause before a worker that died is replaced. The pause
/// doubles with each early death in a row.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The lifetime from which on the death of a worker is not an early one.
const EARLY: Duration = Duration::from_secs(10);

/// Has the requests served by worker processes.
pub(super) struct WorkerProcesses {
    count: usize,
    concurrency: WorkerConcurrency,
    max_requests: usize,
    tasks: Tasks,
    /// The signals that workers leave to this process.
    for_parent: Option<SigSet>,
    children: Children,
    /// Wakes the leaders of all workers.
    bell: Arc<OwnedFd>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lifeline: Option<Lifeline>,
    /// The number of early deaths in a row.
    early_deaths: u32,
    /// The time before which no worker is started.
    not_before: Option<Instant>,
}

/// A pipe without data. The workers of a run have one end; when their parent closes the
/// other end, or dies, they see the end of the pipe, and end too.
struct Lifeline {
    for_workers: Arc<OwnedFd>,
    for_parent: OwnedFd,
}

impl Lifeline {
    fn new() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok(Lifeline { for_workers: Arc::new(read), for_parent: write })
    }
}

impl WorkerProcesses {
    pub(super) fn new(settings: &Workers, for_parent: Option<SigSet>) -> Result<Self, BuildError> {
        let Workers { count, concurrency } = settings.clone();
        let count = count.max(1);
        let requests_per_worker = concurrency.max_requests()?;
        Ok(WorkerProcesses {
            count,
            concurrency,
            max_requests: requests_per_worker.saturating_mul(count),
            tasks: Tasks::new()?,
            for_parent,
            children: Children::new(None)?,
            bell: new_bell()?,
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the workers' end of the lifeline, which is made at the beginning of a
    /// run; `None` in the pause after a death.
    fn lifeline(&self) -> io::Result<Option<Arc<OwnedFd>>> {
        let mut state = self.state();
        if state.not_before.is_some_and(|not_before| Instant::now() < not_before) {
            return Ok(None);
        }
        state.not_before = None;
        let lifeline = match state.lifeline.take() {
            Some(lifeline) => lifeline,
            None => Lifeline::new()?,
        };
        Ok(Some(Arc::clone(&state.lifeline.insert(lifeline).for_workers)))
    }

    fn run_child(&self, app: &Application, lifeline: &Arc<OwnedFd>, run: RunWorker<'_>) -> ! {
        if let Some(lifeline) = &self.state().lifeline {
            sys::close_inherited(lifeline.for_parent.as_fd());
        }
        self.children.close_inherited();
        self.tasks.close_inherited();
        let status = catch_panic(|| match app.hooks.after_fork_in_child(None) {
            Ok(()) => run(WorkerSettings {
                concurrency: self.concurrency.in_worker(),
                lifeline: Arc::clone(lifeline),
                bell: Arc::clone(&self.bell),
                max_leaders: (max_leaders() / self.count).max(1),
            }),
            Err(error) => {
                app.hooks.handle_child_error(None, &error);
                1
            }
        });
        sys::exit_now(status.unwrap_or(1))
    }

    /// Counts the death of a worker, and returns the pause before it is replaced.
    fn pause_after(&self, ended: &EndedChild) -> Duration {
        let mut state = self.state();
        let early = ended.lifetime < EARLY;
        state.early_deaths = if early { state.early_deaths.saturating_add(1) } else { 0 };
        let (first, longest) = PAUSES;
        let doubled = 1 << state.early_deaths.saturating_sub(1).min(10);
        let pause = first.saturating_mul(doubled).min(longest);
        state.not_before = Some(Instant::now() + pause);
        pause
    }
}

impl Dispatcher for WorkerProcesses {
    fn max_requests(&self) -> usize {
        self.max_requests
    }

    /// Returns false: the workers take the requests.
    fn has_free_permit(&self) -> bool {
        false
    }

    /// Runs a request in this thread. The loop takes none for a server with workers.
    fn process_request(&self, job: Job, _sockets: ServerSockets<'_>) -> Dispatched {
        match job.run() {
            RequestEnd::Exit(exit) => Dispatched::Exit(exit),
            RequestEnd::Done | RequestEnd::Failed => Dispatched::Done,
        }
    }

    fn close(&self, app: &Application, deadline: Option<Instant>) -> usize {
        self.end_run();
        self.collect_children(app);
        while self.concurrency.waits_on_close() && self.children.wait(deadline) {
            self.collect_children(app);
        }
        self.children.count()
    }

    fn children(&self) -> Option<&Children> {
        Some(&self.children)
    }

    /// Reaps the workers that have ended, and reports them.
    fn collect_children(&self, app: &Application) {
        let report = |failure: String| {
            let error = HandlerError::new(Reason::Worker, failure);
            catch_panic(|| app.hooks.handle_child_error(None, &error));
        };
        for ended in self.children.collect() {
            // It may have been woken for a client that it did not take.
            ring(&self.bell);
            let failure = ended.failure();
            if ended.leaving {
                // Its run is over, and the next one may have begun.
                if let Some(failure) = failure {
                    report(format!("a worker is gone: {failure}"));
                }
                continue;
            }
            let pause = self.pause_after(&ended);
            let failure = failure.unwrap_or_else(|| format!("process {} ended early", ended.pid));
            report(format!("a worker is gone, and is replaced in {pause:?}: {failure}"));
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        [self.state().not_before, self.children.next_deadline()].into_iter().flatten().min()
    }

    fn threads_if_forking(&self) -> Option<io::Result<u64>> {
        Some(self.tasks.threads())
    }

    fn has_workers(&self) -> bool {
        true
    }

    /// Begins a run, and starts the workers that are missing, unless a worker died a
    /// moment ago.
    fn start_workers(&self, app: &Application, run: RunWorker<'_>) -> io::Result<()> {
        let Some(lifeline) = self.lifeline()? else { return Ok(()) };
        while self.children.count_staying() < self.count {
            match sys::fork(&self.tasks, self.for_parent.as_ref()) {
                Ok(Forked::Parent(pid)) => self.children.add(pid, None, Vec::new()),
                Ok(Forked::Child) => self.run_child(app, &lifeline, run),
                Err(error) => {
                    self.state().not_before = Some(Instant::now() + PAUSES.1);
                    let reason = format!("cannot fork a worker: {error}");
                    let error = HandlerError::new(Reason::NoProcess, reason);
                    catch_panic(|| app.hooks.handle_child_error(None, &error));
                    break;
                }
            }
        }
        Ok(())
    }

    fn end_run(&self) {
        self.children.expect_ends();
        // This closes the lifeline.
        *self.state() = State::default();
    }
}
