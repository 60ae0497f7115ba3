//! The last thing that a thread does before it waits.
//!
//! A thread that holds up other work while it is busy gives that work away before it waits
//! for a client, for time to pass, or for another thread.

use std::cell::Cell;
use std::sync::Arc;

/// Work that a thread gives away before it waits.
pub(crate) trait BeforeWait: Send + Sync {
    /// Gives the work away.
    fn give_away(self: Arc<Self>);
}

thread_local! {
    static WORK: Cell<Option<Arc<dyn BeforeWait>>> = const { Cell::new(None) };
}

/// Sets the work that the current thread gives away before its first wait.
pub(crate) fn set(work: Arc<dyn BeforeWait>) {
    WORK.set(Some(work));
}

/// Forgets the work of the current thread. Returns false if it had none, or has given it
/// away.
pub(crate) fn forget() -> bool {
    WORK.take().is_some()
}

/// Gives the work of the current thread away, if it has any: the thread is about to wait.
pub(crate) fn run() {
    if let Some(work) = WORK.take() {
        work.give_away();
    }
}
