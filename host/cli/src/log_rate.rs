//! Standard error as a log that cannot be flooded.

use std::cell::Cell;
use std::io::{self, Sink, Stderr, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

const SECOND: Duration = Duration::from_secs(1);

/// How long one line waits for whoever reads the log, until nobody seems to do so.
/// The next ones do not wait, until one can be written again.
const WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
const NO_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Writes so many lines in a second, and drops the others. What guests and
/// clients do is a line each, and they may do it without end. What guests say
/// themselves has half of the lines, so that it cannot hide what is said of them.
pub struct LimitedStderr {
    per_second: u32,
    second: Mutex<Second>,
}

/// The second that runs.
struct Second {
    begun: Instant,
    lines: u32,
    /// How many of them were a guest's.
    of_guests: u32,
}

/// How many lines were dropped that nobody has been told of.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// When somebody was last told.
static TOLD: Mutex<Option<Instant>> = Mutex::new(None);

/// Nobody reads the log.
static STUCK: AtomicBool = AtomicBool::new(false);

/// The last line that was written was not written to its end.
static TORN: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// What this thread logs now is not counted.
    static EXEMPT: Cell<bool> = const { Cell::new(false) };
}

/// Has `tell` log how many lines were dropped since the last time, if there were
/// any, once in a second at the most. Its own line is not dropped.
pub fn tell_dropped(tell: impl FnOnce(u64)) {
    if DROPPED.load(Ordering::Relaxed) == 0 {
        return;
    }
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if told.is_none_or(|told| told.elapsed() >= SECOND) {
        *told = Some(Instant::now());
        EXEMPT.set(true);
        tell(DROPPED.swap(0, Ordering::Relaxed));
        EXEMPT.set(false);
    }
}

/// Has writing to standard error fail where it would wait, if that is a pipe. It is
/// opened anew for that: those who share it with us do not expect it to.
///
/// Errors: it cannot be opened, as one that another user made. Then a line may wait
/// if other processes write at the same moment.
pub fn do_not_wait() -> io::Result<()> {
    let stderr = io::stderr();
    if FileType::from_raw_mode(fstat(&stderr)?.st_mode).is_fifo() {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let anew = open("/proc/self/fd/2", flags, Mode::empty())?;
        nix::unistd::dup2_stderr(&anew)?;
    }
    Ok(())
}

/// Standard error for what was asked for: it is not counted as lines of the log are.
pub fn unlimited() -> Line {
    Line::Written { stderr: io::stderr(), begun: false }
}

impl LimitedStderr {
    pub fn new(per_second: u32) -> Self {
        let second = Mutex::new(Second { begun: Instant::now(), lines: 0, of_guests: 0 });
        LimitedStderr { per_second, second }
    }

    /// Whether one more line may be written now, which may be a guest's.
    fn has_room(&self, of_guest: bool) -> bool {
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        if second.begun.elapsed() >= SECOND {
            *second = Second { begun: Instant::now(), lines: 0, of_guests: 0 };
        }
        if of_guest && second.of_guests >= self.per_second.div_ceil(2) {
            return false;
        }
        second.of_guests += u32::from(of_guest);
        second.lines = second.lines.saturating_add(1);
        second.lines <= self.per_second
    }

    fn line(&self, of_guest: bool) -> Line {
        if EXEMPT.get() || self.has_room(of_guest) {
            return unlimited();
        }
        DROPPED.fetch_add(1, Ordering::Relaxed);
        Line::Dropped(io::sink())
    }
}

/// Where one line goes.
pub enum Line {
    Written { stderr: Stderr, begun: bool },
    Dropped(Sink),
}

impl<'a> MakeWriter<'a> for LimitedStderr {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        self.line(false)
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line {
        self.line(metadata.target() == "guest")
    }
}

/// A log that cannot be written, for want of room on its disk or of anybody who
/// reads it, is no reason to stop serving: `tracing` would panic, and whoever waits
/// for a reader keeps the others from writing, too.
impl Write for Line {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let (written, begun) = match self {
            Line::Written { stderr, begun } => (write(stderr, data, *begun), begun),
            Line::Dropped(sink) => return sink.write(data),
        };
        match written {
            Ok(count) if count > 0 => {
                *begun = true;
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Ok(_) | Err(_) => {
                TORN.fetch_or(*begun, Ordering::Relaxed);
                DROPPED.fetch_add(1, Ordering::Relaxed);
                Ok(data.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes some of a line, or of the rest of one that was begun.
///
/// Errors: it cannot be written, or not before long.
fn write(stderr: &Stderr, data: &[u8], begun: bool) -> io::Result<usize> {
    let mut stderr = stderr.lock();
    let wait = if STUCK.load(Ordering::Relaxed) { NO_WAIT } else { WAIT };
    let has_room =
        poll(&mut [PollFd::from_borrowed_fd(stderr.as_fd(), PollFlags::OUT)], Some(&wait));
    // If it cannot be asked, writing tells.
    STUCK.store(has_room == Ok(0), Ordering::Relaxed);
    if has_room == Ok(0) {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    if !begun && TORN.load(Ordering::Relaxed) {
        stderr.write_all(b"\n")?;
        TORN.store(false, Ordering::Relaxed);
    }
    stderr.write(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_lines_in_a_second_and_then_again() {
        let log = LimitedStderr::new(3);
        let written = |log: &LimitedStderr| (0..5).filter(|_| log.has_room(false)).count();
        assert_eq!(written(&log), 3);
        assert_eq!(written(&log), 0);
        log.second.lock().unwrap().begun -= SECOND;
        assert_eq!(written(&log), 3);
    }

    #[test]
    fn guests_have_half_of_the_lines() {
        let log = LimitedStderr::new(4);
        assert_eq!((0..5).filter(|_| log.has_room(true)).count(), 2);
        assert_eq!((0..5).filter(|_| log.has_room(false)).count(), 2);
    }
}
