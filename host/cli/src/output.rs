//! Standard output and standard error, which are written to without waiting for the
//! reader.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, major, minor, open};
use rustix::io::{Errno, retry_on_intr, write};
use rustix::net::{SendFlags, send};

use crate::relay;

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Standard,
    /// Standard error.
    Error,
}

/// Which of them are sockets: these are sent to, as only a call that sends can be told
/// not to wait.
static SOCKETS: [AtomicBool; 2] = [AtomicBool::new(false), AtomicBool::new(false)];

/// The numbers of devices: memory, such as `/dev/null`, and the one by which terminals
/// are made (`/dev/ptmx`).
const MEMORY: u32 = 1;
const PTMX: (u32, u32) = (5, 2);

/// Has both fail where writing to them would wait.
///
/// Pipes and terminals are opened anew for that, since those who share them do not
/// expect it. Where this is refused, as for those of another user, another process
/// [waits instead](relay). Files are written as they are.
///
/// Errors: one of them can only be written by waiting.
pub fn do_not_wait() -> Result<()> {
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let same = is_same(&fstat(&stdout)?, &fstat(&stderr)?);
    let error = how(stderr.as_fd()).context("cannot write to standard error without waiting")?;
    let relayed = matches!(error, How::Relay(_));
    error.take(Output::Error)?;
    let output = if same && relayed {
        How::Relay(stderr.as_fd().try_clone_to_owned()?)
    } else {
        how(stdout.as_fd()).context("cannot write to standard output without waiting")?
    };
    output.take(Output::Standard)
}

/// How to write without waiting.
enum How {
    /// It does not make its writers wait.
    AsIs,
    /// By sending.
    Socket,
    /// To the same, opened anew.
    Anew(OwnedFd),
    /// To a process that waits.
    Relay(OwnedFd),
}

fn how(to: BorrowedFd<'_>) -> io::Result<How> {
    let stat = fstat(to)?;
    let device = (major(stat.st_rdev), minor(stat.st_rdev));
    let anew = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Socket => return Ok(How::Socket),
        FileType::RegularFile | FileType::BlockDevice => return Ok(How::AsIs),
        FileType::CharacterDevice if device.0 == MEMORY => return Ok(How::AsIs),
        FileType::Fifo => reopened(to),
        // What cannot be opened anew without making another.
        FileType::CharacterDevice if device != PTMX && to.is_terminal() => reopened(to),
        _ => Err(Errno::OPNOTSUPP.into()),
    };
    anew.map(How::Anew).or_else(|_| relay::start(to).map(How::Relay))
}

fn reopened(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(open(format!("/proc/self/fd/{}", fd.as_raw_fd()), flags, Mode::empty())?)
}

fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

impl How {
    fn take(self, output: Output) -> Result<()> {
        match (self, output) {
            (How::AsIs, _) => {}
            (How::Socket, _) => SOCKETS[output as usize].store(true, Ordering::Relaxed),
            (How::Anew(fd) | How::Relay(fd), Output::Standard) => nix::unistd::dup2_stdout(&fd)?,
            (How::Anew(fd) | How::Relay(fd), Output::Error) => nix::unistd::dup2_stderr(&fd)?,
        }
        Ok(())
    }
}

impl Output {
    /// Writes as much of `data` as there is room for, with one system call and without a
    /// lock: a writer that waits holds up no other. No writer does after [`do_not_wait`].
    pub fn write(self, data: &[u8]) -> io::Result<usize> {
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let fd = self.choose(stdout.as_fd(), stderr.as_fd());
        let is_socket = SOCKETS[self as usize].load(Ordering::Relaxed);
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let written =
            retry_on_intr(|| if is_socket { send(fd, data, flags) } else { write(fd, data) });
        Ok(written?)
    }

    /// Waits until there is room for some data, for less than a second. Whether there
    /// is; if it cannot be asked, writing tells.
    pub fn has_room_within(self, wait: Duration) -> bool {
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let fd = self.choose(stdout.as_fd(), stderr.as_fd());
        let wait = Timespec { tv_sec: 0, tv_nsec: wait.subsec_nanos().into() };
        poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], Some(&wait)) != Ok(0)
    }

    fn choose<T>(self, stdout: T, stderr: T) -> T {
        match self {
            Output::Standard => stdout,
            Output::Error => stderr,
        }
    }
}
