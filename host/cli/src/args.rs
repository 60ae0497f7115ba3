//! The command line.
//!
//! What stands here is what `--help` prints: each option has this one source.

#![allow(clippy::doc_markdown, reason = "--help prints these texts as they stand")]

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use socketserver::{Endpoint, ServerClass};
pub use socketserver_jail::JailMode;

use crate::access::AccessOptions;
use crate::attributes::{ClassAttributes, SocketFiles};
use crate::budget::Budget;
use crate::compile::CompileOptions;
use crate::grants::Grants;
use crate::loading::Loading;
use crate::owner::{self, Identity};
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
    /// The first signal refuses new clients and lets those finish that have come, the
    /// second exits at once (with --stats, after the counters). Exit codes: 0 after a
    /// signal or --once, 1 if the handler or an address cannot be served, 2 if the
    /// command line is wrong.
    Serve(Box<ServeOptions>),
    /// Show what a handler is, what it asks for, and whether it can be served.
    ///
    /// Exit codes: 0 if it can be served, 1 if not.
    Inspect(InspectOptions),
    /// Compile a handler from standard input to standard output.
    #[command(hide = true)]
    Compile(CompileOptions),
    /// Write standard input to standard output, and wait for its reader.
    #[command(hide = true)]
    Relay,
}

/// What is done when no command is given: `serve`, with its defaults.
pub fn without_command() -> Option<Command> {
    Arguments::parse_from(["wasm-socketserver", "serve"]).command
}

/// Says that options contradict each other, as clap says it, and ends.
pub fn contradiction(error: &anyhow::Error) -> ! {
    Arguments::command().error(ErrorKind::ArgumentConflict, format_args!("{error:#}")).exit()
}

/// The options of `serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeOptions {
    /// The handler: a component (.wasm), or the text of one (.wat). Without it
    /// an embedded sample is served, which upper-cases what it is sent.
    pub handler: Option<PathBuf>,

    /// Where to listen: tcp://HOST:PORT or udp://HOST:PORT, with IPv6 addresses
    /// in brackets; port 0 takes a free one. Or unix://PATH for streams and
    /// unixgram://PATH for datagrams; @NAME in the place of a path is an abstract
    /// name. Options of the socket follow a question mark, such as
    /// udp://0.0.0.0:514?rcvbuf=4MiB: the page about listening lists them. May be given more than
    /// once. By default 127.0.0.1:9999, with TCP or UDP as the handler needs.
    #[arg(long, value_name = "URL")]
    pub bind: Vec<Endpoint>,

    /// One of Python's server classes, such as ThreadingUDPServer: what it says
    /// of the transport and of how requests are run.
    #[arg(long, value_name = "CLASS", conflicts_with = "concurrency")]
    pub server: Option<ServerClass>,

    /// How requests are run: one at a time, each in a thread of its own, or each
    /// in a process of its own. Threading by default.
    #[arg(long, value_name = "HOW")]
    pub concurrency: Option<Concurrency>,

    /// Serve from that many processes, each with threads of its own: the end of
    /// one costs only its own requests, and another takes its place.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,

    /// Serve one request, Python's handle_request(), and end.
    #[arg(long, conflicts_with = "workers")]
    pub once: bool,

    /// How many requests may be in flight at once; other clients wait in the
    /// backlog. At most, and by default, as many as the machine can hold. For
    /// processes there is --max-children.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_requests: Option<u32>,

    /// Whether the processes of --concurrency forking and of --workers give up all
    /// that serving does not need: files, other sockets, programs, signals, new
    /// code. For these, `try` is the default, and `require` with --profile hostile.
    #[arg(long, value_name = "WHETHER", value_parser = jail_mode())]
    pub jail: Option<JailMode>,

    /// The user, and the group, to become once the sockets are bound: names or
    /// numbers. With --concurrency forking and --workers, those processes become
    /// it that serve; otherwise this one does. Without a group, it is the user's.
    /// Only root can do that.
    #[arg(long, value_name = "USER[:GROUP]", value_parser = owner::identity)]
    pub user: Option<Identity>,

    /// How much memory one request may use. 64MiB by default, 16MiB with --profile
    /// hostile.
    #[arg(long, value_name = "SIZE", value_parser = units::memory)]
    pub memory: Option<usize>,

    /// How much memory all requests together may use. By default three quarters
    /// of what the machine has.
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub memory_total: Option<usize>,

    /// How much CPU time one request may use. Waiting is not counted. 10s by
    /// default, 1s with --profile hostile.
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub cpu_time: Option<Duration>,

    /// How long one request may wait without a byte moving in either direction. 60s
    /// by default, 10s with --profile hostile.
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub idle_timeout: Option<Duration>,

    /// How long one request may take in all, however busy it and its client are. 1h
    /// by default, 1m with --profile hostile.
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub wall_time: Option<Duration>,

    /// How long the requests in flight, and those of clients that wait in the backlog,
    /// may take to finish after a signal. Later clients are refused. With 0s both are
    /// ended at once.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = units::duration_or_zero)]
    pub grace: Duration,

    /// Print the counters at the end: requests by outcome, clients refused, bytes,
    /// processes. SIGUSR1 prints them at any time. They go to standard error, as
    /// JSON if the log does.
    #[arg(long)]
    pub stats: bool,

    /// Loading the handler.
    #[command(flatten)]
    pub loading: Loading,

    /// Other limits.
    #[command(flatten)]
    pub budget: Budget,

    /// What of the host the handler may see.
    #[command(flatten)]
    pub grants: Grants,

    /// Who is served.
    #[command(flatten)]
    pub access: AccessOptions,

    /// Python's class attributes.
    #[command(flatten)]
    pub attributes: ClassAttributes,

    /// The files of Unix sockets.
    #[command(flatten)]
    pub files: SocketFiles,

    /// The log.
    #[command(flatten)]
    pub log: LogOptions,
}

/// What is logged, and how.
#[derive(Debug, Clone, Args)]
#[allow(clippy::struct_field_names, reason = "the options are called so")]
#[command(next_help_heading = "Log")]
pub struct LogOptions {
    /// How the log is written.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// What is worth logging.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: LogLevel,

    /// How many lines each process logs in a second, of which what handlers say
    /// themselves has half; others are dropped, and counted.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub log_rate: u32,
}

/// The options of `inspect`.
#[derive(Debug, Clone, Args)]
pub struct InspectOptions {
    /// The handler: a component (.wasm), or the text of one (.wat).
    pub handler: PathBuf,

    /// Print JSON.
    #[arg(long)]
    pub json: bool,

    /// Loading it.
    #[command(flatten)]
    pub loading: Loading,

    /// What of the host the handler may see.
    #[command(flatten)]
    pub grants: Grants,
}

/// How requests are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Concurrency {
    /// One at a time, as Python's TCPServer.
    Sync,
    /// Each in a thread of its own, as Python's ThreadingTCPServer.
    Threading,
    /// Each in a process of its own, as Python's ForkingTCPServer.
    Forking,
}

/// Returns the parser of `--jail`.
fn jail_mode() -> impl TypedValueParser<Value = JailMode> {
    PossibleValuesParser::new(JailMode::ALL.map(|mode| {
        PossibleValue::new(mode.as_str()).help(match mode {
            JailMode::Require => "All walls of the jail, or the process does not serve",
            JailMode::Try => "The walls that this machine offers",
            JailMode::Off => "No jail",
        })
    }))
    .try_map(|name| name.parse())
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
        Arguments::command().debug_assert();
        assert!(matches!(without_command(), Some(Command::Serve(_))));
    }
}
