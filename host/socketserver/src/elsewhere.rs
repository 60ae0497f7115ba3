//! Other threads for calls that block: a thread that runs requests as tasks makes none itself.
//!
//! The threads begin when there is work, and end after [`IDLE`] without any. A task has one piece
//! of work at a time in the queue, which so has no more of them than there are requests; a task
//! that ends before its work has begun takes it back. Files are also closed there when a request
//! ends: no more than may be open.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::reactor::{self, Reactor};

/// The most threads. Work that does not end, as on a disk that does not answer, keeps one each.
const MAX_THREADS: usize = 64;

/// The time after which a thread without work ends.
const IDLE: Duration = Duration::from_secs(10);

/// Bytes of the stack of a thread.
const STACK: usize = 512 << 10;

type Work = Box<dyn FnOnce() + Send>;

/// The threads of this process.
static THREADS: Threads = Threads { queue: Mutex::new(Queue::new()), filled: Condvar::new() };

struct Threads {
    queue: Mutex<Queue>,
    filled: Condvar,
}

struct Queue {
    /// The work that no thread has begun, by the order in which it came.
    work: BTreeMap<u64, Work>,
    last: u64,
    threads: usize,
    /// The number of threads that wait for work.
    idle: usize,
}

impl Queue {
    const fn new() -> Self {
        Queue { work: BTreeMap::new(), last: 0, threads: 0, idle: 0 }
    }
}

impl Threads {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues work, and returns its number. Returns the work if there is no thread for it.
    fn add(&'static self, work: Work) -> Result<u64, Work> {
        let mut queue = self.queue();
        let is_short = queue.work.len() >= queue.idle && queue.threads < MAX_THREADS;
        if is_short && self.start() {
            queue.threads += 1;
        }
        if queue.threads == 0 {
            return Err(work);
        }
        queue.last += 1;
        let number = queue.last;
        queue.work.insert(number, work);
        let wakes = queue.idle > 0;
        drop(queue);
        if wakes {
            self.filled.notify_one();
        }
        Ok(number)
    }

    fn start(&'static self) -> bool {
        let thread = thread::Builder::new().name("blocking".to_owned()).stack_size(STACK);
        thread.spawn(|| self.run()).is_ok()
    }

    fn run(&self) {
        let mut queue = self.queue();
        loop {
            if let Some((_, work)) = queue.work.pop_first() {
                drop(queue);
                // A panic is passed on by the work itself, or by nothing.
                let _ = catch_unwind(AssertUnwindSafe(work));
                queue = self.queue();
                continue;
            }
            queue.idle += 1;
            let waited = self.filled.wait_timeout_while(queue, IDLE, |queue| queue.work.is_empty());
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            queue.idle -= 1;
            if queue.work.is_empty() {
                queue.threads -= 1;
                return;
            }
        }
    }

    /// Takes work back that no thread has begun.
    fn take_back(&self, number: u64) {
        let work = self.queue().work.remove(&number);
        // It is dropped without the lock.
        drop(work);
    }
}

/// The result of work, which its task waits for.
struct Slot<T> {
    result: Option<thread::Result<T>>,
    waker: Option<Waker>,
}

/// Work that another thread does. Its drop takes it back, or leaves it to that thread.
struct Running<T> {
    number: u64,
    slot: Arc<Mutex<Slot<T>>>,
}

impl<T: Send + 'static> Running<T> {
    /// Gives work to another thread. Without one it is done by this thread.
    fn begin(work: impl FnOnce() -> T + Send + 'static) -> Self {
        let slot = Arc::new(Mutex::new(Slot { result: None, waker: None }));
        let done = Arc::clone(&slot);
        let added = THREADS.add(Box::new(move || {
            let result = catch_unwind(AssertUnwindSafe(work));
            let mut slot = done.lock().unwrap_or_else(PoisonError::into_inner);
            slot.result = Some(result);
            let waker = slot.waker.take();
            drop(slot);
            // If the task is gone, this drops the result.
            drop(done);
            if let Some(waker) = waker {
                waker.wake();
            }
        }));
        let number = added.unwrap_or_else(|work| {
            work();
            0
        });
        Running { number, slot }
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<thread::Result<T>> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(result) = slot.result.take() {
            return Poll::Ready(result);
        }
        slot.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        THREADS.take_back(self.number);
    }
}

/// Returns true if the current thread runs requests as tasks: a call that blocks it would hold up
/// all of them.
pub fn runs_tasks() -> bool {
    reactor::current().is_some()
}

/// Drops a value whose drop may block, such as a file. A thread that runs tasks leaves that to
/// another thread.
pub fn drop_elsewhere<T: Send + 'static>(value: T) {
    if runs_tasks() {
        // Without another thread the work is dropped here.
        let _ = THREADS.add(Box::new(move || drop(value)));
    }
}

/// Does work, and returns its CPU time in nanoseconds too.
pub(crate) fn measure<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let begin = clock_gettime(ClockId::ThreadCPUTime);
    let result = work();
    let end = clock_gettime(ClockId::ThreadCPUTime);
    let used = (end.tv_sec - begin.tv_sec) * 1_000_000_000 + (end.tv_nsec - begin.tv_nsec);
    (result, u64::try_from(used).unwrap_or(0))
}

/// Does work in another thread while the task is suspended. Returns `None` if `end` came first;
/// the other thread may then still work.
pub(crate) async fn run<T: Send + 'static>(
    reactor: &Reactor,
    end: Option<Instant>,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Option<T>> {
    let running = Running::begin(work);
    let mut timer = pin!(reactor.sleep(end));
    let result = poll_fn(|cx| match running.poll(cx) {
        Poll::Ready(result) => Poll::Ready(Ok(Some(result))),
        Poll::Pending => timer.as_mut().poll(cx).map_ok(|()| None),
    });
    match result.await? {
        Some(Ok(result)) => Ok(Some(result)),
        Some(Err(panic)) => resume_unwind(panic),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn work_that_no_thread_has_begun_is_taken_back() {
        let (begun, has_begun) = sync_channel(0);
        let (end, ends) = sync_channel::<()>(0);
        let ends = Arc::new(Mutex::new(ends));
        let blocked: Vec<_> = (0..MAX_THREADS)
            .map(|_| {
                let (begun, ends) = (begun.clone(), Arc::clone(&ends));
                Running::begin(move || {
                    begun.send(()).unwrap();
                    let _ = ends.lock().unwrap().recv();
                })
            })
            .collect();
        for _ in &blocked {
            has_begun.recv().unwrap();
        }
        let value = Arc::new(());
        let held = Arc::clone(&value);
        let waiting = Running::begin(move || drop(held));
        assert_eq!(Arc::strong_count(&value), 2);
        drop(waiting);
        assert_eq!(Arc::strong_count(&value), 1);
        drop(end);
        for running in blocked {
            while running.poll(&Context::from_waker(Waker::noop())).is_pending() {
                thread::yield_now();
            }
        }
    }

    #[test]
    fn a_panic_is_the_result_of_the_work() {
        let running = Running::begin(|| panic!("of the work"));
        loop {
            match running.poll(&Context::from_waker(Waker::noop())) {
                Poll::Ready(result) => break assert!(result.is_err()),
                Poll::Pending => thread::yield_now(),
            }
        }
        let answers = Running::begin(|| 1);
        loop {
            match answers.poll(&Context::from_waker(Waker::noop())) {
                Poll::Ready(result) => break assert_eq!(result.unwrap(), 1),
                Poll::Pending => thread::yield_now(),
            }
        }
    }
}
