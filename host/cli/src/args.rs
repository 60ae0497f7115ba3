//! The command line.
//!
//! What stands here is what `--help` prints: each option has this one source.

#![allow(clippy::doc_markdown, reason = "--help prints these texts as they stand")]

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use socketserver::{Endpoint, ServerBuilder};

use crate::units;

/// Python's socketserver as a host for sandboxed request handlers.
///
/// The host owns the sockets. Each request is answered by a new instance of a
/// WebAssembly component, which reaches its own connection and nothing else.
///
/// Without a command it serves an embedded sample, which upper-cases what it
/// is sent, on tcp://127.0.0.1:9999.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Arguments {
    /// What to do; `serve` with its defaults if not given.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve a handler until SIGINT or SIGTERM.
    ///
    /// Prints `listening URL` on standard output for each socket as soon as it
    /// takes connections; the log goes to standard error.
    ///
    /// The first signal stops accepting and lets the requests in flight finish,
    /// the second exits at once. Exit codes: 0 after a signal, 1 if the handler
    /// or an address cannot be served, 2 if the command line is wrong.
    Serve(ServeOptions),
    /// Show what a handler is, what it asks for, and whether it can be served.
    ///
    /// Exit codes: 0 if it can be served, 1 if not.
    Inspect(InspectOptions),
}

/// What is done when no command is given: `serve`, with its defaults.
pub fn without_command() -> Option<Command> {
    Arguments::parse_from(["wasm-socketserver", "serve"]).command
}

/// The options of `serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeOptions {
    /// The handler: a component (.wasm), or the text of one (.wat). Without it
    /// an embedded sample is served, which upper-cases what it is sent.
    pub handler: Option<PathBuf>,

    /// Where to listen: tcp://HOST:PORT, with IPv6 addresses in brackets; port 0
    /// takes a free one. Or unix://PATH, or unix://@NAME for an abstract name.
    /// May be given more than once.
    #[arg(long, value_name = "URL", default_value = "tcp://127.0.0.1:9999")]
    pub bind: Vec<Endpoint>,

    /// How requests are run: one at a time, or each in a thread of its own.
    #[arg(long, value_name = "HOW", default_value = "threading")]
    pub concurrency: Concurrency,

    /// How many requests may be in flight at once; other clients wait in the
    /// backlog. At most, and by default, as many as the machine can hold.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_requests: Option<u32>,

    /// How much memory one request may use.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = units::memory)]
    pub memory: usize,

    /// How much memory all requests together may use. By default three quarters
    /// of what the machine has.
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub memory_total: Option<usize>,

    /// How much CPU time one request may use. Waiting is not counted.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = units::duration)]
    pub cpu_time: Duration,

    /// How long one request may wait without a byte moving in either direction.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = units::duration)]
    pub idle_timeout: Duration,

    /// How long the requests in flight may take to finish after a signal.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = units::duration_or_zero)]
    pub grace: Duration,

    /// Compile the handler anew, and do not keep the result in the user's cache
    /// directory.
    #[arg(long)]
    pub no_cache: bool,

    /// Python's class attributes.
    #[command(flatten)]
    pub attributes: ClassAttributes,

    /// The log.
    #[command(flatten)]
    pub log: LogOptions,
}

/// Python's class attributes, by their names.
#[derive(Debug, Clone, Args)]
#[allow(clippy::struct_excessive_bools, reason = "Python's attributes are what they are")]
#[command(next_help_heading = "Python's class attributes")]
pub struct ClassAttributes {
    /// How many connections may wait to be accepted.
    #[arg(
        long,
        value_name = "N",
        default_value_t = ServerBuilder::REQUEST_QUEUE_SIZE,
        value_parser = clap::value_parser!(u32).range(..=65_535)
    )]
    pub request_queue_size: u32,

    /// Whether to listen although connections of an earlier server on the same
    /// address are not quite gone (TIME_WAIT).
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = true,
        action = clap::ArgAction::Set
    )]
    pub allow_reuse_address: bool,

    /// Whether other processes may listen on the same address at the same time.
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = false,
        action = clap::ArgAction::Set
    )]
    pub allow_reuse_port: bool,

    /// Whether requests in flight are left to themselves at the end.
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = false,
        action = clap::ArgAction::Set
    )]
    pub daemon_threads: bool,

    /// Whether to wait, for as long as --grace says, for requests in flight.
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = true,
        action = clap::ArgAction::Set
    )]
    pub block_on_close: bool,

    /// The longest time between two looks at whether there is something to do
    /// beside serving. A signal is noticed at once whatever it is.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "0.5",
        value_parser = units::seconds
    )]
    pub poll_interval: Duration,
}

/// What is logged, and how.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Log")]
pub struct LogOptions {
    /// How the log is written.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// What is worth logging.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: LogLevel,
}

/// The options of `inspect`.
#[derive(Debug, Clone, Args)]
pub struct InspectOptions {
    /// The handler: a component (.wasm), or the text of one (.wat).
    pub handler: PathBuf,

    /// Print JSON.
    #[arg(long)]
    pub json: bool,

    /// Compile the handler anew, and do not keep the result.
    #[arg(long)]
    pub no_cache: bool,
}

/// How requests are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Concurrency {
    /// One at a time, as Python's TCPServer.
    Sync,
    /// Each in a thread of its own, as Python's ThreadingTCPServer.
    Threading,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people; in colours on a terminal.
    Text,
    /// For programs: an object on each line.
    Json,
}

/// What is worth logging.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What the host or a handler did wrong.
    Error,
    /// And what clients did wrong.
    Warning,
    /// And what handlers log, and what the host does.
    Info,
    /// And what is of use in finding mistakes.
    Debug,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
        assert!(matches!(without_command(), Some(Command::Serve(_))));
    }
}
