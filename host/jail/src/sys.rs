//! The unsafe code: system calls that no library has.

#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;

/// The number of the ABI of Landlock that this kernel has:
/// `landlock_create_ruleset(2)`.
///
/// Errors: it has none, or it is switched off.
pub(crate) fn landlock_abi() -> io::Result<u32> {
    const LANDLOCK_CREATE_RULESET_VERSION: libc::c_uint = 1;
    // SAFETY: with this flag the kernel takes no address and only answers.
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

/// Closes the descriptors from one to another, both included:
/// `close_range(2)`.
///
/// Their owners are not told: they must not be used or dropped any more, which
/// holds in a child that serves one request and ends with `_exit`.
pub(crate) fn close_inherited(first: RawFd, last: RawFd) -> io::Result<()> {
    let (first, last) = (first.cast_unsigned(), last.cast_unsigned());
    // SAFETY: as above, nobody in this process uses them.
    done(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })
}

/// The descriptors that this program was started with, beside the standard streams:
/// those that would stay open if it started another one, for what Rust opens would not.
///
/// Errors: there is no `/proc`.
pub(crate) fn inherited() -> io::Result<Vec<RawFd>> {
    let stays = |fd: &RawFd| {
        // SAFETY: it only asks, also where there is no such descriptor any more.
        let flags = unsafe { libc::fcntl(*fd, libc::F_GETFD) };
        flags >= 0 && flags & libc::FD_CLOEXEC == 0
    };
    let numbers = fs::read_dir("/proc/self/fd")?.flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(numbers.filter(|fd| *fd > 2 && stays(fd)).collect())
}

/// Puts rules of Landlock in force for this thread, and those that it starts:
/// `landlock_restrict_self(2)`.
///
/// Errors: it may get new privileges, or has too many such rules already.
pub(crate) fn landlock_restrict_self(rules: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: it takes no address.
    done(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) })
}

/// A namespace of processes whose first one has ended: none can be made in it any
/// more, see `pid_namespaces(7)`. `None` if this process may not make one.
///
/// This process must have one thread.
///
/// Errors: it could be made, and not be left again.
pub(crate) fn dead_namespace() -> io::Result<Option<File>> {
    const FOR_CHILDREN: &str = "/proc/self/ns/pid_for_children";
    let Ok(own) = File::open(FOR_CHILDREN) else { return Ok(None) };
    // SAFETY: it takes no address, and nothing of this process is shared with
    // another thread.
    if unsafe { libc::unshare(libc::CLONE_NEWPID) } != 0 {
        return Ok(None);
    }
    // SAFETY: there is one thread. The child does nothing but wait for its end.
    let first = unsafe { libc::fork() };
    if first == 0 {
        // SAFETY: neither takes an address.
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
        // SAFETY: it is a child of this process that nobody has waited for, and
        // the status may be a null pointer.
        unsafe {
            libc::kill(first, libc::SIGKILL);
            libc::waitpid(first, ptr::null_mut(), 0);
        }
    }
    back.map(|()| namespace)
}

/// From now on the processes that this one makes are in that namespace:
/// `setns(2)`.
pub(crate) fn enter_namespace(namespace: &File) -> io::Result<()> {
    // SAFETY: it takes no address.
    done(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWPID) }.into())
}

fn done(returned: libc::c_long) -> io::Result<()> {
    if returned == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
