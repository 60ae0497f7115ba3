//! The unsafe code of the crate: system calls that no library here wraps.

#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;

/// Returns the ABI of Landlock that this kernel has: `landlock_create_ruleset(2)`.
///
/// # Errors
///
/// The kernel has no Landlock, or it is disabled.
pub(crate) fn landlock_abi() -> io::Result<u32> {
    const LANDLOCK_CREATE_RULESET_VERSION: libc::c_uint = 1;
    // SAFETY: with this flag the kernel reads no memory and only returns a number.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            ptr::null::<libc::c_void>(),
            0 as libc::size_t,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    };
    u32::try_from(version).map_err(|_| io::Error::last_os_error())
}

/// Closes the descriptors from `first` to `last`, both included: `close_range(2)`.
///
/// The process must neither use nor drop their owners any more, as in a child that serves
/// one request and ends with `_exit`.
pub(crate) fn close_range(first: RawFd, last: RawFd) -> io::Result<()> {
    let (first, last) = (first.cast_unsigned(), last.cast_unsigned());
    // SAFETY: as above, no code of this process uses them any more.
    result(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })
}

/// Returns the descriptors that this program was started with, beyond the standard streams:
/// those without close-on-exec, which Rust sets on all that it opens.
///
/// # Errors
///
/// `/proc` is not mounted.
pub(crate) fn inherited() -> io::Result<Vec<RawFd>> {
    let stays = |fd: &RawFd| {
        // SAFETY: it only reads a flag, and fails for a descriptor that is closed.
        let flags = unsafe { libc::fcntl(*fd, libc::F_GETFD) };
        flags >= 0 && flags & libc::FD_CLOEXEC == 0
    };
    let numbers = fs::read_dir("/proc/self/fd")?.flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(numbers.filter(|fd| *fd > 2 && stays(fd)).collect())
}

/// Enforces a ruleset of Landlock for this thread and the threads that it starts:
/// `landlock_restrict_self(2)`.
///
/// # Errors
///
/// The thread has no `no_new_privs`, or has too many rulesets already.
pub(crate) fn landlock_restrict_self(rules: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the call takes no pointer.
    result(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) })
}

/// Creates a PID namespace whose first process has ended, so that no process can be made
/// in it any more: `pid_namespaces(7)`. Returns `None` if this process may not create one.
///
/// This process must have one thread.
///
/// # Errors
///
/// The process created the namespace and could not leave it again.
pub(crate) fn dead_namespace() -> io::Result<Option<File>> {
    const FOR_CHILDREN: &str = "/proc/self/ns/pid_for_children";
    let Ok(own) = File::open(FOR_CHILDREN) else { return Ok(None) };
    // SAFETY: the call takes no pointer, and the process has one thread.
    if unsafe { libc::unshare(libc::CLONE_NEWPID) } != 0 {
        return Ok(None);
    }
    // SAFETY: the process has one thread. The child only waits for its end.
    let first = unsafe { libc::fork() };
    if first == 0 {
        // SAFETY: neither call takes a pointer.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            loop {
                libc::pause();
            }
        }
    }
    let namespace = if first > 0 { File::open(FOR_CHILDREN).ok() } else { None };
    let back = enter_namespace(&own);
    if first > 0 {
        // SAFETY: it is a child of this process that has not been waited for, and the
        // status may be a null pointer.
        unsafe {
            libc::kill(first, libc::SIGKILL);
            libc::waitpid(first, ptr::null_mut(), 0);
        }
    }
    back.map(|()| namespace)
}

/// Puts the future children of this process in the namespace: `setns(2)`.
pub(crate) fn enter_namespace(namespace: &File) -> io::Result<()> {
    // SAFETY: the call takes no pointer.
    result(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWPID) }.into())
}

fn result(returned: libc::c_long) -> io::Result<()> {
    if returned == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
