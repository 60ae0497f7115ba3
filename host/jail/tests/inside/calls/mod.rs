//! System calls of hostile native code. They do no harm outside of the jail: signals are the
//! signal 0, and calls that would change the machine have arguments that the kernel refuses.

mod brokered;
mod kernel;
mod processes;
mod sockets;

use std::ffi::{CString, c_int};

pub use brokered::*;
pub use kernel::*;
pub use processes::*;
pub use sockets::*;

use super::{Setup, result};

type Done = Result<(), i32>;

/// `syscall(2)`.
macro_rules! call {
    ($number:ident $(, $argument:expr)*) => {
        // SAFETY: the pointers are valid or null, and the kernel checks the rest.
        result(unsafe { libc::syscall(libc::$number $(, $argument)*) })
    };
}
use call;

fn open(path: &str, flags: c_int) -> Done {
    let path = CString::new(path).unwrap();
    call!(SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0).map(drop)
}

pub fn open_to_read(setup: Setup) -> Done {
    setup.enter();
    open("/etc/passwd", libc::O_RDONLY)
}

pub fn open_to_write(setup: Setup) -> Done {
    setup.enter();
    open("/dev/null", libc::O_WRONLY)
}

pub fn open_own_memory(setup: Setup) -> Done {
    setup.enter();
    open("/proc/self/mem", libc::O_RDWR)
}

pub fn openat2(setup: Setup) -> Done {
    setup.enter();
    let how = [0_u64; 3];
    let how = how.as_ptr();
    call!(SYS_openat2, libc::AT_FDCWD, c"/etc/passwd".as_ptr(), how, size_of::<[u64; 3]>())
        .map(drop)
}

pub fn memfd_create(setup: Setup) -> Done {
    setup.enter();
    call!(SYS_memfd_create, c"code".as_ptr(), 0).map(drop)
}

pub fn stat(setup: Setup) -> Done {
    setup.enter();
    std::fs::metadata("/etc/passwd").map(drop).map_err(|error| error.raw_os_error().unwrap())
}

pub fn dup(setup: Setup) -> Done {
    setup.enter();
    call!(SYS_dup, 0).map(drop)
}
