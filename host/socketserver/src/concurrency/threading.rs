//! A thread for each request: Python's `ThreadingMixIn`.
//!
//! A request has a thread to itself while it is in flight. When it is done the
//! thread stays parked for a while and takes the next request, because a new thread
//! costs more than most requests do.
//!
//! To wake a thread costs a tenth of a short request. So a thread that is done with a request
//! becomes a leader if there are fewer leaders than processors: it takes the next request at
//! the [`Post`] itself, and runs it. A leader whose request is about to wait hands its
//! leadership to a parked thread. The thread that serves takes requests while there is no
//! leader, or none but leaders whose requests take long.

use std::cell::Cell;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_utils::sync::{Parker, Unparker};

use super::dispatcher::{Dispatched, Dispatcher, ServerSockets};
use super::job::{Application, Job};
use super::post::{Post, Term};
use super::settings::Threading;
use crate::before_wait::{self, BeforeWait};
use crate::error::{BuildError, HandlerError};
use crate::listen::listener::Listener;
use crate::reason::Reason;
use crate::server::control::Control;
use crate::sys;

/// The longest time that a thread stays parked.
const MAX_PARKED: Duration = Duration::from_secs(10);

/// The size of the stack of a thread: Rust's default, and a signal stack.
const STACK_SIZE: usize = (2 << 20) + sys::SIGNAL_STACK_SIZE;

thread_local! {
    /// The address of the [`Pool`] for which the current thread runs a request.
    static CURRENT_POOL: Cell<usize> = const { Cell::new(0) };
}

/// Runs each request in a thread.
pub(super) struct RequestThreads(Arc<Pool>);

/// The threads of one server.
struct Pool {
    max_requests: usize,
    waits_on_close: bool,
    control: Arc<Control>,
    state: Mutex<State>,
    /// Signalled when a request is done after the server was closed.
    drained: Condvar,
}

struct State {
    in_flight: usize,
    /// The threads that wait for a request. The last thread to park gets the next
    /// request: its stack is warm, and the first ones can end after a burst.
    parked: Vec<Parked>,
    /// Set if the loop has seen that there is no permit, and waits for one.
    loop_waits: bool,
    /// The post of the loop that runs.
    post: Option<Arc<dyn Post>>,
    closed: bool,
}

/// A parked thread, and the time at which it parked.
struct Parked {
    thread: Arc<RequestThread>,
    since: Instant,
}

/// A thread that runs requests, with the slot for its next one.
struct RequestThread {
    slot: Mutex<Slot>,
    unparker: Unparker,
}

#[derive(Default)]
enum Slot {
    #[default]
    Empty,
    Request(Job),
    Lead(Arc<Leader>),
    /// No more requests will come.
    End,
}

/// The next thing that a thread does.
enum Task {
    Run(Job),
    Lead(Arc<Leader>),
}

/// The leadership of a thread: the thread takes requests itself.
struct Leader {
    pool: Arc<Pool>,
    post: Arc<dyn Post>,
    term: Term,
}

/// A leader that is about to wait hands its leadership to a parked thread.
impl BeforeWait for Leader {
    fn give_away(self: Arc<Self>) {
        let parked = self.pool.state().parked.pop();
        match parked {
            Some(Parked { thread, .. }) => thread.fill(Slot::Lead(self)),
            None => self.post.step_down(self.term),
        }
    }
}

impl RequestThread {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill(&self, slot: Slot) {
        *self.slot() = slot;
        self.unparker.unpark();
    }

    /// Waits for the next task. Returns `None` when the thread must end.
    fn next_task(&self, parker: &Parker) -> Option<Task> {
        loop {
            let slot = std::mem::take(&mut *self.slot());
            match slot {
                Slot::Request(job) => return Some(Task::Run(job)),
                Slot::Lead(leader) => return Some(Task::Lead(leader)),
                Slot::End => return None,
                Slot::Empty => parker.park(),
            }
        }
    }
}

impl RequestThreads {
    pub(super) fn new(settings: &Threading, control: Arc<Control>) -> Result<Self, BuildError> {
        Ok(RequestThreads(Arc::new(Pool {
            max_requests: settings.max_requests()?,
            waits_on_close: settings.waits_on_close(),
            control,
            state: Mutex::new(State {
                in_flight: 0,
                parked: Vec::new(),
                loop_waits: false,
                post: None,
                closed: false,
            }),
            drained: Condvar::new(),
        })))
    }
}

impl Dispatcher for RequestThreads {
    fn max_requests(&self) -> usize {
        self.0.max_requests
    }

    fn has_free_permit(&self) -> bool {
        let mut state = self.0.state();
        state.loop_waits = state.in_flight >= self.0.max_requests;
        !state.loop_waits
    }

    /// Runs `job` in a parked thread, or in a new one.
    fn process_request(&self, job: Job, _sockets: ServerSockets<'_>) -> Dispatched {
        let parked = {
            let mut state = self.0.state();
            state.in_flight += 1;
            state.parked.pop()
        };
        match parked {
            Some(Parked { thread, .. }) => {
                thread.fill(Slot::Request(job));
                Dispatched::Done
            }
            None => start_thread(&self.0, job),
        }
    }

    fn has_leaders(&self, _listeners: &[Listener]) -> bool {
        true
    }

    fn begin_run(&self, post: Arc<dyn Post>) {
        self.0.state().post = Some(post);
    }

    fn take_permit(&self) {
        self.0.state().in_flight += 1;
    }

    fn end_run(&self) {
        self.0.state().post = None;
    }

    fn close(&self, _app: &Application, deadline: Option<Instant>) -> usize {
        self.0.close(deadline)
    }

    fn in_flight(&self) -> usize {
        self.0.state().in_flight
    }

    fn end_idle_threads(&self) {
        let mut state = self.0.state();
        // The list is in the order in which the threads parked.
        let expired = state.parked.partition_point(|parked| parked.since.elapsed() > MAX_PARKED);
        for Parked { thread, .. } in state.parked.drain(..expired) {
            thread.fill(Slot::End);
        }
    }
}

fn start_thread(pool: &Arc<Pool>, job: Job) -> Dispatched {
    // The job is in the slot and not in the closure, so that it is still here if the
    // thread cannot start.
    let slot = Mutex::new(Slot::Request(job));
    let parker = Parker::new();
    let thread = Arc::new(RequestThread { slot, unparker: parker.unparker().clone() });
    let (own_pool, own_thread) = (Arc::clone(pool), Arc::clone(&thread));
    let started = thread::Builder::new()
        .name("request".to_owned())
        .stack_size(STACK_SIZE)
        .spawn(move || own_pool.run_requests(&own_thread, &parker));
    let Err(error) = started else { return Dispatched::Done };
    pool.request_done(&mut pool.state());
    if let Slot::Request(job) = std::mem::take(&mut *thread.slot()) {
        job.fail(&HandlerError::new(
            Reason::NoThread,
            format!("cannot start a thread for the request: {error}"),
        ));
    }
    Dispatched::Exhausted
}

impl Pool {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn run_requests(self: &Arc<Self>, thread: &Arc<RequestThread>, parker: &Parker) {
        sys::use_end_of_stack_for_signals();
        while let Some(task) = thread.next_task(parker) {
            let mut next = match task {
                Task::Run(job) => {
                    self.run(&job);
                    self.end_request(thread, None)
                }
                Task::Lead(leader) => Next::Lead(leader),
            };
            while let Next::Lead(leader) = next {
                next = self.lead(thread, leader);
            }
            if matches!(next, Next::End) {
                return;
            }
        }
    }

    fn run(&self, job: &Job) {
        CURRENT_POOL.set(self.address());
        job.run();
        CURRENT_POOL.set(0);
    }

    /// Takes a request at the post, and runs it.
    fn lead(self: &Arc<Self>, thread: &Arc<RequestThread>, leader: Arc<Leader>) -> Next {
        let Some(job) = leader.post.next_request(leader.term) else {
            return self.state().park(thread);
        };
        before_wait::set(Arc::clone(&leader) as Arc<dyn BeforeWait>);
        self.run(&job);
        let leads = before_wait::forget();
        self.end_request(thread, leads.then_some(leader))
    }

    /// Ends a request. Then its thread leads if it still does or may, or parks.
    fn end_request(
        self: &Arc<Self>,
        thread: &Arc<RequestThread>,
        leader: Option<Arc<Leader>>,
    ) -> Next {
        let mut state = self.state();
        self.request_done(&mut state);
        let leader = leader.or_else(|| {
            let post = state.post.as_ref()?;
            let term = post.promote()?;
            Some(Arc::new(Leader { pool: Arc::clone(self), post: Arc::clone(post), term }))
        });
        match leader {
            Some(leader) => Next::Lead(leader),
            None => state.park(thread),
        }
    }

    fn request_done(&self, state: &mut State) {
        state.in_flight -= 1;
        if state.closed {
            self.drained.notify_all();
        }
        if std::mem::take(&mut state.loop_waits) {
            self.control.wake();
        }
    }

    fn close(&self, deadline: Option<Instant>) -> usize {
        let mut state = self.state();
        state.closed = true;
        for Parked { thread, .. } in state.parked.drain(..) {
            thread.fill(Slot::End);
        }
        // A handler that closes its own server cannot wait for itself.
        let own = usize::from(CURRENT_POOL.get() == self.address());
        while self.waits_on_close && state.in_flight > own {
            let left = match deadline {
                None => Duration::MAX,
                Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            };
            if left.is_zero() {
                break;
            }
            let waited = self.drained.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.in_flight
    }
}

impl State {
    /// Parks a thread, which ends if the server is closed.
    fn park(&mut self, thread: &Arc<RequestThread>) -> Next {
        if self.closed {
            return Next::End;
        }
        self.parked.push(Parked { thread: Arc::clone(thread), since: Instant::now() });
        Next::Wait
    }
}

/// The next thing that a thread does after a request.
enum Next {
    /// Takes another request itself.
    Lead(Arc<Leader>),
    /// Waits for a task.
    Wait,
    /// Ends: the server is closed.
    End,
}

#[cfg(test)]
mod tests;
