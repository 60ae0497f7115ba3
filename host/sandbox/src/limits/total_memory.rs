//! The memory that all instances of a handler may have together.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// The memory that all instances of a handler may have together.
///
/// Each instance has a limit of its own, but the machine does not have that much for as many
/// instances as it can hold. A new instance waits for the memory that it begins with. An
/// instance that runs is refused memory that is not left.
#[derive(Debug)]
pub(crate) struct TotalMemory {
    limit: usize,
    used: AtomicUsize,
    /// The number of threads and tasks that wait to create an instance. It is read without the
    /// lock, because it is mostly zero.
    waiting: AtomicUsize,
    queue: Mutex<Queue>,
    given_back: Condvar,
}

/// The tasks that wait, in their order. Threads wait at the [`Condvar`], in no order.
#[derive(Debug, Default)]
struct Queue {
    last: u64,
    tasks: VecDeque<Waiting>,
}

/// A task that waits.
#[derive(Debug)]
struct Waiting {
    number: u64,
    bytes: usize,
    waker: Waker,
}

impl TotalMemory {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(TotalMemory {
            limit,
            used: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            queue: Mutex::default(),
            given_back: Condvar::new(),
        })
    }

    /// Returns the limit, in bytes.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Returns the share of `limit` that new instances may fill. The rest is for instances
    /// that grow.
    pub(crate) fn for_new_instances(limit: usize) -> usize {
        limit - limit / 4
    }

    /// Waits, at most for `timeout`, until a new instance can have `bytes`. This reserves
    /// nothing: the instance takes the bytes when it is created.
    pub(crate) fn wait_for(&self, bytes: usize, timeout: Duration) {
        let full = || !self.has_room(bytes);
        if !full() {
            return;
        }
        self.waiting.fetch_add(1, SeqCst);
        let waited = self.given_back.wait_timeout_while(self.queue(), timeout, |_| full());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        self.waiting.fetch_sub(1, SeqCst);
    }

    /// Takes `bytes` for a new instance of a task, as soon as there is room for them and no task
    /// has waited for longer. The result takes nothing for an instance that can never have them:
    /// it is refused when it is created.
    pub(crate) fn reserve(&self, bytes: usize) -> Reserving<'_> {
        Reserving { total: self, bytes, state: Reservation::New }
    }

    /// Returns true if a new instance can have `bytes`, or never could: it is refused when it is
    /// created.
    fn has_room(&self, bytes: usize) -> bool {
        let room = Self::for_new_instances(self.limit);
        bytes > room || self.used.load(SeqCst).saturating_add(bytes) <= room
    }

    /// Returns true if `bytes` are left. This takes nothing.
    pub(crate) fn has_left(&self, bytes: usize) -> bool {
        self.used.load(SeqCst).saturating_add(bytes) <= self.limit
    }

    /// Takes `bytes`, and returns true, if that many are left.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        self.take_within(bytes, self.limit)
    }

    fn take_within(&self, bytes: usize, limit: usize) -> bool {
        let within = |used: usize| used.checked_add(bytes).filter(|used| *used <= limit);
        self.used.fetch_update(SeqCst, SeqCst, within).is_ok()
    }

    /// Gives bytes back that were taken.
    pub(crate) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, SeqCst);
        if self.waiting.load(SeqCst) > 0 {
            // A thread or a task that waits holds the lock between its look at `used` and its
            // wait for the notification: so it misses neither.
            self.serve(self.queue());
            self.given_back.notify_all();
        }
    }

    /// Takes memory for the tasks that have waited longest, as far as there is room, and wakes
    /// them.
    fn serve(&self, mut queue: MutexGuard<'_, Queue>) {
        let room = Self::for_new_instances(self.limit);
        let mut served = Vec::new();
        while let Some(first) = queue.tasks.pop_front() {
            if !self.take_within(first.bytes, room) {
                queue.tasks.push_front(first);
                break;
            }
            self.waiting.fetch_sub(1, SeqCst);
            served.push(first.waker);
        }
        drop(queue);
        served.into_iter().for_each(Waker::wake);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Returns the place of a task that waits.
    fn place(&self, number: u64) -> Option<usize> {
        self.tasks.binary_search_by_key(&number, |waiting| waiting.number).ok()
    }
}

/// A task that takes memory for a new instance, when it is its turn. Its result is true if the
/// bytes are taken, which the caller gives back then. Its drop ends the wait.
#[derive(Debug)]
pub(crate) struct Reserving<'a> {
    total: &'a TotalMemory,
    bytes: usize,
    state: Reservation,
}

#[derive(Debug)]
enum Reservation {
    New,
    /// It is in the queue, or the bytes were taken for it.
    Queued(u64),
    Done,
}

impl Reserving<'_> {
    /// Takes the bytes, or waits in the queue.
    fn begin(&self, waker: &Waker) -> Reservation {
        let (total, bytes) = (self.total, self.bytes);
        let room = TotalMemory::for_new_instances(total.limit);
        if total.waiting.load(SeqCst) == 0 && total.take_within(bytes, room) {
            return Reservation::Done;
        }
        let mut queue = total.queue();
        // From now on memory that is given back is also for this task.
        total.waiting.fetch_add(1, SeqCst);
        if queue.tasks.is_empty() && total.take_within(bytes, room) {
            total.waiting.fetch_sub(1, SeqCst);
            return Reservation::Done;
        }
        queue.last += 1;
        let number = queue.last;
        queue.tasks.push_back(Waiting { number, bytes, waker: waker.clone() });
        Reservation::Queued(number)
    }
}

impl Future for Reserving<'_> {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        match self.state {
            Reservation::New => {
                if self.bytes > TotalMemory::for_new_instances(self.total.limit) {
                    return Poll::Ready(false);
                }
                self.state = self.begin(cx.waker());
            }
            Reservation::Queued(number) => {
                let mut queue = self.total.queue();
                if let Some(place) = queue.place(number) {
                    queue.tasks[place].waker.clone_from(cx.waker());
                } else {
                    drop(queue);
                    self.state = Reservation::Done;
                }
            }
            Reservation::Done => {}
        }
        match self.state {
            Reservation::Done => Poll::Ready(true),
            _ => Poll::Pending,
        }
    }
}

impl Drop for Reserving<'_> {
    fn drop(&mut self) {
        let Reservation::Queued(number) = self.state else { return };
        let mut queue = self.total.queue();
        if let Some(place) = queue.place(number) {
            queue.tasks.remove(place);
            self.total.waiting.fetch_sub(1, SeqCst);
            // It may have been the first, and have wanted more than those behind it.
            self.total.serve(queue);
        } else {
            drop(queue);
            self.total.give_back(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::AtomicBool;
    use std::task::Wake;

    use super::*;

    #[test]
    fn a_new_instance_waits_for_room_and_no_longer_than_the_timeout() {
        let total = TotalMemory::new(1000);
        assert!(total.take(700));
        // Neither waits: there is room, or there never will be.
        total.wait_for(50, Duration::MAX);
        total.wait_for(751, Duration::MAX);
        // The timeout ends it.
        total.wait_for(51, Duration::from_millis(1));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| total.wait_for(51, Duration::MAX));
            while total.waiting.load(SeqCst) == 0 {
                std::thread::yield_now();
            }
            total.give_back(700);
            waits.join().unwrap();
        });
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, SeqCst);
        }
    }

    /// A task that reserves memory.
    struct Task<'a> {
        reserving: Pin<Box<Reserving<'a>>>,
        woken: Arc<Woken>,
    }

    impl<'a> Task<'a> {
        fn new(total: &'a TotalMemory, bytes: usize) -> Self {
            let mut task =
                Task { reserving: Box::pin(total.reserve(bytes)), woken: Arc::default() };
            assert!(task.poll().is_pending());
            task
        }

        fn poll(&mut self) -> Poll<bool> {
            let waker = Waker::from(Arc::clone(&self.woken));
            self.reserving.as_mut().poll(&mut Context::from_waker(&waker))
        }

        fn is_woken(&self) -> bool {
            self.woken.0.load(SeqCst)
        }
    }

    #[test]
    fn tasks_get_memory_in_the_order_in_which_they_came() {
        let total = TotalMemory::new(1000);
        assert!(total.take(750));
        let mut tasks: Vec<_> =
            [300, 300, 300].map(|bytes| Task::new(&total, bytes)).into_iter().collect();
        total.give_back(299);
        assert!(!tasks.iter().any(Task::is_woken));
        total.give_back(1);
        assert_eq!(tasks.iter().map(Task::is_woken).collect::<Vec<_>>(), [true, false, false]);
        // It has the bytes before it runs, so that a newer task cannot take them.
        assert_eq!(total.used.load(SeqCst), 750);
        assert_eq!(tasks[0].poll(), Poll::Ready(true));
        assert!(tasks[1].poll().is_pending());
        // There is room for the small one, and the others came before.
        total.give_back(100);
        let mut small = Task::new(&total, 10);
        total.give_back(350);
        assert!(!tasks[2].is_woken() && !small.is_woken());
        total.give_back(300);
        assert!(tasks[2].is_woken() && small.is_woken());
        assert_eq!(small.poll(), Poll::Ready(true));
        assert_eq!(total.waiting.load(SeqCst), 0);
    }

    #[test]
    fn a_task_that_ends_its_wait_makes_room_for_those_behind_it() {
        let total = TotalMemory::new(1000);
        assert!(total.take(700));
        let large = Task::new(&total, 100);
        let (first, second) = (Task::new(&total, 50), Task::new(&total, 50));
        drop(large);
        assert!(first.is_woken() && !second.is_woken());
        // It had its bytes, and has not seen that.
        drop(first);
        assert!(second.is_woken());
        drop(second);
        assert_eq!((total.used.load(SeqCst), total.waiting.load(SeqCst)), (700, 0));
    }

    #[test]
    fn no_task_waits_for_memory_that_can_never_be_left() {
        let total = TotalMemory::new(1000);
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(pin!(total.reserve(751)).poll(&mut cx), Poll::Ready(false));
        assert_eq!(pin!(total.reserve(750)).poll(&mut cx), Poll::Ready(true));
        assert_eq!(total.used.load(SeqCst), 750);
    }
}
