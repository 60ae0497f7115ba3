//! A number of things that may exist at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// A number of things that may exist at once.
#[derive(Debug)]
pub(super) struct Permits {
    most: usize,
    taken: AtomicUsize,
}

/// The permit for one of them.
#[derive(Debug)]
pub(super) struct Permit(Arc<Permits>);

impl Permits {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Permits { most, taken: AtomicUsize::new(0) })
    }

    /// Returns a permit, or `None` if all are taken.
    pub(super) fn take(self: &Arc<Self>) -> Option<Permit> {
        let within = |count: usize| count.checked_add(1).filter(|count| *count <= self.most);
        self.taken.fetch_update(SeqCst, SeqCst, within).ok().map(|_| Permit(Arc::clone(self)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, SeqCst);
    }
}
