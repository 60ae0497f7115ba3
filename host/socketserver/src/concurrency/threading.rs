//! A thread for each request: Python's `ThreadingMixIn`.
//!
//! A request has a thread to itself while it is in flight. When it is done the
//! thread stays for a while and takes the next one, because a new thread costs
//! more than most requests do.

use std::cell::Cell;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::Job;
use crate::capacity::{Capacity, Needs};
use crate::control::Control;
use crate::error::{BuildError, HandlerError};
use crate::reason::Reason;

/// How long a thread is kept that has no request.
const KEEP: Duration = Duration::from_secs(10);

thread_local! {
    /// Whose request threads the current one is of, by address.
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

/// The settings of [`Concurrency::Threading`](crate::Concurrency::Threading).
#[derive(Debug, Clone)]
pub struct Threading {
    /// How many requests may be in flight at once; the clients of others wait
    /// in the backlog. `None` for as many as the machine can hold. CPython has
    /// no such limit.
    pub max_requests: Option<usize>,
    /// How many the machine can hold. A handler that takes more than a thread
    /// and a socket lowers it.
    pub capacity: Capacity,
    /// Whether closing the server leaves requests in flight to themselves.
    /// Python's `daemon_threads`, false by default.
    pub daemon_threads: bool,
    /// Whether closing the server waits for the requests in flight. Python's
    /// `block_on_close`, true by default.
    pub block_on_close: bool,
}

impl Threading {
    /// Python's defaults, and as many requests at once as the machine can
    /// hold if each takes a thread and a socket.
    pub fn new() -> Self {
        Threading {
            max_requests: None,
            capacity: Capacity::of_this_machine(Needs::THREAD),
            daemon_threads: false,
            block_on_close: true,
        }
    }

    /// How many requests may be in flight, 1 at least.
    pub(super) fn max_requests(&self) -> Result<usize, BuildError> {
        match self.max_requests {
            Some(asked) if asked > self.capacity.requests => {
                Err(BuildError::TooManyRequests { asked, capacity: self.capacity.clone() })
            }
            Some(asked) => Ok(asked.max(1)),
            None => Ok(self.capacity.requests),
        }
    }
}

impl Default for Threading {
    fn default() -> Self {
        Self::new()
    }
}

/// The threads of one server.
pub(crate) struct Threads {
    max_requests: usize,
    waits_on_close: bool,
    control: Arc<Control>,
    state: Mutex<State>,
    /// Signalled when a request is done after the server was closed.
    drained: Condvar,
}

struct State {
    in_flight: usize,
    /// The threads that wait for a request. The last to come is the first to
    /// be given one: its stack is warm, and the first can end after a burst.
    parked: Vec<Parked>,
    /// The loop has seen that there is no room, and waits.
    loop_waits: bool,
    closed: bool,
}

/// A thread that waits for a request, and since when.
struct Parked {
    worker: Arc<Worker>,
    since: Instant,
}

/// A thread, and the place where it is given its next request.
#[derive(Default)]
struct Worker {
    next: Mutex<Next>,
    given: Condvar,
}

#[derive(Default)]
enum Next {
    #[default]
    Nothing,
    Request(Job),
    /// There will be no more.
    End,
}

impl Worker {
    fn next(&self) -> MutexGuard<'_, Next> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give(&self, next: Next) {
        *self.next() = next;
        self.given.notify_one();
    }

    /// Waits for the next request; `None` when it is time to end.
    fn wait(&self) -> Option<Job> {
        let nothing_yet = |next: &mut Next| matches!(next, Next::Nothing);
        let waited = self.given.wait_while(self.next(), nothing_yet);
        match std::mem::take(&mut *waited.unwrap_or_else(PoisonError::into_inner)) {
            Next::Request(job) => Some(job),
            Next::Nothing | Next::End => None,
        }
    }
}

impl Threads {
    pub(crate) fn new(options: &Threading, control: Arc<Control>) -> Result<Arc<Self>, BuildError> {
        let max_requests = options.max_requests()?;
        Ok(Arc::new(Threads {
            max_requests,
            waits_on_close: options.block_on_close && !options.daemon_threads,
            control,
            state: Mutex::new(State {
                in_flight: 0,
                parked: Vec::new(),
                loop_waits: false,
                closed: false,
            }),
            drained: Condvar::new(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn max_requests(&self) -> usize {
        self.max_requests
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.state().in_flight
    }

    pub(crate) fn has_room(&self) -> bool {
        let mut state = self.state();
        state.loop_waits = state.in_flight >= self.max_requests;
        !state.loop_waits
    }

    /// Runs `job` in a parked thread, or in a new one.
    pub(crate) fn process_request(self: &Arc<Self>, job: Job) -> bool {
        let parked = {
            let mut state = self.state();
            state.in_flight += 1;
            state.parked.pop()
        };
        match parked {
            Some(Parked { worker, .. }) => {
                worker.give(Next::Request(job));
                true
            }
            None => self.start_thread(job),
        }
    }

    fn start_thread(self: &Arc<Self>, job: Job) -> bool {
        // The job is not moved into the thread, so that it is still here if
        // there is no thread.
        let worker = Arc::new(Worker { next: Mutex::new(Next::Request(job)), ..Worker::default() });
        let (threads, of_thread) = (Arc::clone(self), Arc::clone(&worker));
        let started = thread::Builder::new()
            .name("request".to_owned())
            .spawn(move || threads.run_thread(&of_thread));
        let Err(error) = started else { return true };
        self.done(&mut self.state());
        if let Next::Request(job) = std::mem::take(&mut *worker.next()) {
            job.fail(&HandlerError::new(
                Reason::NoThread,
                format!("cannot start a thread for the request: {error}"),
            ));
        }
        false
    }

    fn run_thread(&self, worker: &Arc<Worker>) {
        CURRENT.set(std::ptr::from_ref(self).addr());
        while let Some(job) = worker.wait() {
            job.run();
            if !self.park(worker) {
                return;
            }
        }
    }

    /// Ends a request and, unless the server is closed, puts its thread on
    /// the list.
    fn park(&self, worker: &Arc<Worker>) -> bool {
        let since = Instant::now();
        let mut state = self.state();
        self.done(&mut state);
        if !state.closed {
            state.parked.push(Parked { worker: Arc::clone(worker), since });
        }
        !state.closed
    }

    /// Ends the threads that nobody has needed for a while.
    pub(crate) fn end_idle_threads(&self) {
        let mut state = self.state();
        // The list is in the order in which they were parked.
        let expired = state.parked.partition_point(|parked| parked.since.elapsed() > KEEP);
        for Parked { worker, .. } in state.parked.drain(..expired) {
            worker.give(Next::End);
        }
    }

    fn done(&self, state: &mut State) {
        state.in_flight -= 1;
        if state.closed {
            self.drained.notify_all();
        }
        if std::mem::take(&mut state.loop_waits) {
            self.control.wake();
        }
    }

    pub(crate) fn close(&self, deadline: Option<Instant>) -> usize {
        let mut state = self.state();
        state.closed = true;
        for Parked { worker, .. } in state.parked.drain(..) {
            worker.give(Next::End);
        }
        // A handler that closes its own server cannot wait for itself.
        let own = usize::from(CURRENT.get() == std::ptr::from_ref(self).addr());
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
