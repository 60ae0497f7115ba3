//! Standard error as a log that cannot be flooded, and that holds nothing up.

use std::cell::Cell;
use std::io::{self, Sink, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use socketserver::{Shared, shared_data};
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use crate::log_text::GUEST;
use crate::output::Output;

const SECOND: Duration = Duration::from_secs(1);

/// How long one line waits for room, and all lines of a process together in a second. A
/// reader that keeps up now and then, and no more, slows nothing down by more than that.
const WAIT: Duration = Duration::from_millis(100);

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

shared_data! {
    /// What all processes that write the log know of it. A process may end before it could
    /// report what it dropped, and the next one would find out anew that there is no room.
    struct LogState {
        /// The number of lines that were dropped and not yet reported.
        dropped: AtomicU64,
        /// Not zero if there was no room for the last line.
        stuck: AtomicU64,
        /// Not zero if the last line was not written to its end.
        torn: AtomicU64,
    }
}

static SHARED: OnceLock<Shared<LogState>> = OnceLock::new();

/// When somebody was last told.
static TOLD: Mutex<Option<Instant>> = Mutex::new(None);

/// Since when lines have waited, and for how long in all.
static WAITED: Mutex<Option<(Instant, Duration)>> = Mutex::new(None);

thread_local! {
    /// What this thread logs now is neither limited nor counted; whether it was written.
    static EXEMPT: Cell<Option<bool>> = const { Cell::new(None) };
}

/// Makes what the processes share: to be called before any is forked.
///
/// Errors: there is no memory for it.
pub fn share() -> io::Result<()> {
    let shared = Shared::zeroed()?;
    SHARED.get_or_init(|| shared);
    Ok(())
}

/// Has `tell` log how many lines were dropped since the last time, if there were
/// any, once in a second at the most, or `at_once`. Its own line is not dropped, and
/// what it could not tell is told another time.
pub fn tell_dropped(at_once: bool, tell: impl FnOnce(u64)) {
    let Some(shared) = SHARED.get().filter(|shared| shared.dropped.load(Ordering::Relaxed) > 0)
    else {
        return;
    };
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if !at_once && told.is_some_and(|told| told.elapsed() < SECOND) {
        return;
    }
    *told = Some(Instant::now());
    let dropped = shared.dropped.load(Ordering::Relaxed);
    // Otherwise another process tells.
    let taken = shared.dropped.compare_exchange(dropped, 0, Ordering::SeqCst, Ordering::SeqCst);
    if taken.is_ok() {
        EXEMPT.set(Some(false));
        tell(dropped);
        if EXEMPT.take() == Some(false) {
            shared.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
    }
}

/// Standard error for what was asked for: it is not counted as lines of the log are.
pub fn unlimited() -> Line {
    Line::Written
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
        if EXEMPT.get().is_some() || self.has_room(of_guest) {
            return Line::Written;
        }
        count_dropped();
        Line::Dropped(io::sink())
    }
}

/// Where one line goes.
pub enum Line {
    Written,
    Dropped(Sink),
}

impl<'a> MakeWriter<'a> for LimitedStderr {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        self.line(false)
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line {
        self.line(metadata.target() == GUEST)
    }
}

/// A log that cannot be written, for want of room on its disk or of a reader, is no
/// reason to stop serving: `tracing` would panic. It writes each line with one call.
impl Write for Line {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Line::Written => {
                let whole = write(data);
                match EXEMPT.get() {
                    Some(_) => EXEMPT.set(Some(whole)),
                    None if !whole => count_dropped(),
                    None => {}
                }
                Ok(data.len())
            }
            Line::Dropped(sink) => sink.write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn count_dropped() {
    if let Some(shared) = SHARED.get() {
        shared.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes a line with one call, or with another one when there is room again. Whether it
/// was written to its end. What was not is not written later: another process may have
/// written meanwhile, and the rest, which a guest may have chosen, would look like a line
/// of its own.
fn write(line: &[u8]) -> bool {
    let begun;
    let torn = is_marked(|log| &log.torn);
    let line = if torn {
        begun = [b"\n", line].concat();
        &begun
    } else {
        line
    };
    let written = match Output::Error.write(line) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let has_room = !is_marked(|log| &log.stuck) && wait_for_room();
            if has_room { Output::Error.write(line) } else { Err(error) }
        }
        written => written,
    };
    let full = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
    set_mark(|log| &log.stuck, written.as_ref().is_err_and(full));
    let written = written.unwrap_or(0);
    if written > 0 {
        set_mark(|log| &log.torn, line[written - 1] != b'\n');
    }
    written == line.len()
}

/// Waits for as long as a line may.
fn wait_for_room() -> bool {
    let begun = Instant::now();
    let left = {
        let mut waited = WAITED.lock().unwrap_or_else(PoisonError::into_inner);
        if waited.is_none_or(|(since, _)| since.elapsed() >= SECOND) {
            *waited = Some((begun, Duration::ZERO));
        }
        WAIT.saturating_sub(waited.map_or(Duration::ZERO, |(_, waited)| waited))
    };
    if left.is_zero() {
        return false;
    }
    let has_room = Output::Error.has_room_within(left);
    let mut waited = WAITED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, waited)) = &mut *waited {
        *waited += begun.elapsed();
    }
    has_room
}

fn is_marked(mark: fn(&LogState) -> &AtomicU64) -> bool {
    SHARED.get().is_some_and(|shared| mark(shared).load(Ordering::Relaxed) != 0)
}

fn set_mark(mark: fn(&LogState) -> &AtomicU64, set: bool) {
    if let Some(shared) = SHARED.get() {
        let mark = mark(shared);
        let now = mark.load(Ordering::Relaxed);
        if (now != 0) != set {
            // If another process sets it meanwhile, it knows better.
            let new = u64::from(set);
            let _ = mark.compare_exchange(now, new, Ordering::SeqCst, Ordering::SeqCst);
        }
    }
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
