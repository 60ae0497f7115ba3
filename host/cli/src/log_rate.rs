//! Standard error as a log that cannot be flooded.

use std::io::{self, Sink, Stderr, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// Writes so many lines in a second, and drops the others. What guests and
/// clients do is a line each, and they may do it without end.
pub struct LimitedStderr {
    per_second: u32,
    second: Mutex<Second>,
}

/// The second that runs.
struct Second {
    begun: Instant,
    lines: u32,
}

/// How many lines were dropped that nobody has been told of.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Takes note of the lines that were dropped since the last time. A line that
/// says so is for whoever calls this.
pub fn take_dropped() -> u64 {
    DROPPED.swap(0, Ordering::Relaxed)
}

impl LimitedStderr {
    pub fn new(per_second: u32) -> Self {
        let second = Mutex::new(Second { begun: Instant::now(), lines: 0 });
        LimitedStderr { per_second, second }
    }

    /// Whether one more line may be written now.
    fn has_room(&self) -> bool {
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        if second.begun.elapsed() >= Duration::from_secs(1) {
            *second = Second { begun: Instant::now(), lines: 0 };
        }
        second.lines = second.lines.saturating_add(1);
        second.lines <= self.per_second
    }
}

/// Where one line goes.
pub enum Line {
    Written(Stderr),
    Dropped(Sink),
}

impl<'a> MakeWriter<'a> for LimitedStderr {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        if self.has_room() {
            return Line::Written(io::stderr());
        }
        DROPPED.fetch_add(1, Ordering::Relaxed);
        Line::Dropped(io::sink())
    }
}

impl Write for Line {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Line::Written(stderr) => stderr.write(data),
            Line::Dropped(sink) => sink.write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_lines_in_a_second_and_then_again() {
        let log = LimitedStderr::new(3);
        let written = |log: &LimitedStderr| (0..5).filter(|_| log.has_room()).count();
        assert_eq!(written(&log), 3);
        assert_eq!(written(&log), 0);
        log.second.lock().unwrap().begun -= Duration::from_secs(1);
        assert_eq!(written(&log), 3);
    }
}
