//! Processes: what only the C library can do, and the only unsafe code here.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::stat;
use rustix::process::Pid;

/// Which of the two processes this is, after a fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forked {
    /// The one that forked, which has this child now.
    Parent(Pid),
    /// The new one. It ends with [`exit_now`], and never returns to the code
    /// that the parent goes on with.
    Child,
}

/// How many threads this process has.
///
/// Errors: there is no `/proc`.
pub(crate) fn threads() -> io::Result<u64> {
    // A directory has two links, and one for each directory in it.
    Ok(stat("/proc/self/task")?.st_nlink.saturating_sub(2))
}

/// Forks. The functions that libraries have registered with `pthread_atfork`
/// are called: the WebAssembly engine needs that.
///
/// Errors: this process has other threads, or `fork(2)` failed.
pub(crate) fn fork() -> io::Result<Forked> {
    let threads = threads()?;
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
