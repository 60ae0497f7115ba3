//! Standard error as a log that blocks nothing. A line that cannot be written is dropped and
//! counted, by all processes together.

use std::cell::Cell;
use std::io::{self, Sink, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use socketserver::{Shared, runs_tasks, shared_data};
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use super::log_limit::LineLimit;
use super::log_text::{ACCESS, GUEST};
use super::output::Output;

const SECOND: Duration = Duration::from_secs(1);

/// The longest time that a line waits for room, and that all lines of a process wait together
/// in a second. A reader that keeps up only now and then slows the server down by no more.
const MAX_WAIT: Duration = Duration::from_millis(100);

/// The longest time that a line waits in a thread that runs requests as tasks: the other requests
/// of the thread wait too.
const MAX_WAIT_OF_TASK: Duration = Duration::from_millis(10);

/// The log of this process.
pub struct LogWriter {
    limit: LineLimit,
}

shared_data! {
    /// The state of the log, which all processes that write to it share. A process may end
    /// before it could report the lines that it dropped, and the next process would find out
    /// anew that there is no room.
    struct LogState {
        /// The number of lines that were dropped and not yet reported.
        dropped: AtomicU64,
        /// 1 if there was no room for the last line, or else 0.
        full: AtomicU64,
        /// 1 if the last line was not written to its end, or else 0.
        torn: AtomicU64,
    }
}

static STATE: OnceLock<Shared<LogState>> = OnceLock::new();

/// The last time that a process reported dropped lines.
static LAST_REPORT: Mutex<Option<Instant>> = Mutex::new(None);

/// The second in which lines waited last, and the time that they waited in it.
static WAITED: Mutex<Option<(Instant, Duration)>> = Mutex::new(None);

thread_local! {
    /// Set while this thread writes a line that is neither limited nor counted: whether the
    /// line was written.
    static EXEMPT: Cell<Option<bool>> = const { Cell::new(None) };
}

/// Makes the state that processes share. Call it before any is forked.
///
/// # Errors
///
/// The machine has no memory for it.
pub fn share_state() -> io::Result<()> {
    let state = Shared::zeroed()?;
    STATE.get_or_init(|| state);
    Ok(())
}

/// Calls `log` with the number of lines that were dropped since the last report, if there are
/// any: once in a second at the most, or `at_once`. The line that `log` writes is not limited.
/// If it cannot be written either, a later report has the number.
pub fn report_dropped(at_once: bool, log: impl FnOnce(u64)) {
    let Some(state) = STATE.get().filter(|state| state.dropped.load(Ordering::Relaxed) > 0) else {
        return;
    };
    let mut last = LAST_REPORT.lock().unwrap_or_else(PoisonError::into_inner);
    if !at_once && last.is_some_and(|last| last.elapsed() < SECOND) {
        return;
    }
    *last = Some(Instant::now());
    let dropped = state.dropped.load(Ordering::Relaxed);
    let taken = state.dropped.compare_exchange(dropped, 0, Ordering::SeqCst, Ordering::SeqCst);
    // If the exchange fails, another process reports them.
    if taken.is_ok() && !exempt(|| log(dropped)) {
        state.dropped.fetch_add(dropped, Ordering::Relaxed);
    }
}

/// Calls `log`, whose line is neither limited nor counted.
pub fn without_limit(log: impl FnOnce()) {
    exempt(log);
}

/// Calls `log`, and returns whether its line was written.
fn exempt(log: impl FnOnce()) -> bool {
    EXEMPT.set(Some(false));
    log();
    EXEMPT.take() == Some(true)
}

/// Returns standard error for text that the operator asked for. The limit does not apply.
pub fn unlimited() -> Line {
    Line::Written
}

impl LogWriter {
    /// Returns a log that writes so many lines in a second.
    pub fn new(lines_per_second: u32) -> Self {
        LogWriter { limit: LineLimit::new(lines_per_second) }
    }

    fn line(&self, is_frequent: bool) -> Line {
        if EXEMPT.get().is_some() || self.limit.allow(is_frequent) {
            return Line::Written;
        }
        count_dropped();
        Line::Dropped(io::sink())
    }
}

/// The destination of one line.
pub enum Line {
    /// Standard error.
    Written,
    /// Nothing: the line is beyond the limit.
    Dropped(Sink),
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        self.line(false)
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line {
        self.line([GUEST, ACCESS].contains(&metadata.target()))
    }
}

/// A line that cannot be written, to a full disk or to a pipe without a reader, must not end
/// the server, so writing never fails: `tracing` would panic. It writes each line with one
/// call.
impl Write for Line {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Line::Written => {
                let is_whole = write_line(data);
                match EXEMPT.get() {
                    Some(_) => EXEMPT.set(Some(is_whole)),
                    None if !is_whole => count_dropped(),
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
    if let Some(state) = STATE.get() {
        state.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes a line with one system call, or with a second one when there is room again. Returns
/// whether the line was written to its end. The rest of a torn line is not written later:
/// another process may have written meanwhile, and the rest, which a guest may have chosen,
/// would look like a line of the host.
fn write_line(line: &[u8]) -> bool {
    let after_torn;
    let line = if is_set(|state| &state.torn) {
        after_torn = [b"\n", line].concat();
        &after_torn
    } else {
        line
    };
    let is_full = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
    let written = match Output::Error.write(line) {
        Err(error) if is_full(&error) => {
            // If there was no room before, the reader does not keep up.
            let has_room = !is_set(|state| &state.full) && wait_for_room();
            if has_room { Output::Error.write(line) } else { Err(error) }
        }
        written => written,
    };
    set(|state| &state.full, written.as_ref().is_err_and(is_full));
    let written = written.unwrap_or(0);
    if let Some(last) = line[..written].last() {
        set(|state| &state.torn, *last != b'\n');
    }
    written == line.len()
}

/// Waits for room for a line, within [`MAX_WAIT`]. Returns whether there is room.
fn wait_for_room() -> bool {
    let start = Instant::now();
    let left = {
        let mut waited = WAITED.lock().unwrap_or_else(PoisonError::into_inner);
        if waited.is_none_or(|(since, _)| since.elapsed() >= SECOND) {
            *waited = Some((start, Duration::ZERO));
        }
        MAX_WAIT.saturating_sub(waited.map_or(Duration::ZERO, |(_, waited)| waited))
    };
    if left.is_zero() {
        return false;
    }
    let left = if runs_tasks() { left.min(MAX_WAIT_OF_TASK) } else { left };
    let has_room = Output::Error.has_room_within(left);
    let mut waited = WAITED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, waited)) = &mut *waited {
        *waited += start.elapsed();
    }
    has_room
}

/// Returns whether a flag of the state is set.
fn is_set(flag: fn(&LogState) -> &AtomicU64) -> bool {
    STATE.get().is_some_and(|state| flag(state).load(Ordering::Relaxed) != 0)
}

fn set(flag: fn(&LogState) -> &AtomicU64, value: bool) {
    let Some(flag) = STATE.get().map(|state| flag(state)) else { return };
    let (now, new) = (flag.load(Ordering::Relaxed), u64::from(value));
    if now != new {
        // If another process sets the flag meanwhile, it knows better.
        let _ = flag.compare_exchange(now, new, Ordering::SeqCst, Ordering::SeqCst);
    }
}
