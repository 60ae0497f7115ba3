//! `wasm-socketserver`: Python's `socketserver` as a host for sandboxed
//! handlers.
//!
//! | file | what it holds |
//! |---|---|
//! | `args`, `attributes` | the command line, which is also its documentation |
//! | `budget` | the options that are limits of one request |
//! | `profile` | the defaults of some of it |
//! | `loading`, `compile` | what loading a handler may cost, and the process that compiles it |
//! | `units`, `owner` | sizes, durations and users on the command line |
//! | `grants`, `env`, `dir` | what of the host a handler may see |
//! | `access`, `jail` | who may be served, and what a process that serves may do |
//! | `overtime` | when a forked process is ended from outside |
//! | `mode` | what the options say together: where to listen, how to run requests |
//! | `serve` | `serve`: options to a server, and its end |
//! | `way_out` | which option helps where an address cannot be bound |
//! | `signals` | SIGINT, SIGTERM and SIGUSR1 |
//! | `inspect` | `inspect`: what a handler is and asks for |
//! | `observe`, `log_text`, `log_rate` | the log, the hooks that write to it, what its lines look like, and its limit |
//! | `output`, `relay` | standard output and error, which nothing waits for, and the process that waits where something must |
//! | `counters` | what is counted, by all processes together |

#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod access;
mod args;
mod attributes;
mod budget;
mod compile;
mod counters;
mod dir;
mod env;
mod grants;
mod inspect;
mod jail;
mod loading;
mod log_rate;
mod log_text;
mod mode;
mod observe;
mod output;
mod overtime;
mod owner;
mod profile;
mod relay;
mod serve;
mod signals;
mod units;
mod way_out;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Arguments, Command};

/// Exit codes: 0 when done, 1 when something could not be done (said in one
/// line), 2 when the command line was wrong.
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = signals::endure() {
        return failed(format_args!("cannot handle signals: {error}"));
    }
    let done = match arguments.command.or_else(args::without_command) {
        Some(Command::Serve(options)) => serve::serve(&options).map(|()| ExitCode::SUCCESS),
        Some(Command::Inspect(options)) => inspect::inspect(&options),
        Some(Command::Compile(options)) => compile::compile(&options),
        Some(Command::Relay) => relay::relay(),
        None => return ExitCode::from(2),
    };
    done.unwrap_or_else(|error| failed(format_args!("{error:#}")))
}

fn failed(why: std::fmt::Arguments<'_>) -> ExitCode {
    // `eprintln!` would panic where that cannot be written, and might wait.
    let _ = log_rate::unlimited().write_all(format!("wasm-socketserver: {why}\n").as_bytes());
    ExitCode::FAILURE
}
