//! Requests as tasks of a few threads: for very many connections at once.
//!
//! A thread runs each of its requests until it waits. A request stays in its thread.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Instant;

use rustix::event::{EventfdFlags, eventfd};

use super::dispatcher::{Dispatched, Dispatcher, ServerSockets};
use super::job::{Application, Job};
use super::permits::Permits;
use super::settings::Fibers;
use crate::error::{BuildError, HandlerError};
use crate::reactor::{self, Reactor};
use crate::reason::Reason;
use crate::server::control::Control;

/// Runs each request as a task.
pub(super) struct RequestFibers {
    permits: Arc<Permits>,
    waits_on_close: bool,
    /// The threads. They start with the first request.
    threads: Mutex<Vec<Arc<FiberThread>>>,
    max_threads: usize,
}

/// A thread that runs tasks.
struct FiberThread {
    permits: Arc<Permits>,
    /// Wakes the thread if it sleeps.
    bell: OwnedFd,
    inbox: Mutex<Inbox>,
}

#[derive(Default)]
struct Inbox {
    jobs: VecDeque<Job>,
    /// The tasks that can go on.
    woken: VecDeque<usize>,
    /// The number of tasks and jobs of the thread.
    load: usize,
    sleeps: bool,
    closed: bool,
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

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
        self.thread.post(|inbox| inbox.woken.push_back(self.task));
    }
}

impl RequestFibers {
    pub(super) fn new(settings: &Fibers, control: Arc<Control>) -> Result<Self, BuildError> {
        Ok(RequestFibers {
            permits: Arc::new(Permits::new(settings.max_requests()?, control)),
            waits_on_close: settings.block_on_close,
            threads: Mutex::default(),
            max_threads: settings.threads.max(1),
        })
    }

    /// Returns the thread with the fewest tasks.
    fn thread(&self) -> io::Result<Arc<FiberThread>> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        while threads.len() < self.max_threads {
            match FiberThread::start(&self.permits) {
                Ok(thread) => threads.push(thread),
                // One is enough.
                Err(_) if !threads.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        let least = threads.iter().min_by_key(|thread| thread.inbox().load);
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
                    inbox.jobs.push_back(job);
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

    fn close(&self, _app: &Application, deadline: Option<Instant>) -> usize {
        // A request that closes its own server would hold up all others of its thread.
        let waits = self.waits_on_close && reactor::current().is_none();
        let left =
            if waits { self.permits.wait_for_end(deadline) } else { self.permits.in_flight() };
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.iter().for_each(|thread| thread.post(|inbox| inbox.closed = true));
        left
    }

    fn in_flight(&self) -> usize {
        self.permits.in_flight()
    }
}

impl FiberThread {
    fn start(permits: &Arc<Permits>) -> io::Result<Arc<Self>> {
        let thread = Arc::new(FiberThread {
            permits: Arc::clone(permits),
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            inbox: Mutex::default(),
        });
        let reactor = Arc::new(Reactor::new(thread.bell.as_fd())?);
        let own = Arc::clone(&thread);
        thread::Builder::new().name("fibers".to_owned()).spawn(move || own.run(&reactor))?;
        Ok(thread)
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the inbox, and wakes the thread if it sleeps.
    fn post(&self, change: impl FnOnce(&mut Inbox)) {
        let mut inbox = self.inbox();
        change(&mut inbox);
        if std::mem::take(&mut inbox.sleeps) {
            drop(inbox);
            // The counter has room for this one.
            let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        }
    }

    fn run(self: &Arc<Self>, reactor: &Arc<Reactor>) {
        reactor.enter();
        let mut tasks = Tasks::default();
        loop {
            let (jobs, woken) = {
                let mut inbox = self.inbox();
                if inbox.closed && inbox.load == 0 {
                    return;
                }
                (std::mem::take(&mut inbox.jobs), std::mem::take(&mut inbox.woken))
            };
            for job in jobs {
                let task = tasks.add(Box::pin(async move {
                    let _ = job.run_async().await;
                }));
                self.poll(&mut tasks, task);
            }
            for task in woken {
                self.poll(&mut tasks, task);
            }
            let may_wait = {
                let mut inbox = self.inbox();
                let closed = inbox.closed && inbox.load == 0;
                inbox.sleeps = inbox.jobs.is_empty() && inbox.woken.is_empty() && !closed;
                inbox.sleeps
            };
            let turned = reactor.turn(may_wait, || self.inbox().sleeps = false);
            if matches!(turned, Ok(true)) {
                // Nothing else reads it.
                let _ = rustix::io::read(&self.bell, &mut [0; 8]);
            }
        }
    }

    /// Runs a task until it waits, or is done.
    fn poll(self: &Arc<Self>, tasks: &mut Tasks, number: usize) {
        // A task may have been woken twice.
        let Some(task) = tasks.get(number) else { return };
        let waker = Waker::from(Arc::new(TaskWaker { thread: Arc::clone(self), task: number }));
        if task.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Ready(()) {
            tasks.remove(number);
            self.inbox().load -= 1;
            self.permits.give_back();
        }
    }
}

/// The tasks of a thread, by their numbers, which are used again.
#[derive(Default)]
struct Tasks {
    places: Vec<Option<Task>>,
    free: Vec<usize>,
}

impl Tasks {
    fn add(&mut self, task: Task) -> usize {
        if let Some(number) = self.free.pop() {
            self.places[number] = Some(task);
            return number;
        }
        self.places.push(Some(task));
        self.places.len() - 1
    }

    fn get(&mut self, number: usize) -> Option<&mut Task> {
        self.places.get_mut(number)?.as_mut()
    }

    fn remove(&mut self, number: usize) {
        self.places[number] = None;
        self.free.push(number);
    }
}
