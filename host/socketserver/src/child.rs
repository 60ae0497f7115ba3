//! Code that runs in a process of its own, and ends there.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::ioctl_fionbio;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::concurrency::{Children, Ended, guarded};
use crate::sys::{self, Forked, Tasks};
use crate::wait::poll_until;

/// How many bytes of its error a child can tell.
const MOST: u64 = 16 << 10;

/// Runs `work` in a process that is forked for it, and waits for its end. What it
/// returns is returned here; of the text of an error 16 KiB. If code that is not
/// trusted runs there, it may be any text.
///
/// A process that is still there after `max_lifetime` is killed; `None` for no limit.
///
/// `work` is given the descriptor that its error is told through, for those who close
/// others.
///
/// # Errors
///
/// This process has other threads, or cannot fork; or the child ended otherwise, by a
/// signal or a panic; or it was killed ([`ErrorKind::TimedOut`]).
pub fn in_child(
    max_lifetime: Option<Duration>,
    work: impl FnOnce(BorrowedFd<'_>) -> Result<(), String>,
) -> io::Result<Result<(), String>> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    ioctl_fionbio(&read, true)?;
    let (tasks, children) = (Tasks::new()?, Children::new(max_lifetime)?);
    match sys::fork(&tasks)? {
        Forked::Parent(child) => children.add(child, None, Vec::new()),
        Forked::Child => {
            children.close_inherited();
            tasks.close_inherited();
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
    }
    drop(write);
    let mut told = Told { pipe: Some(File::from(read)), said: Vec::new() };
    let ended = wait(&children, &mut told)?;
    told.receive();
    outcome(&ended, &told.said)
}

/// Waits for the end of the only child. It may tell its error, or keep the pipe open and
/// tell nothing.
fn wait(children: &Children, told: &mut Told) -> io::Result<Ended> {
    loop {
        if let Some(ended) = children.collect().pop() {
            return Ok(ended);
        }
        let pipe = told.pipe.as_ref().map(File::as_fd);
        let mut fds: Vec<PollFd<'_>> = [Some(children.ended()), pipe]
            .into_iter()
            .flatten()
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        poll_until(&mut fds, children.due())?;
        told.receive();
    }
}

fn outcome(ended: &Ended, said: &[u8]) -> io::Result<Result<(), String>> {
    if ended.outlived() {
        let lived = ended.lived;
        let why = format!("its process was still there after {lived:.1?}, and was killed");
        return Err(io::Error::new(ErrorKind::TimedOut, why));
    }
    let Some(status) = ended.status else {
        return Err(io::Error::other("its process was waited for elsewhere"));
    };
    match status.exit_status() {
        Some(0) => Ok(Ok(())),
        Some(1) => Ok(Err(String::from_utf8_lossy(said).into_owned())),
        Some(status) => Err(io::Error::other(format!("its process ended with {status}"))),
        None => {
            let signal = status.terminating_signal().unwrap_or_default();
            Err(io::Error::other(format!("its process was ended by signal {signal}")))
        }
    }
}

/// What a child has told of its error.
struct Told {
    /// `None` when nothing more is to come.
    pipe: Option<File>,
    said: Vec<u8>,
}

impl Told {
    /// Takes what is there, without waiting.
    fn receive(&mut self) {
        let Some(pipe) = &self.pipe else { return };
        let left = MOST.saturating_sub(self.said.len() as u64);
        let read = pipe.take(left).read_to_end(&mut self.said);
        let more = read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        if !more {
            self.pipe = None;
        }
    }
}
