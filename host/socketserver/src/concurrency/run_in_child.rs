//! Code that runs in a process of its own, and ends there.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::ioctl_fionbio;
use rustix::pipe::{PipeFlags, pipe_with};

use super::children::{Children, EndedChild};
use super::job::catch_panic;
use crate::poll::poll_until;
use crate::sys::{self, Forked, Tasks};

/// The longest error text that is taken from a child, in bytes.
const MAX_ERROR: u64 = 16 << 10;

/// Runs `work` in a forked process, waits for its end and returns its result; of the
/// text of an error, the first 16 KiB. The text is not to be trusted if `work` runs
/// untrusted code.
///
/// A process that is still there after `max_lifetime` is killed; `None` sets no limit.
///
/// `work` gets the descriptor through which its error is sent, so that it can close all
/// others.
///
/// # Errors
///
/// - This process has other threads, or cannot fork.
/// - The child was ended by a signal or a panic.
/// - The child was killed after `max_lifetime` ([`ErrorKind::TimedOut`]).
pub fn run_in_child(
    max_lifetime: Option<Duration>,
    work: impl FnOnce(BorrowedFd<'_>) -> Result<(), String>,
) -> io::Result<Result<(), String>> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    ioctl_fionbio(&read, true)?;
    let (tasks, children) = (Tasks::new()?, Children::new(max_lifetime)?);
    match sys::fork(&tasks, None)? {
        Forked::Parent(child) => children.add(child, None, Vec::new()),
        Forked::Child => {
            children.close_inherited();
            tasks.close_inherited();
            drop(read);
            sys::exit_now(match catch_panic(|| work(write.as_fd())) {
                Some(Ok(())) => 0,
                Some(Err(error)) => {
                    // If this fails, the exit status shows that there was an error.
                    let _ = File::from(write).write_all(error.as_bytes());
                    1
                }
                None => 101,
            })
        }
    }
    drop(write);
    let mut error_text = ErrorText { pipe: Some(File::from(read)), received: Vec::new() };
    let ended = wait_for_child(&children, &mut error_text)?;
    error_text.receive();
    result_of(&ended, &error_text.received)
}

/// Waits for the end of the only child, which may send its error, or keep the pipe open
/// and send nothing.
fn wait_for_child(children: &Children, error_text: &mut ErrorText) -> io::Result<EndedChild> {
    loop {
        if let Some(ended) = children.collect().pop() {
            return Ok(ended);
        }
        let pipe = error_text.pipe.as_ref().map(File::as_fd);
        let mut fds: Vec<PollFd<'_>> = [Some(children.as_fd()), pipe]
            .into_iter()
            .flatten()
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        poll_until(&mut fds, children.next_deadline())?;
        error_text.receive();
    }
}

fn result_of(ended: &EndedChild, error_text: &[u8]) -> io::Result<Result<(), String>> {
    if ended.outlived() {
        let lifetime = ended.lifetime;
        let why = format!("its process was still there after {lifetime:.1?}, and was killed");
        return Err(io::Error::new(ErrorKind::TimedOut, why));
    }
    let Some(status) = ended.status else {
        return Err(io::Error::other("its process was waited for elsewhere"));
    };
    match status.exit_status() {
        Some(0) => Ok(Ok(())),
        Some(1) => Ok(Err(String::from_utf8_lossy(error_text).into_owned())),
        Some(status) => Err(io::Error::other(format!("its process ended with {status}"))),
        None => {
            let signal = status.terminating_signal().unwrap_or_default();
            Err(io::Error::other(format!("its process was ended by signal {signal}")))
        }
    }
}

/// The error text of a child.
struct ErrorText {
    /// `None` after the end of the text.
    pipe: Option<File>,
    received: Vec<u8>,
}

impl ErrorText {
    /// Receives the text that is there, without waiting.
    fn receive(&mut self) {
        let Some(pipe) = &self.pipe else { return };
        let left = MAX_ERROR.saturating_sub(self.received.len() as u64);
        let read = pipe.take(left).read_to_end(&mut self.received);
        let more_may_come = read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        if !more_may_come {
            self.pipe = None;
        }
    }
}
