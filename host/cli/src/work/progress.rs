//! A line on the terminal while a program runs.

use std::io::{self, IsTerminal, Write};
use std::time::Instant;

use anyhow::Result;
use socketserver::printable;

/// The longest line that is shown, in bytes.
const MAX_LINE: usize = 500;

/// A line that shows how long something takes.
pub struct Progress {
    what: String,
    begun: Instant,
    is_terminal: bool,
}

/// Says on standard error what is done, and how long it took. On a terminal the time counts up
/// meanwhile. Without a terminal there is one line at the beginning.
///
/// # Errors
///
/// The work failed.
pub fn announce<T>(what: &str, work: impl FnOnce(&mut Progress) -> Result<T>) -> Result<T> {
    let is_terminal = io::stderr().is_terminal();
    let mut progress = Progress { what: what.to_owned(), begun: Instant::now(), is_terminal };
    if !is_terminal {
        say(&format!("{what}\n"));
    }
    let result = work(&mut progress);
    if is_terminal {
        let end = if result.is_ok() { "\n" } else { ": failed\n" };
        say(&format!("\r\x1b[K{what} ({:.1} s){end}", progress.begun.elapsed().as_secs_f64()));
    }
    result
}

/// Shows a line that the file printed when it was built.
pub fn output(name: &str, line: &str) {
    say(&format!("{name} printed: {}\n", printable(line, MAX_LINE)));
}

/// Writes to standard error. A build works without a reader of it.
pub fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

impl Progress {
    /// Shows the time on a terminal.
    pub fn show(&self) {
        if self.is_terminal {
            say(&format!("\r\x1b[K{} ({} s)", self.what, self.begun.elapsed().as_secs()));
        }
    }
}
