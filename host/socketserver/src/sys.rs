//! Processes and the memory they share: what only the C library can do, and the
//! only unsafe code here.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::AtomicU64;

use rustix::fs::{Mode, OFlags, fstat, open, stat};
use rustix::process::{Pid, getpid};

/// Which of the two processes this is, after a fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forked {
    /// The one that forked, which has this child now.
    Parent(Pid),
    /// The new one. It ends with [`exit_now`], and never returns to the code
    /// that the parent goes on with.
    Child,
}

/// The directory of the threads of one process. Asking it is cheaper than
/// asking by path, and can be done where no path can be opened any more.
#[derive(Debug)]
pub(crate) struct Tasks {
    process: Pid,
    directory: OwnedFd,
}

impl Tasks {
    /// Those of this process.
    ///
    /// Errors: there is no `/proc`.
    pub(crate) fn new() -> io::Result<Self> {
        let directory = open(TASKS, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Tasks { process: getpid(), directory })
    }

    /// How many threads this process has, be it the one that made this or one
    /// that was forked from it.
    ///
    /// Errors: there is no `/proc`.
    pub(crate) fn threads(&self) -> io::Result<u64> {
        let tasks = if getpid() == self.process { fstat(&self.directory) } else { stat(TASKS) };
        // A directory has two links, and one for each directory in it.
        Ok(tasks?.st_nlink.saturating_sub(2))
    }

    /// Closes it in a forked child, which must not hold it: see
    /// [`close_inherited`].
    pub(crate) fn close_inherited(&self) {
        close_inherited(self.directory.as_fd());
    }
}

const TASKS: &str = "/proc/self/task";

/// Forks. The functions that libraries have registered with `pthread_atfork`
/// are called: the WebAssembly engine needs that.
///
/// Errors: this process has other threads, or `fork(2)` failed.
pub(crate) fn fork(tasks: &Tasks) -> io::Result<Forked> {
    let threads = tasks.threads()?;
    if threads != 1 {
        return Err(io::Error::other(TooManyThreads(threads)));
    }
    // SAFETY: there is one thread, so nothing is locked by a thread that the
    // child does not have, and the child may do whatever this process may.
    match unsafe { libc::fork() } {
        0 => Ok(Forked::Child),
        child => match Pid::from_raw(child) {
            Some(child) if child.as_raw_nonzero().get() > 0 => Ok(Forked::Parent(child)),
            _ => Err(io::Error::last_os_error()),
        },
    }
}

/// Why there was no fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("only a process with one thread can fork, and this one has {0}")]
pub(crate) struct TooManyThreads(pub u64);

/// Ends a forked child at once: nothing is dropped, flushed or run at exit.
/// Python's `os._exit`.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: it takes any number, and does not return.
    unsafe { libc::_exit(status) }
}

/// Closes a descriptor that a forked child has inherited and must not hold.
///
/// Its owner is not told: it must not be used or dropped any more, which holds
/// in a child that ends with [`exit_now`].
pub(crate) fn close_inherited(fd: BorrowedFd<'_>) {
    // SAFETY: as above, nobody else in this process uses it.
    unsafe { libc::close(fd.as_raw_fd()) };
}

/// Numbers in memory that forked processes do not copy but share.
#[derive(Debug)]
pub(crate) struct SharedMemory {
    numbers: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: it owns its memory, which holds atomics and nothing that belongs to a
// thread.
unsafe impl Send for SharedMemory {}
// SAFETY: as above; what is shared are references to atomics.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// That many numbers, one at least, all zero.
    pub(crate) fn new(count: usize) -> io::Result<Self> {
        let count = count.max(1);
        let size = count.checked_mul(size_of::<AtomicU64>());
        let size = size.ok_or(io::ErrorKind::OutOfMemory)?;
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, wherever the kernel has room for it.
        let mapped = unsafe { libc::mmap(ptr::null_mut(), size, protection, flags, -1, 0) };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let numbers = NonNull::new(mapped.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(SharedMemory { numbers, count })
    }

    pub(crate) fn numbers(&self) -> &[AtomicU64] {
        // SAFETY: the mapping has room for that many, is aligned to a page, was
        // zeroed by the kernel, which is a valid number, and lives as long as
        // `self`.
        unsafe { slice::from_raw_parts(self.numbers.as_ptr(), self.count) }
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        let size = self.count * size_of::<AtomicU64>();
        // SAFETY: it was mapped with that size, and nobody borrows from it.
        unsafe { libc::munmap(self.numbers.as_ptr().cast(), size) };
    }
}
