//! A line on the terminal while a program runs.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use socketserver::printable;

/// The time between two changes of the line.
const TICK: Duration = Duration::from_millis(100);
/// The number of lines from the end of a program's output that an error shows.
const TAIL: usize = 30;
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
    fn show(&self) {
        if self.is_terminal {
            say(&format!("\r\x1b[K{} ({} s)", self.what, self.begun.elapsed().as_secs()));
        }
    }
}

/// Runs a program, with its output in the file `log`.
///
/// # Errors
///
/// The program is not installed, or fails: the error has the end of its output.
pub fn run(command: &mut Command, log: &Path, progress: &mut Progress) -> Result<()> {
    let output = OpenOptions::new().append(true).create(true).open(log)?;
    let name = command.get_program().to_string_lossy().into_owned();
    let child = command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).spawn();
    let mut child = child.map_err(|error| match error.kind() {
        ErrorKind::NotFound => anyhow::anyhow!("`{name}` is not installed"),
        _ => anyhow::Error::new(error).context(format!("cannot run `{name}`")),
    })?;
    let status = loop {
        progress.show();
        match child.try_wait().context("cannot wait for it")? {
            Some(status) => break status,
            None => sleep(TICK),
        }
    };
    if !status.success() {
        bail!("`{name}` failed ({status}):\n{}", tail(log));
    }
    Ok(())
}

/// Returns the end of the output of a program.
fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().map(|line| printable(line, MAX_LINE)).collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}
