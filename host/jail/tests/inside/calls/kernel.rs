//! Executable memory, and interfaces that affect the whole machine.

use std::ffi::c_int;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::ptr;

use super::super::{NOBODY, Setup, result};
use super::{Done, call};

const PAGE: usize = 4096;

fn map(protection: c_int) -> Result<i64, i32> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    call!(SYS_mmap, 0, PAGE, protection, flags, -1, 0_u64)
}

pub fn mprotect_to_execute(setup: Setup) -> Done {
    setup.enter();
    let page = map(libc::PROT_READ | libc::PROT_WRITE).unwrap();
    call!(SYS_mprotect, page, PAGE, libc::PROT_READ | libc::PROT_EXEC).map(drop)
}

pub fn mmap_to_execute(setup: Setup) -> Done {
    setup.enter();
    map(libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC).map(drop)
}

pub fn pkey_mprotect_to_execute(setup: Setup) -> Done {
    setup.enter();
    let page = map(libc::PROT_READ | libc::PROT_WRITE).unwrap();
    call!(SYS_pkey_mprotect, page, PAGE, libc::PROT_READ | libc::PROT_EXEC, -1).map(drop)
}

pub fn io_uring_setup(setup: Setup) -> Done {
    setup.enter();
    let parameters = [0_u64; 15];
    call!(SYS_io_uring_setup, 1, parameters.as_ptr()).map(drop)
}

pub fn keyctl(setup: Setup) -> Done {
    setup.enter();
    // KEYCTL_GET_KEYRING_ID of the session.
    call!(SYS_keyctl, 0, -3, 0).map(drop)
}

pub fn bpf(setup: Setup) -> Done {
    setup.enter();
    call!(SYS_bpf, 0, ptr::null::<u8>(), 0).map(drop)
}

pub fn unshare(setup: Setup) -> Done {
    setup.enter();
    call!(SYS_unshare, libc::CLONE_NEWUTS).map(drop)
}

pub fn mount(setup: Setup) -> Done {
    setup.enter();
    let none = ptr::null::<u8>();
    call!(SYS_mount, none, none, none, 0, none).map(drop)
}

pub fn chroot(setup: Setup) -> Done {
    setup.enter();
    call!(SYS_chroot, c"/".as_ptr()).map(drop)
}

pub fn perf_event_open(setup: Setup) -> Done {
    setup.enter();
    call!(SYS_perf_event_open, ptr::null::<u8>(), 0, -1, -1, 0).map(drop)
}

pub fn userfaultfd(setup: Setup) -> Done {
    setup.enter();
    call!(SYS_userfaultfd, 0).map(drop)
}

pub fn be_dumpable(setup: Setup) -> Done {
    setup.enter();
    call!(SYS_prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0).map(drop)
}

pub fn ioctl(setup: Setup) -> Done {
    let (one, _other) = UnixStream::pair().unwrap();
    setup.enter();
    let mut count = 0;
    call!(SYS_ioctl, one.as_raw_fd(), libc::FIONREAD, &raw mut count).map(drop)
}

pub fn raise_a_limit(setup: Setup) -> Done {
    setup.enter();
    let limit = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
    call!(SYS_prlimit64, 0, libc::RLIMIT_CORE, &raw const limit, ptr::null::<u8>()).map(drop)
}

pub fn seccomp(setup: Setup) -> Done {
    setup.enter();
    // The call asks if the kernel knows SECCOMP_RET_ALLOW.
    let allow = libc::SECCOMP_RET_ALLOW;
    call!(SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const allow).map(drop)
}

/// `getpid` with a number of the x32 ABI, which has the same architecture.
pub fn x32(setup: Setup) -> Done {
    setup.enter();
    // SAFETY: the call has no arguments.
    result(unsafe { libc::syscall(0x4000_0000 | libc::SYS_getpid) }).map(drop)
}

pub fn setuid_to_nobody(setup: Setup) -> Done {
    setup.enter();
    call!(SYS_setuid, NOBODY).map(drop)
}

pub fn setuid_to_root(setup: Setup) -> Done {
    setup.enter();
    call!(SYS_setuid, 0).map(drop)
}
