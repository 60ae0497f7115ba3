//! The memory that a request of a task has touched, which `--memory-total` counts among fibers.
//!
//! A task that waits declares a hundred times the memory that it has touched: so thousands of
//! them would not fit into a total of what is declared. The kernel gives a page to a process when
//! the process first touches it, and counts that as a page fault of the thread. A task runs in
//! one thread, so the faults of its thread while it runs are its own.
//!
//! | difference to what is resident | bound |
//! |---|---|
//! | pages that the pool has kept from an earlier request do not fault | the floor, which is charged in any case, has room for them |
//! | a page that is read and then written faults twice, and so do pages of the host | no request is charged more than it declares |
//! | a guest touches memory until it is looked at | an epoch, or one instruction; at most the limit of an instance, in each thread |
//! | faults between two tasks, such as those of an accepted connection | the next task of the thread that waits has them |
//! | faults of requests that have ended | those of the last 0.5 ms: the next task of the thread that waits has them |
//!
//! A fault of a huge page would count as one page. So processes with tasks have none
//! ([`Engine::for_fibers`](crate::Engine::for_fibers)), which would also make each idle request
//! hold 2 MiB.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::{Duration, Instant};

use rustix::param::page_size;
use wasmtime::Result;

use crate::limits::kill::Kill;
use crate::limits::total_memory::TotalMemory;
use crate::sys::page_faults_of_this_thread;

/// The time in which a thread looks at its page faults once at the end of requests, and not for each
/// of them. A look is a system call, which costs 2% of a short request. A fault takes longer than
/// 0.2 us, so the thread has at most some thousand of them meanwhile.
const BETWEEN_LOOKS: Duration = Duration::from_micros(500);

thread_local! {
    /// The last look at the page faults of this thread.
    static LAST_LOOK: Cell<Option<Look>> = const { Cell::new(None) };
}

/// A look at the page faults of a thread. They have been charged, or are those of no request.
#[derive(Debug, Clone, Copy)]
struct Look {
    faults: u64,
    at: Instant,
}

/// Returns the page faults of this thread since the last call in it.
fn new_faults() -> usize {
    let look = Look { faults: page_faults_of_this_thread(), at: Instant::now() };
    let last = LAST_LOOK.replace(Some(look)).unwrap_or(look);
    usize::try_from(look.faults.saturating_sub(last.faults)).unwrap_or(usize::MAX)
}

/// The memory that the request of a task is charged for.
#[derive(Debug)]
pub(crate) struct TouchedMemory {
    total: Arc<TotalMemory>,
    /// The bytes that it may be charged for: those that its memories declare.
    declared: AtomicUsize,
    touched: AtomicUsize,
    /// The part of the total that it has: at least the floor.
    charged: AtomicUsize,
}

impl TouchedMemory {
    /// Returns the account of a new request that has taken `floor` bytes of the total. It gives
    /// them back when it is dropped, and what it takes beyond that.
    pub(crate) fn with_floor(total: &Arc<TotalMemory>, floor: usize) -> Arc<Self> {
        Arc::new(TouchedMemory {
            total: Arc::clone(total),
            declared: AtomicUsize::new(floor),
            touched: AtomicUsize::new(0),
            charged: AtomicUsize::new(floor),
        })
    }

    /// Sets the bytes that the memories declare.
    pub(crate) fn set_declared(&self, bytes: usize) {
        self.declared.fetch_max(bytes, Relaxed);
    }

    /// Charges the request, which runs in this thread, for what it has touched.
    ///
    /// # Errors
    ///
    /// That is not left of the total: the host ends the guest, whose memory goes back. So what is
    /// too much is not taken: it would end requests that touch little meanwhile.
    pub(crate) fn charge(&self) -> std::result::Result<(), Kill> {
        self.charge_faults(new_faults())
    }

    fn charge_faults(&self, faults: usize) -> std::result::Result<(), Kill> {
        let new = faults.saturating_mul(page_size());
        let touched = self.touched.load(Relaxed).saturating_add(new);
        let touched = touched.min(self.declared.load(Relaxed));
        self.touched.store(touched, Relaxed);
        let charged = self.charged.load(Relaxed);
        if touched > charged {
            if !self.total.take(touched - charged) {
                return Err(Kill::MemoryTotal { limit: self.total.limit() });
            }
            self.charged.store(touched, Relaxed);
        }
        Ok(())
    }
}

/// Runs `task`, a part of a request, and charges the request for what it touches whenever it waits.
/// Memory that it touches last is found when the request waits next. Without an account it only
/// runs.
/// The task is pinned: a future that moves into another is there twice, in each request that waits.
///
/// # Errors
///
/// The error of the task; or the task waits, and has touched what is not left of the total. It is
/// dropped.
pub(crate) async fn charge_for<T>(
    account: Option<&Arc<TouchedMemory>>,
    mut task: Pin<&mut impl Future<Output = Result<T>>>,
) -> Result<T> {
    let Some(account) = account else { return task.await };
    poll_fn(|cx| {
        if LAST_LOOK.get().is_none() {
            new_faults();
        }
        let polled = task.as_mut().poll(cx);
        match polled {
            Poll::Pending => account
                .charge()
                .map_or_else(|kill| Poll::Ready(Err(kill.into())), |()| Poll::Pending),
            ready @ Poll::Ready(_) => ready,
        }
    })
    .await
}

impl Drop for TouchedMemory {
    fn drop(&mut self) {
        self.total.give_back(self.charged.load(Relaxed));
        // What the request has touched since it waited last is not the next request's, nor is the
        // memory that the pool has cleared meanwhile.
        if LAST_LOOK.get().is_none_or(|last| last.at.elapsed() >= BETWEEN_LOOKS) {
            new_faults();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn a_request_is_charged_for_the_pages_that_it_touches_beyond_the_floor() {
        const LIMIT: usize = 1 << 40;
        let (page, total) = (page_size(), TotalMemory::new(LIMIT));
        let has = |bytes| total.has_left(LIMIT - bytes) && !total.has_left(LIMIT - bytes + 1);
        assert!(total.take(10 * page));
        let request = TouchedMemory::with_floor(&total, 10 * page);
        request.set_declared(30 * page);
        for (faults, charged) in [(0, 10), (9, 10), (1, 10), (1, 11), (5, 16), (14, 30), (1, 30)] {
            request.charge_faults(faults).unwrap();
            assert!(has(charged * page), "{faults} {charged}");
        }
        // What it touched before its memory grew does not count for what it declares now.
        request.set_declared(40 * page);
        request.charge_faults(usize::MAX).unwrap();
        assert!(has(40 * page));
        drop(request);
        assert!(has(0));
    }

    #[test]
    fn what_is_not_left_is_not_taken_and_ends_the_request_that_wanted_it() {
        let (page, total) = (page_size(), TotalMemory::new(20 * page_size()));
        let account = || {
            assert!(total.take(5 * page));
            let account = TouchedMemory::with_floor(&total, 5 * page);
            account.set_declared(100 * page);
            account
        };
        let (greedy, other) = (account(), account());
        let limit = total.limit();
        assert_eq!(greedy.charge_faults(16), Err(Kill::MemoryTotal { limit }));
        other.charge_faults(15).unwrap();
        assert_eq!(other.charge_faults(1), Err(Kill::MemoryTotal { limit }));
        drop(greedy);
        other.charge_faults(0).unwrap();
        drop(other);
        assert!(total.take(limit));
    }

    /// Touches pages that the process does not have yet.
    fn touch(pages: usize) -> Vec<u8> {
        let mut memory = vec![0; pages * page_size()];
        memory.chunks_mut(page_size()).for_each(|page| page[0] = 1);
        black_box(memory)
    }

    #[test]
    fn the_faults_of_a_task_are_counted_and_those_before_it_are_not() {
        // The allocator maps blocks of that size, so that their pages are new.
        const PAGES: usize = 10_000;
        let page = page_size();
        let total = TotalMemory::new(15_000 * page);
        let request = TouchedMemory::with_floor(&total, 0);
        request.set_declared(usize::MAX);
        new_faults();
        let before = touch(2 * PAGES);
        new_faults();
        let mut kept = Vec::new();
        let touching = pin!(poll_fn(|_| {
            kept.push(touch(PAGES));
            Poll::<Result<()>>::Pending
        }));
        let mut task = pin!(charge_for(Some(&request), touching));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(task.as_mut().poll(&mut cx).is_pending());
        assert!(total.has_left(4_000 * page) && !total.has_left(5_001 * page));
        let Poll::Ready(Err(error)) = task.as_mut().poll(&mut cx) else { panic!() };
        let limit = 15_000 * page;
        assert_eq!(error.downcast_ref(), Some(&Kill::MemoryTotal { limit }));
        drop(before);
    }
}
