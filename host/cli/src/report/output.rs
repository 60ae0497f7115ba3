//! Standard output and standard error, written without waiting for the reader.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, major, minor, open};
use rustix::io::{Errno, retry_on_intr, write};
use rustix::net::{SendFlags, send};
use socketserver::printable;

use super::relay;

/// The longest path that is printed, in bytes.
const MAX_PATH: usize = 4 << 10;

/// One of the two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Standard,
    /// Standard error.
    Error,
}

/// True for each output that is a socket. The program sends to sockets: only a call that sends has
/// a flag for not waiting.
static SOCKETS: [AtomicBool; 2] = [AtomicBool::new(false), AtomicBool::new(false)];

/// The numbers of devices: memory devices such as `/dev/null`, and the device that makes
/// terminals (`/dev/ptmx`).
const MEMORY: u32 = 1;
const PTMX: (u32, u32) = (5, 2);

/// Makes writing to both fail where it would wait.
///
/// Pipes and terminals are opened anew for that, because other processes share them and do
/// not expect them to change. Where the kernel refuses that, as for those of another user, a
/// [relay] waits instead. Files are written as they are.
///
/// # Errors
///
/// One of them can only be written by waiting.
pub fn make_nonblocking() -> Result<()> {
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let same = is_same(&fstat(&stdout)?, &fstat(&stderr)?);
    let error = WriteMode::for_output(stderr.as_fd())
        .context("cannot write to standard error without waiting")?;
    let relayed = matches!(error, WriteMode::Relay(_));
    error.apply(Output::Error)?;
    let output = if same && relayed {
        WriteMode::Relay(stderr.as_fd().try_clone_to_owned()?)
    } else {
        WriteMode::for_output(stdout.as_fd())
            .context("cannot write to standard output without waiting")?
    };
    output.apply(Output::Standard)
}

/// A way of writing without waiting.
enum WriteMode {
    /// As it is: its writers do not wait.
    AsIs,
    /// By sending to a socket.
    Socket,
    /// To the same file, opened anew.
    Reopened(OwnedFd),
    /// To a relay, which waits.
    Relay(OwnedFd),
}

fn reopen(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(open(format!("/proc/self/fd/{}", fd.as_raw_fd()), flags, Mode::empty())?)
}

fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

impl WriteMode {
    /// Returns the way of writing to this output.
    fn for_output(to: BorrowedFd<'_>) -> io::Result<Self> {
        let stat = fstat(to)?;
        let device = (major(stat.st_rdev), minor(stat.st_rdev));
        let reopened = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Socket => return Ok(WriteMode::Socket),
            FileType::RegularFile | FileType::BlockDevice => return Ok(WriteMode::AsIs),
            FileType::CharacterDevice if device.0 == MEMORY => return Ok(WriteMode::AsIs),
            FileType::Fifo => reopen(to),
            // Opening `/dev/ptmx` anew would make another terminal.
            FileType::CharacterDevice if device != PTMX && to.is_terminal() => reopen(to),
            _ => Err(Errno::OPNOTSUPP.into()),
        };
        reopened.map(WriteMode::Reopened).or_else(|_| relay::start(to).map(WriteMode::Relay))
    }

    /// Makes the output be written in this way.
    fn apply(self, output: Output) -> Result<()> {
        match (self, output) {
            (WriteMode::AsIs, _) => {}
            (WriteMode::Socket, _) => SOCKETS[output as usize].store(true, Ordering::Relaxed),
            (WriteMode::Reopened(fd) | WriteMode::Relay(fd), Output::Standard) => {
                nix::unistd::dup2_stdout(&fd)?;
            }
            (WriteMode::Reopened(fd) | WriteMode::Relay(fd), Output::Error) => {
                nix::unistd::dup2_stderr(&fd)?;
            }
        }
        Ok(())
    }
}

impl Output {
    /// Writes as much of `data` as there is room for, with one system call and without a lock.
    /// So a writer that waits blocks no other. After [`make_nonblocking`] no writer waits.
    pub fn write(self, data: &[u8]) -> io::Result<usize> {
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let fd = self.choose(stdout.as_fd(), stderr.as_fd());
        let is_socket = SOCKETS[self as usize].load(Ordering::Relaxed);
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let written =
            retry_on_intr(|| if is_socket { send(fd, data, flags) } else { write(fd, data) });
        Ok(written?)
    }

    /// Waits for less than a second until there is room for some data. Returns whether there
    /// is, and true if the kernel cannot say: then writing shows it.
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
/// Returns the path of a handler with escapes for what could deceive a terminal: the author
/// of a handler may choose the name of its file.
pub fn printable_path(path: &Path) -> String {
    printable(&path.to_string_lossy(), MAX_PATH)
}
