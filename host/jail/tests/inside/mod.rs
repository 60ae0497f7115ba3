//! The process in the jail that runs a case.
//!
//! | file | content |
//! |---|---|
//! | `cases` | the table of cases |
//! | `setup` | the jails that cases run in |
//! | `first_thread` | the other thread of a process with two |
//! | `calls/` | actions that the jail refuses |
//! | `compiling`, `serving`, `walls` | actions that the jail allows, and those that show its walls |

mod calls;
mod cases;
mod compiling;
mod first_thread;
mod serving;
mod setup;
mod walls;

use rustix::process::Signal;

pub use cases::{Case, Expected, cases};
pub use setup::{NOBODY, Setup};

/// An exit status above this number stands for the signal that ended a process.
pub const BY_SIGNAL: i32 = 128;

/// Continues in a child, as a server that forks for each request does. The parent ends as the
/// child does.
fn fork_for_a_request() {
    // SAFETY: the process has one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
        return;
    }
    let mut status = 0;
    // SAFETY: the pointer is valid.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    let code = if libc::WIFSIGNALED(status) {
        BY_SIGNAL + libc::WTERMSIG(status)
    } else {
        libc::WEXITSTATUS(status)
    };
    // SAFETY: any status is valid.
    unsafe { libc::_exit(code) }
}

/// Runs a case and exits with its errno.
pub fn run(case: &str) -> ! {
    let (setup, name) = case.split_once(' ').unwrap();
    let is_named = |case: &&Case| {
        let free = Setup { jailed: false, ..case.setup };
        case.name == name && (case.setup.name() == setup || free.name() == setup)
    };
    let case = cases().find(is_named).unwrap();
    let setup = Setup { jailed: !setup.ends_with("_free"), ..case.setup };
    let act = case.act;
    let done = if setup.second_thread && setup.jailed {
        first_thread::wait(move || act(setup))
    } else {
        act(setup)
    };
    let errno = done.err().unwrap_or(0);
    // SAFETY: any status is valid. Destructors are not part of the case.
    unsafe { libc::_exit(errno) }
}

/// Returns the result of a system call, or its `errno(3)`.
pub fn result(returned: impl Into<i64>) -> Result<i64, i32> {
    match returned.into() {
        -1 => Err(std::io::Error::last_os_error().raw_os_error().unwrap()),
        returned => Ok(returned),
    }
}
