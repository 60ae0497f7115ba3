//! Code that runs in a process of its own, and ends there.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitOptions, waitpid};

use crate::concurrency::guarded;
use crate::sys::{self, Forked, Tasks};

/// How many bytes of its error a child can tell.
const MOST: u64 = 16 << 10;

/// Runs `work` in a process that is forked for it, and waits for its end. What it
/// returns is returned here; of the text of an error 16 KiB. If code that is not
/// trusted runs there, it may be any text.
///
/// `work` is given the descriptor that its error is told through, for those who close
/// others.
///
/// Errors: this process has other threads, or cannot fork; or the child ended otherwise,
/// by a signal or a panic.
pub fn in_child(
    work: impl FnOnce(BorrowedFd<'_>) -> Result<(), String>,
) -> io::Result<Result<(), String>> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    let child = match sys::fork(&Tasks::new()?)? {
        Forked::Parent(child) => child,
        Forked::Child => {
            drop(read);
            sys::exit_now(match guarded(|| work(write.as_fd())) {
                Some(Ok(())) => 0,
                Some(Err(why)) => {
                    // Without it, the exit status tells that there was one.
                    let _ = File::from(write).write_all(why.as_bytes());
                    1
                }
                None => 101,
            })
        }
    };
    drop(write);
    let mut said = Vec::new();
    let read = File::from(read).take(MOST).read_to_end(&mut said);
    let status = loop {
        match waitpid(Some(child), WaitOptions::empty()) {
            Err(Errno::INTR) | Ok(None) => {}
            Err(error) => return Err(error.into()),
            Ok(Some((_, status))) => break status,
        }
    };
    read?;
    match status.exit_status() {
        Some(0) => Ok(Ok(())),
        Some(1) => Ok(Err(String::from_utf8_lossy(&said).into_owned())),
        Some(status) => Err(io::Error::other(format!("its process ended with {status}"))),
        None => {
            let signal = status.terminating_signal().unwrap_or_default();
            Err(io::Error::other(format!("its process was ended by signal {signal}")))
        }
    }
}
