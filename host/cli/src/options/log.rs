//! Options for the log and the counters.

#![allow(clippy::doc_markdown, reason = "--help prints these texts as they stand")]

use clap::{Args, value_parser};
use tracing::Level;

use super::words;
use crate::report::LogFormat;
use crate::report::access_log::AccessLog;
use crate::settings::LogSettings;

/// The content and the format of the log.
#[derive(Debug, Clone, Args)]
#[allow(clippy::struct_field_names, reason = "the options are called so")]
#[command(next_help_heading = "Log and counters")]
pub struct LogOptions {
    /// Write the log in this format: text or json.
    #[arg(
        long,
        value_name = "FORMAT",
        value_parser = words::log_format(),
        hide_possible_values = true
    )]
    #[arg(long_help = "Write the log in this format:\n\
        - text: for people, in colours on a terminal\n\
        - json: for programs, one object on each line")]
    pub log_format: Option<LogFormat>,

    /// Log this and worse: error, warning, info or debug.
    #[arg(
        long,
        value_name = "LEVEL",
        value_parser = words::log_level(),
        hide_possible_values = true
    )]
    #[arg(long_help = "Log events of this level and of those before it:\n\
        - error: errors of the host and of handlers\n\
        - warning: errors of clients\n\
        - info: what handlers log, and what the host does\n\
        - debug: details, such as which rule refused a client")]
    pub log_level: Option<Level>,

    /// Log at most N lines in a second; drop the rest.
    ///
    /// Each process counts for itself. Lines of handlers and of the access log may be half of
    /// them. The log says how many lines were dropped.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub log_rate: Option<u32>,

    /// Log a line for these requests: off, failed or all.
    #[arg(
        long,
        value_name = "REQUESTS",
        value_parser = words::access_log(),
        hide_possible_values = true
    )]
    #[arg(
        long_help = "Log a line at the end of these requests, with the duration, the CPU time, \
        the memory and the bytes:\n\
        - off: none\n\
        - failed: those that failed\n\
        - all: all\n\n\
        The lines have the level info, and the target access. They and the lines of handlers are \
        at most half of --log-rate. A process that was killed leaves a line without numbers."
    )]
    pub access_log: Option<AccessLog>,

    /// Print the counters at the end.
    ///
    /// The counters are requests by outcome, refused clients, bytes and processes. They go to
    /// standard error, in the format of the log. SIGUSR1 prints them at any time.
    #[arg(long)]
    pub stats: bool,
}

impl LogOptions {
    /// Returns the settings that the options mean.
    pub fn settings(&self) -> LogSettings {
        let default = LogSettings::default();
        LogSettings {
            format: self.log_format.unwrap_or(default.format),
            level: self.log_level.unwrap_or(default.level),
            rate: self.log_rate.unwrap_or(default.rate),
            access: self.access_log.unwrap_or(default.access),
            stats: self.stats,
        }
    }
}
