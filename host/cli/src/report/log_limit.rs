//! The limit of the log: so many lines in a second.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// Allows a number of lines in each second. Handlers and clients can cause a line each time
/// they act, without end. Lines that handlers write, and those about requests that went well,
/// are at most half of all, so that they cannot keep the host from reporting what fails.
pub struct LineLimit {
    per_second: u32,
    window: Mutex<Window>,
}

/// The lines of the current second.
struct Window {
    start: Instant,
    lines: u32,
    /// The number of them that handlers wrote, or that are about each request.
    frequent_lines: u32,
}

impl Window {
    fn new() -> Self {
        Window { start: Instant::now(), lines: 0, frequent_lines: 0 }
    }
}

impl LineLimit {
    /// Returns a limit of so many lines.
    pub fn new(per_second: u32) -> Self {
        LineLimit { per_second, window: Mutex::new(Window::new()) }
    }

    /// Counts one more line, and returns whether it may be written now.
    pub fn allow(&self, is_frequent: bool) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.start.elapsed() >= SECOND {
            *window = Window::new();
        }
        if is_frequent && window.frequent_lines >= self.per_second.div_ceil(2) {
            return false;
        }
        window.frequent_lines += u32::from(is_frequent);
        window.lines = window.lines.saturating_add(1);
        window.lines <= self.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_so_many_lines() {
        let limit = LineLimit::new(3);
        let written = |limit: &LineLimit| (0..5).filter(|_| limit.allow(false)).count();
        assert_eq!(written(&limit), 3);
        assert_eq!(written(&limit), 0);
        limit.window.lock().unwrap().start -= SECOND;
        assert_eq!(written(&limit), 3);
    }

    #[test]
    fn frequent_lines_are_half_of_the_lines() {
        let limit = LineLimit::new(4);
        assert_eq!((0..5).filter(|_| limit.allow(true)).count(), 2);
        assert_eq!((0..5).filter(|_| limit.allow(false)).count(), 2);
    }
}
