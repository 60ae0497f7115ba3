//! The number of files and sockets that all instances of a handler hold open.

use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use socketserver::{Capacity, Needs};

/// The descriptors that are set aside for each request where handlers can open files: its
/// own, and one more.
pub(crate) const DESCRIPTORS: usize = 2;

/// The limit for open files, and for the sockets that handlers open.
///
/// Each instance may hold as many files as handles. But the process does not have that many
/// descriptors for as many instances as it can hold, and needs some to accept connections.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    limit: usize,
    open: AtomicUsize,
}

/// An open file or directory, with the permit to hold it open.
#[derive(Debug)]
pub(crate) struct Counted<T> {
    open: T,
    /// The fields of a struct are dropped in their order: the file is closed first.
    _permit: Option<Permit>,
}

impl<T> Counted<T> {
    /// Returns a directory that is open for all instances, and does not count.
    pub(crate) fn uncounted(open: T) -> Self {
        Counted { open, _permit: None }
    }
}

/// The permit to hold one file open.
#[derive(Debug)]
pub(crate) struct Permit(Arc<OpenFiles>);

impl OpenFiles {
    /// Returns a limit that leaves descriptors for as many requests.
    pub(crate) fn for_this_process() -> Arc<Self> {
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

    /// Returns the permit to hold one more descriptor open. Returns `None` if the limit is
    /// reached.
    pub(crate) fn permit(self: &Arc<Self>) -> Option<Permit> {
        let within = |count: usize| count.checked_add(1).filter(|count| *count <= self.limit);
        self.open.fetch_update(SeqCst, SeqCst, within).ok()?;
        Some(Permit(Arc::clone(self)))
    }

    /// Opens a file with `open`. Returns `None` if the limit is reached.
    pub(crate) fn open<T, E>(
        self: &Arc<Self>,
        open: impl FnOnce() -> Result<T, E>,
    ) -> Option<Result<Counted<T>, E>> {
        let permit = self.permit()?;
        Some(open().map(|open| Counted { open, _permit: Some(permit) }))
    }
}

impl Drop for Permit {
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

impl<T: AsFd> AsFd for Counted<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.open.as_fd()
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
    fn a_file_that_is_closed_or_did_not_open_gives_its_permit_back() {
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
