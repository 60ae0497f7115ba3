//! How many files the instances of a handler hold open together.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use socketserver::{Capacity, Needs};

/// Descriptors that a request is given room for where files can be opened: its own,
/// and another.
pub(crate) const DESCRIPTORS: usize = 2;

/// The room for files that are open.
///
/// Each instance may hold as many as handles, but the process has not that many
/// descriptors for as many instances as it can hold, and needs some to take
/// connections by.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    limit: usize,
    open: AtomicUsize,
}

/// Something that is open, and is counted until it is closed.
#[derive(Debug)]
pub(crate) struct Counted<T> {
    open: T,
    /// Dropped after it.
    _place: Option<Place>,
}

impl<T> Counted<T> {
    /// Something that is open for all instances, and not counted.
    pub(crate) fn not(open: T) -> Self {
        Counted { open, _place: None }
    }
}

#[derive(Debug)]
struct Place(Arc<OpenFiles>);

impl OpenFiles {
    /// As many as there is room for beside as many requests.
    pub(crate) fn of_this_process() -> Arc<Self> {
        let descriptors = Needs {
            descriptors: DESCRIPTORS,
            mappings: 0,
            memory: 0,
            address_space: 0,
            threads: 0,
        };
        OpenFiles::new(Capacity::of_this_machine(descriptors).requests)
    }

    fn new(limit: usize) -> Arc<Self> {
        Arc::new(OpenFiles { limit, open: AtomicUsize::new(0) })
    }

    /// Opens one; `None` if there are as many as may be.
    pub(crate) fn open<T, E>(
        self: &Arc<Self>,
        open: impl FnOnce() -> Result<T, E>,
    ) -> Option<Result<Counted<T>, E>> {
        let within = |count: usize| count.checked_add(1).filter(|count| *count <= self.limit);
        self.open.fetch_update(SeqCst, SeqCst, within).ok()?;
        let place = Place(Arc::clone(self));
        Some(open().map(|open| Counted { open, _place: Some(place) }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, SeqCst);
    }
}

impl<T> Deref for Counted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.open
    }
}

impl<T> DerefMut for Counted<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_closed_or_was_never_open_leaves_its_place() {
        let files = OpenFiles::new(2);
        let open = || files.open(|| Ok::<(), ()>(()));
        let first = open().unwrap().unwrap();
        assert!(files.open(|| Err::<(), ()>(())).unwrap().is_err());
        let second = open().unwrap().unwrap();
        assert!(open().is_none());
        drop(first);
        assert!(open().unwrap().is_ok());
        drop(second);
        assert_eq!(files.open.load(SeqCst), 0);
    }
}
