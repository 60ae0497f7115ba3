//! Requests as tasks of a few threads: for very many connections at once.
//!
//! A thread runs each of its requests until it waits. A request stays in its thread. The threads
//! take requests at the [`Post`] themselves: a request begins in the thread that took it, without
//! a wake-up, and one epoll reports clients and the events of tasks. The thread that serves takes
//! requests while all of them are busy, and those of a server that has datagrams. It hands them to
//! the thread that has the fewest.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, Timespec, eventfd};

use super::dispatcher::{Dispatched, Dispatcher, ServerSockets};
use super::job::{Application, Job};
use super::permits::Permits;
use super::post::{Post, SteppedDown, Term};
use super::settings::Fibers;
use crate::address::SocketType;
use crate::error::{BuildError, HandlerError};
use crate::listen::listener::Listener;
use crate::reactor::{self, Reactor};
use crate::reason::Reason;
use crate::server::control::Control;

/// The time for which a thread takes clients, one after the other, before it does its other work;
/// and the time for which it does that before it looks for clients and events again. The loop takes
/// clients itself, and hands them over, if no thread has looked for twice as long.
const SLICE: Duration = Duration::from_micros(500);

/// Runs each request as a task.
pub(super) struct RequestFibers {
    permits: Arc<Permits>,
    waits_on_close: bool,
    max_threads: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    threads: Vec<Arc<FiberThread>>,
    /// The post of the loop that runs.
    post: Option<Arc<dyn Post>>,
}

/// A thread that runs tasks.
struct FiberThread {
    permits: Arc<Permits>,
    reactor: Arc<Reactor>,
    /// Wakes the thread if it sleeps.
    bell: OwnedFd,
    inbox: Mutex<Inbox>,
}

#[derive(Default)]
struct Inbox {
    /// Set if the thread is to take requests at another place, or no longer.
    assignment: Option<Assignment>,
    work: VecDeque<Work>,
    /// The number of tasks and jobs of the thread.
    load: usize,
    sleeps: bool,
    closed: bool,
}

/// The next thing that a thread does, in the order in which it came.
enum Work {
    Begin(Job),
    /// A task can go on.
    Resume(usize),
}

/// A request that runs, or waits.
struct Task {
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    waker: Waker,
}

/// Wakes one task.
struct TaskWaker {
    thread: Arc<FiberThread>,
    task: usize,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.thread.post(|inbox| inbox.work.push_back(Work::Resume(self.task)));
    }
}

/// The place of a thread from now on.
enum Assignment {
    At(Place),
    Nowhere,
}

/// A place of a thread at a post.
struct Place {
    post: Arc<dyn Post>,
    reactor: Arc<Reactor>,
    /// The term for which the thread leads.
    term: Option<Term>,
    /// Set if the reactor reports clients, as it does while the thread leads.
    watches: bool,
    /// Set if there may be a client.
    may_have_client: bool,
    /// Set if the reactor has reported a client since the last look.
    was_woken: bool,
}

impl State {
    fn set_post(&mut self, post: Option<Arc<dyn Post>>) {
        self.post = post;
        self.threads.iter().for_each(|thread| thread.take_place(self.post.as_ref()));
    }
}

impl RequestFibers {
    pub(super) fn new(settings: &Fibers, control: Arc<Control>) -> Result<Self, BuildError> {
        Ok(RequestFibers {
            permits: Arc::new(Permits::new(settings.max_requests()?, control)),
            waits_on_close: settings.waits_on_close(),
            max_threads: settings.threads.max(1),
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the threads that are missing. One is enough.
    fn start_threads(&self, state: &mut State) -> io::Result<()> {
        while state.threads.len() < self.max_threads {
            match FiberThread::start(&self.permits) {
                Ok(thread) => {
                    thread.take_place(state.post.as_ref());
                    state.threads.push(thread);
                }
                Err(_) if !state.threads.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Returns the thread with the fewest tasks.
    fn thread(&self) -> io::Result<Arc<FiberThread>> {
        let mut state = self.state();
        self.start_threads(&mut state)?;
        let least = state.threads.iter().min_by_key(|thread| thread.inbox().load);
        least.map(Arc::clone).ok_or_else(|| io::Error::other("no thread"))
    }
}

impl Dispatcher for RequestFibers {
    fn max_requests(&self) -> usize {
        self.permits.max_requests()
    }

    fn has_free_permit(&self) -> bool {
        self.permits.has_free()
    }

    fn process_request(&self, job: Job, _sockets: ServerSockets<'_>) -> Dispatched {
        match self.thread() {
            Ok(thread) => {
                self.permits.take();
                thread.post(|inbox| {
                    inbox.load += 1;
                    inbox.work.push_back(Work::Begin(job));
                });
                Dispatched::Done
            }
            Err(error) => {
                let message = format!("cannot start a thread for requests: {error}");
                job.fail(&HandlerError::new(Reason::NoThread, message));
                Dispatched::Exhausted
            }
        }
    }

    /// A request of a datagram may wait for the server's socket, and no epoll reports a socket both
    /// to its thread as clients and to a task. So the loop takes the requests of a server that has
    /// datagrams.
    fn has_leaders(&self, listeners: &[Listener]) -> bool {
        listeners.iter().all(|listener| listener.info().socket_type == SocketType::Stream)
    }

    fn begin_run(&self, post: Arc<dyn Post>) {
        let mut state = self.state();
        state.set_post(Some(post));
        // If there is none, the first request says so.
        let _ = self.start_threads(&mut state);
    }

    fn take_permit(&self) {
        self.permits.take();
    }

    fn end_run(&self) {
        self.state().set_post(None);
    }

    fn close(&self, _app: &Application, deadline: Option<Instant>) -> usize {
        // A request that closes its own server would hold up all others of its thread.
        let waits = self.waits_on_close && reactor::current().is_none();
        let left =
            if waits { self.permits.wait_for_end(deadline) } else { self.permits.in_flight() };
        self.state().threads.iter().for_each(|thread| thread.post(|inbox| inbox.closed = true));
        left
    }

    fn in_flight(&self) -> usize {
        self.permits.in_flight()
    }
}

impl FiberThread {
    fn start(permits: &Arc<Permits>) -> io::Result<Arc<Self>> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let thread = Arc::new(FiberThread {
            permits: Arc::clone(permits),
            reactor: Arc::new(Reactor::new(bell.as_fd())?),
            bell,
            inbox: Mutex::default(),
        });
        let own = Arc::clone(&thread);
        thread::Builder::new().name("fibers".to_owned()).spawn(move || own.run())?;
        Ok(thread)
    }

    /// Has the thread take requests at a post, or no longer.
    fn take_place(&self, post: Option<&Arc<dyn Post>>) {
        let place = post.map(|post| Place::new(Arc::clone(post), Arc::clone(&self.reactor)));
        let assignment = place.map_or(Assignment::Nowhere, Assignment::At);
        self.post(|inbox| inbox.assignment = Some(assignment));
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the inbox, and wakes the thread if it sleeps.
    fn post(&self, change: impl FnOnce(&mut Inbox)) {
        let mut inbox = self.inbox();
        change(&mut inbox);
        if mem::take(&mut inbox.sleeps) {
            drop(inbox);
            // The counter has room for this one.
            let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        }
    }

    fn run(self: &Arc<Self>) {
        self.reactor.enter();
        let mut tasks = Tasks::default();
        let mut place: Option<Place> = None;
        let mut work = VecDeque::new();
        loop {
            let assignment = {
                let mut inbox = self.inbox();
                if inbox.closed && inbox.load == 0 {
                    return;
                }
                work.append(&mut inbox.work);
                inbox.assignment.take()
            };
            match assignment {
                Some(Assignment::At(new)) => place = Some(new),
                Some(Assignment::Nowhere) => place = None,
                None => {}
            }
            // First, because the kernel has woken no other thread for them.
            let begun = Instant::now();
            while let Some(job) = place.as_mut().and_then(Place::take_request) {
                self.inbox().load += 1;
                self.begin(&mut tasks, job);
                if begun.elapsed() >= SLICE {
                    break;
                }
            }
            let begun = Instant::now();
            while begun.elapsed() < SLICE {
                match work.pop_front() {
                    Some(Work::Begin(job)) => self.begin(&mut tasks, job),
                    Some(Work::Resume(task)) => self.poll(&mut tasks, task),
                    None => break,
                }
            }
            self.turn(place.as_mut(), work.is_empty());
        }
    }

    /// Wakes tasks, and learns of clients. Waits for an event if there is nothing to do, neither in
    /// the thread, which is `idle` then, nor in its inbox.
    fn turn(&self, mut place: Option<&mut Place>, idle: bool) {
        const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
        let leads = place.as_mut().is_none_or(|place| place.begin_wait());
        let may_wait = leads && idle && self.inbox().begin_sleep();
        let timeout = if may_wait { self.reactor.time_left() } else { Some(NOW) };
        let turned = self.reactor.turn(timeout.as_ref(), || self.inbox().sleeps = false);
        if let Some(place) = place {
            place.end_wait(turned.as_ref().is_ok_and(|turned| turned.has_client));
        }
        if turned.is_ok_and(|turned| turned.has_rung) {
            // Nothing else reads it.
            let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        }
    }

    /// Begins a task for a request, and runs it until it waits.
    fn begin(self: &Arc<Self>, tasks: &mut Tasks, job: Job) {
        let future = Box::pin(async move {
            let _ = job.run_async().await;
        });
        let wakes = |task| Waker::from(Arc::new(TaskWaker { thread: Arc::clone(self), task }));
        let task = tasks.add(|number| Task { future, waker: wakes(number) });
        self.poll(tasks, task);
    }

    /// Runs a task until it waits, or is done.
    fn poll(self: &Arc<Self>, tasks: &mut Tasks, number: usize) {
        // A task may have been woken twice.
        let Some(Task { future, waker }) = tasks.get(number) else { return };
        if future.as_mut().poll(&mut Context::from_waker(waker)) == Poll::Ready(()) {
            tasks.remove(number);
            self.inbox().load -= 1;
            self.permits.give_back();
        }
    }
}

impl Inbox {
    /// Returns true if there is nothing to do: from now on a change of the inbox wakes the thread.
    fn begin_sleep(&mut self) -> bool {
        let is_over = self.closed && self.load == 0;
        let is_empty = self.assignment.is_none() && self.work.is_empty();
        self.sleeps = is_empty && !is_over;
        self.sleeps
    }
}

impl Place {
    fn new(post: Arc<dyn Post>, reactor: Arc<Reactor>) -> Self {
        let (term, watches) = (None, false);
        Place { post, reactor, term, watches, may_have_client: false, was_woken: false }
    }

    /// Takes a request, if there is one and the thread may.
    fn take_request(&mut self) -> Option<Job> {
        if self.term.is_some() && !self.may_have_client {
            return None;
        }
        let term = self.term.or_else(|| self.post.promote())?;
        self.term = Some(term);
        let taken = self.post.take_request(term, mem::take(&mut self.was_woken));
        let job = taken.unwrap_or_else(|_: SteppedDown| {
            self.term = None;
            self.forget_clients();
            None
        });
        self.may_have_client = job.is_some();
        job
    }

    /// Begins a wait in the reactor. Returns false if the thread must not wait: it may lead again.
    fn begin_wait(&mut self) -> bool {
        let Some(term) = self.term else { return true };
        if !self.watches {
            self.watches = self.post.watch_clients(self.reactor.epoll()).is_ok();
        }
        if !self.watches {
            // Without room in the epoll, the thread runs the requests that the loop gives to it.
            self.step_down();
            return true;
        }
        let may_wait = self.post.begin_wait(term);
        if !may_wait {
            self.step_down();
        }
        may_wait
    }

    /// Ends a wait, in which the reactor has reported a client or not.
    fn end_wait(&mut self, has_client: bool) {
        if self.term.is_some() {
            self.post.end_wait();
        }
        self.may_have_client |= has_client;
        self.was_woken |= has_client;
    }

    fn step_down(&mut self) {
        if let Some(term) = self.term.take() {
            self.post.step_down(term);
        }
        self.forget_clients();
    }

    fn forget_clients(&mut self) {
        if mem::take(&mut self.watches) {
            self.post.forget_clients(self.reactor.epoll());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.step_down();
    }
}

/// The tasks of a thread, by their numbers, which are used again.
#[derive(Default)]
struct Tasks {
    places: Vec<Option<Task>>,
    free: Vec<usize>,
}

impl Tasks {
    /// Adds the task that `task` returns for its number.
    fn add(&mut self, task: impl FnOnce(usize) -> Task) -> usize {
        let number = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.places[number] = Some(task(number));
        number
    }

    fn get(&mut self, number: usize) -> Option<&mut Task> {
        self.places.get_mut(number)?.as_mut()
    }

    fn remove(&mut self, number: usize) {
        self.places[number] = None;
        self.free.push(number);
    }
}
