//! The log: setting it up, and failures that end the program.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write;

use anyhow::Error;
use socketserver::printable;
use tracing::Level;
use tracing_subscriber::fmt;

use super::log_text::Text;
use super::log_writer::{self, LogWriter};

/// The longest text of a panic in the log, in bytes.
const MAX_PANIC: usize = 1 << 10;

/// The format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: an object on each line.
    Json,
}

impl LogFormat {
    /// All formats.
    pub const ALL: [LogFormat; 2] = [LogFormat::Text, LogFormat::Json];

    /// Returns the word for the format, as options write it.
    pub fn as_str(self) -> &'static str {
        match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }
    }
}

/// Sends the log to standard error, with a limit of lines in a second. Text can have colours.
pub fn init(format: LogFormat, level: Level, lines_per_second: u32, colours: bool) {
    let log = fmt().with_max_level(level).with_writer(LogWriter::new(lines_per_second));
    match format {
        LogFormat::Text => log.with_ansi(colours).event_format(Text).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

/// Makes a panic, which is a bug of the host, a line of the log.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let trace = Backtrace::capture();
        let trace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
        let error = printable(panic.payload_as_str().unwrap_or("?"), MAX_PANIC);
        tracing::error!(error, place, trace, "the host panicked");
    }));
}

/// Logs the number of lines that were dropped, if there are any: once in a second, or
/// `at_once`.
pub fn log_dropped_lines(at_once: bool) {
    log_writer::report_dropped(at_once, |dropped| {
        tracing::warn!(
            dropped,
            "lines were not logged, as there were more than --log-rate, or no room for them"
        );
    });
}

/// Reports the failure that ends the program: in one line, or as an object of the log. The
/// log must have been set up for `Json`.
pub fn report_failure(format: LogFormat, error: &Error) {
    match format {
        // `eprintln!` would panic if it cannot write, and might wait.
        LogFormat::Text => {
            let line = format!("wasm-socketserver: {error:#}\n");
            let _ = log_writer::unlimited().write_all(line.as_bytes());
        }
        LogFormat::Json => log_writer::without_limit(|| tracing::error!("{error:#}")),
    }
}
