//! Telling a running loop to end, and knowing when it has.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};

use crate::error::{ServeError, ShutdownError};

/// Ends the loop of a server from elsewhere. Clones end the same loop.
#[derive(Debug, Clone)]
pub struct ShutdownHandle(pub(crate) Arc<Control>);

impl ShutdownHandle {
    /// Python's `shutdown`; see [`Server::shutdown`](crate::Server::shutdown).
    pub fn shutdown(&self) -> Result<(), ShutdownError> {
        self.0.shutdown()
    }

    /// The first half of `shutdown`: tells the loop to end and does not wait.
    /// It may be called from any thread.
    pub fn request_shutdown(&self) {
        self.0.request_shutdown();
    }
}

/// The state that the loop shares with those who end it.
#[derive(Debug)]
pub(crate) struct Control {
    /// Python's `__shutdown_request`.
    requested: AtomicBool,
    /// Readable when the loop should look up before its poll interval is over.
    wake: OwnedFd,
    /// Readable, or at its end, when the loop should end.
    stop: Option<Arc<OwnedFd>>,
    /// Readable when `service_actions` has something to do.
    attention: Option<OwnedFd>,
    /// If the shutdown is graceful: how many connections may be taken at it.
    graceful: Option<usize>,
    phase: Mutex<Phase>,
    ended: Condvar,
}

#[derive(Debug)]
struct Phase {
    /// The thread that serves, while one does.
    serving: Option<ThreadId>,
    /// Python's `__is_shut_down`: clear before the first run and during one.
    is_shut_down: bool,
}

impl Control {
    pub(crate) fn new(
        stop: Option<Arc<OwnedFd>>,
        attention: Option<OwnedFd>,
        graceful: Option<usize>,
    ) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Control {
            requested: AtomicBool::new(false),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            stop,
            attention,
            graceful,
            phase: Mutex::new(Phase { serving: None, is_shut_down: false }),
            ended: Condvar::new(),
        }))
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a run of the loop, which lasts until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<Running, ServeError> {
        let mut phase = self.phase();
        if phase.serving.is_some() {
            return Err(ServeError::Busy);
        }
        phase.serving = Some(thread::current().id());
        phase.is_shut_down = false;
        Ok(Running(Arc::clone(self)))
    }

    pub(crate) fn shutdown_requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }

    pub(crate) fn request_shutdown(&self) {
        self.requested.store(true, Ordering::SeqCst);
        self.wake();
    }

    pub(crate) fn shutdown(&self) -> Result<(), ShutdownError> {
        self.request_shutdown();
        let mut phase = self.phase();
        if phase.serving == Some(thread::current().id()) {
            return Err(ShutdownError::OwnThread);
        }
        while !phase.is_shut_down {
            phase = self.ended.wait(phase).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    /// Returns how many connections may be taken at a graceful shutdown; `None` if it is
    /// not to be one.
    pub(crate) fn graceful(&self) -> Option<usize> {
        self.graceful
    }

    /// Waits until no loop runs, or the deadline passes. False if it passed, or the
    /// loop runs in this thread.
    pub(crate) fn wait_for_end(&self, deadline: Option<Instant>) -> bool {
        let mut phase = self.phase();
        while let Some(serving) = phase.serving {
            let left = deadline.map_or(Duration::MAX, |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            if serving == thread::current().id() || left.is_zero() {
                return false;
            }
            let waited = self.ended.wait_timeout(phase, left);
            phase = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Makes the loop look up at once.
    pub(crate) fn wake(&self) {
        // It fails only if the counter is full, and then the loop is awake.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// What the loop polls beside its sockets.
    pub(crate) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// What ends the loop when it becomes readable.
    pub(crate) fn stop_fd(&self) -> Option<BorrowedFd<'_>> {
        self.stop.as_ref().map(|stop| stop.as_fd())
    }

    /// What else makes the loop look up.
    pub(crate) fn attention_fd(&self) -> Option<BorrowedFd<'_>> {
        self.attention.as_ref().map(|attention| attention.as_fd())
    }

    /// Makes [`wake_fd`](Self::wake_fd) unreadable until the next `wake`.
    pub(crate) fn drain(&self) {
        // It fails only if there is nothing to read.
        let _ = rustix::io::read(&self.wake, &mut [0u8; 8]);
    }
}

/// One run of the loop.
#[derive(Debug)]
pub(crate) struct Running(Arc<Control>);

impl Drop for Running {
    fn drop(&mut self) {
        let mut phase = self.0.phase();
        self.0.requested.store(false, Ordering::SeqCst);
        phase.serving = None;
        phase.is_shut_down = true;
        self.0.ended.notify_all();
    }
}
