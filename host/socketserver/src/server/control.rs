//! The control of a running loop: its shutdown, and the wait for its end.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};

use crate::before_wait;
use crate::error::{ServeError, ShutdownError};

thread_local! {
    /// The address of the [`Control`] whose loop the current thread runs.
    static CURRENT_LOOP: Cell<usize> = const { Cell::new(0) };
}

/// Ends the loop of a server from another thread. Clones end the same loop.
#[derive(Debug, Clone)]
pub struct ShutdownHandle(pub(super) Arc<Control>);

impl ShutdownHandle {
    /// Ends the loop, and waits until it has ended. Python's `shutdown`; see
    /// [`Server::shutdown`](crate::Server::shutdown).
    ///
    /// # Errors
    ///
    /// The thread that serves has called it, and cannot wait for itself.
    pub fn shutdown(&self) -> Result<(), ShutdownError> {
        self.0.shutdown()
    }

    /// Asks the loop to end, and does not wait: the first half of `shutdown`.
    /// Any thread may call it.
    pub fn request_shutdown(&self) {
        self.0.request_shutdown();
    }
}

/// The state that the loop shares with the threads that control it.
#[derive(Debug)]
pub(crate) struct Control {
    /// Python's `__shutdown_request`.
    requested: AtomicBool,
    /// Readable when the loop must start a new round at once.
    wake: OwnedFd,
    /// Readable, or at its end, when the loop must end.
    stop: Option<Arc<OwnedFd>>,
    /// Readable when `service_actions` has something to do.
    attention: Option<OwnedFd>,
    /// The largest number of connections that a graceful shutdown takes; `None` if the
    /// shutdown is not graceful.
    max_drained: Option<usize>,
    phase: Mutex<Phase>,
    run_ended: Condvar,
}

#[derive(Debug)]
struct Phase {
    /// The thread that called `serve_forever`, in a run.
    serving: Option<ThreadId>,
    /// Python's `__is_shut_down`: false before the first run and in a run.
    is_shut_down: bool,
}

impl Control {
    pub(crate) fn new(
        stop: Option<Arc<OwnedFd>>,
        attention: Option<OwnedFd>,
        max_drained: Option<usize>,
    ) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Control {
            requested: AtomicBool::new(false),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            stop,
            attention,
            max_drained,
            phase: Mutex::new(Phase { serving: None, is_shut_down: false }),
            run_ended: Condvar::new(),
        }))
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a run of the loop, which lasts until the returned guard is dropped.
    pub(super) fn begin_run(self: &Arc<Self>) -> Result<Run, ServeError> {
        let mut phase = self.phase();
        if phase.serving.is_some() {
            return Err(ServeError::Busy);
        }
        phase.serving = Some(thread::current().id());
        phase.is_shut_down = false;
        Ok(Run(Arc::clone(self)))
    }

    /// Notes that the current thread runs the loop, until the returned guard is dropped.
    pub(super) fn enter_loop(&self) -> InLoop {
        InLoop(CURRENT_LOOP.replace(self.address()))
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Returns true if the current thread runs the loop, or called `serve_forever`: it
    /// cannot wait for the end of the run.
    fn is_served_by_this_thread(&self, phase: &Phase) -> bool {
        phase.serving == Some(thread::current().id()) || CURRENT_LOOP.get() == self.address()
    }

    pub(super) fn shutdown_requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }

    pub(super) fn request_shutdown(&self) {
        self.requested.store(true, Ordering::SeqCst);
        self.wake();
    }

    pub(super) fn shutdown(&self) -> Result<(), ShutdownError> {
        self.request_shutdown();
        let mut phase = self.phase();
        if self.is_served_by_this_thread(&phase) {
            return Err(ShutdownError::OwnThread);
        }
        before_wait::run();
        while !phase.is_shut_down {
            phase = self.run_ended.wait(phase).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    pub(super) fn is_graceful(&self) -> bool {
        self.max_drained.is_some()
    }

    /// Returns the largest number of connections that a graceful shutdown takes; `None`
    /// if the shutdown is not graceful.
    pub(super) fn max_drained(&self) -> Option<usize> {
        self.max_drained
    }

    /// Waits until no loop runs, or the deadline passes. Returns false if the deadline
    /// has passed, or the loop runs in this thread.
    pub(super) fn wait_for_end_of_run(&self, deadline: Option<Instant>) -> bool {
        let mut phase = self.phase();
        while phase.serving.is_some() {
            let left = deadline.map_or(Duration::MAX, |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            if self.is_served_by_this_thread(&phase) || left.is_zero() {
                return false;
            }
            before_wait::run();
            let waited = self.run_ended.wait_timeout(phase, left);
            phase = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Makes the loop start a new round at once.
    pub(crate) fn wake(&self) {
        // It fails only if the counter is full, and then the loop is awake.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// Returns the descriptor that [`wake`](Self::wake) makes readable.
    pub(super) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Returns the descriptor that ends the loop when it becomes readable.
    pub(super) fn stop_fd(&self) -> Option<BorrowedFd<'_>> {
        self.stop.as_ref().map(|stop| stop.as_fd())
    }

    /// Returns the descriptor that calls for `service_actions` when it becomes readable.
    pub(super) fn attention_fd(&self) -> Option<BorrowedFd<'_>> {
        self.attention.as_ref().map(|attention| attention.as_fd())
    }

    /// Makes [`wake_fd`](Self::wake_fd) unreadable until the next `wake`.
    pub(super) fn clear_wake(&self) {
        // It fails only if there is nothing to read.
        let _ = rustix::io::read(&self.wake, &mut [0u8; 8]);
    }
}

/// One run of the loop.
#[derive(Debug)]
pub(super) struct Run(Arc<Control>);

impl Drop for Run {
    fn drop(&mut self) {
        let mut phase = self.0.phase();
        self.0.requested.store(false, Ordering::SeqCst);
        phase.serving = None;
        phase.is_shut_down = true;
        self.0.run_ended.notify_all();
    }
}

/// The time in which a thread runs the loop. Keeps the loop that the thread ran before:
/// a hook can serve another server.
pub(super) struct InLoop(usize);

impl Drop for InLoop {
    fn drop(&mut self) {
        CURRENT_LOOP.set(self.0);
    }
}
