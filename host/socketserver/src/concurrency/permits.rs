//! The permits of requests that run in one process.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::server::control::Control;

/// Counts the requests in flight, of which there is a largest number.
pub(super) struct Permits {
    max_requests: usize,
    control: Arc<Control>,
    state: Mutex<State>,
    /// Signalled when a request is done after the server was closed.
    drained: Condvar,
}

#[derive(Default)]
struct State {
    in_flight: usize,
    /// Set if the loop has seen that there is no permit, and waits for one.
    loop_waits: bool,
    closed: bool,
}

impl Permits {
    pub(super) fn new(max_requests: usize, control: Arc<Control>) -> Self {
        Permits { max_requests, control, state: Mutex::default(), drained: Condvar::new() }
    }

    pub(super) fn max_requests(&self) -> usize {
        self.max_requests
    }

    /// Returns true if there is a permit. If not, the loop is woken as soon as there is one.
    pub(super) fn has_free(&self) -> bool {
        let mut state = self.state();
        state.loop_waits = state.in_flight >= self.max_requests;
        !state.loop_waits
    }

    pub(super) fn take(&self) {
        self.state().in_flight += 1;
    }

    pub(super) fn give_back(&self) {
        let mut state = self.state();
        state.in_flight -= 1;
        if state.closed {
            self.drained.notify_all();
        }
        if std::mem::take(&mut state.loop_waits) {
            self.control.wake();
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.state().in_flight
    }

    /// Waits until no request is in flight, or until `deadline`, and returns the number of those
    /// that are.
    pub(super) fn wait_for_end(&self, deadline: Option<Instant>) -> usize {
        let mut state = self.state();
        state.closed = true;
        while state.in_flight > 0 {
            let left = deadline.map_or(Duration::MAX, |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                break;
            }
            let waited = self.drained.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.in_flight
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
