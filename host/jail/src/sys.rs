//! The unsafe code: system calls that no library has.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::RawFd;
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
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
