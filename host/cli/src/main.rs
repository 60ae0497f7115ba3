//! `wasm-socketserver`: Python's `socketserver` as a host for sandboxed handlers.
//!
//! | file | content |
//! |---|---|
//! | `values/` | values in their text form |
//! | `loading` | the loading of a handler |
//! | `settings` | the settings of `serve`: the meaning of all options together |
//! | `options/` | the command line: what an operator types |
//! | `serve/` | `serve`: from settings to a server, and to its end |
//! | `report/` | the log, the counters and the output |
//! | `monitor/` | the listening socket where operators and programs look at a server |
//! | `inspect` | `inspect`: a report about a handler |
//! | `work/`, `copy` | the programs that a build runs, and its folders |
//! | `python/` | Python files: from a file to a component |
//! | `source/` | sources in all languages: from a file or a project to a component |
//! | `run` | `run`: a Python file as a server |
//! | `build` | `new` and `build`, and the build that `serve` begins with |
//! | `config/` | the configuration file |
//! | `generation` | the hidden command `generation`: a process that serves one handler of a configuration |
//! | `check` | `check`: whether the handlers of a configuration can be served |
//! | `supervise/` | `up`: a process that owns the sockets of several handlers |
//! | `shell` | `completions` and `man`: scripts for shells, and pages of the manual |
//! | `compile` | the hidden command `compile`, which compiles a handler |
//! | `snapshot` | the hidden commands that load a program into a component, and compile that |
//! | `broker` | the hidden command `broker`, which opens sockets for handlers in the jail |
//! | `reference` | the reference pages of the book, made from the code by a test |
//!
//! Each of them uses only those of them that stand in an earlier place of this list:
//! `values/`, `report/`, `loading`, `settings`, `options/`, `serve/`, `inspect`, `work/`, `copy`,
//! `python/`, `source/`, `run`, `build`, `config/`, `generation`, `check`,
//! `supervise/`, `shell`, `compile`, `snapshot` and `broker`.

#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod broker;
mod build;
mod check;
mod compile;
mod config;
mod copy;
mod generation;
mod inspect;
mod loading;
mod monitor;
mod options;
mod python;
#[cfg(test)]
mod reference;
mod report;
mod run;
mod serve;
mod settings;
mod shell;
mod snapshot;
mod source;
mod supervise;
mod values;
mod work;

use std::process::ExitCode;

use anyhow::{Context, Result};
use socketserver::service::{self, ServiceEnvironment};

use crate::options::{Command, GenerationOptions};
use crate::report::log::report_failure;
use crate::report::{LogFormat, relay};
use crate::serve::service::ServiceManager;
use crate::serve::signals;
use crate::settings::Settings;
use crate::supervise::ask;
use crate::work::Interrupted;

/// Runs a command. The exit code is 0 if it succeeded, 1 if it failed, and 2 if the command
/// line is wrong.
fn main() -> ExitCode {
    // First, while there is one thread, and before a descriptor of this program is where a
    // passed one would be.
    let environment = service::take_environment();
    let arguments = options::parse();
    // A signal that has come since the program was replaced waits until `up` handles it.
    let takes_over = matches!(&arguments.command, Some(Command::Up(up)) if up.take_over.take_over);
    if let Err(error) = signals::reset_inherited(!takes_over).context("cannot handle signals") {
        report_failure(LogFormat::Text, &error);
        return ExitCode::FAILURE;
    }
    let environment = match environment {
        Ok(environment) => environment,
        Err(error) => {
            report_failure(LogFormat::Text, &error.into());
            return ExitCode::FAILURE;
        }
    };
    let (format, result) = match arguments.command.or_else(options::without_command) {
        Some(Command::Serve(options)) if options.print_config => {
            (LogFormat::Text, config::print_to_standard_output())
        }
        Some(Command::Serve(options)) => {
            let format = options.server.log.settings().format;
            (format, build::settings(*options).and_then(|settings| serve_as(settings, environment)))
        }
        Some(Command::Run(options)) => match run::settings(*options) {
            Ok(settings) => (settings.log.format, serve_as(settings, environment)),
            // The log is not set up.
            Err(error) => (LogFormat::Text, Err(error)),
        },
        Some(Command::New(options)) => (LogFormat::Text, build::new(&options)),
        Some(Command::Build(options)) => (LogFormat::Text, build::build(&options)),
        Some(Command::Inspect(options)) => (LogFormat::Text, inspect::inspect(&options)),
        Some(Command::Up(options)) => (LogFormat::Text, supervise::up(&options, environment)),
        Some(Command::Reload(options)) => (LogFormat::Text, ask::order(&options, "reload")),
        Some(Command::Upgrade(options)) => (LogFormat::Text, ask::order(&options, "upgrade")),
        Some(Command::Drain(options)) => (LogFormat::Text, ask::drain(&options)),
        Some(Command::Status(options)) => (LogFormat::Text, ask::status(&options)),
        Some(Command::Stop(options)) => (LogFormat::Text, ask::order(&options, "stop")),
        Some(Command::Check(options)) => (LogFormat::Text, check::check(&options)),
        Some(Command::Completions(options)) => (LogFormat::Text, shell::completions(&options)),
        Some(Command::Man(options)) => (LogFormat::Text, shell::man(&options)),
        Some(Command::Generation(options)) => generation(&options),
        Some(Command::Compile(options)) => (LogFormat::Text, compile::compile(&options)),
        Some(Command::Snapshot(options)) => (LogFormat::Text, snapshot::snapshot(options)),
        Some(Command::Precompile(options)) => (LogFormat::Text, snapshot::precompile(&options)),
        Some(Command::Broker(options)) => (options.log.settings().format, broker::broker(&options)),
        Some(Command::Monitor(options)) => (LogFormat::Text, monitor::process::monitor(options)),
        Some(Command::Relay) => (LogFormat::Text, relay::relay()),
        None => return ExitCode::from(2),
    };
    result.unwrap_or_else(|error| {
        report_failure(format, &error);
        match error.downcast_ref::<Interrupted>() {
            Some(Interrupted { signal }) => ExitCode::from(128 | signal),
            None => ExitCode::FAILURE,
        }
    })
}

fn serve_as(settings: Settings, environment: ServiceEnvironment) -> Result<ExitCode> {
    let ServiceEnvironment { sockets, notify_socket, watchdog } = environment;
    let manager = ServiceManager::connect(notify_socket, watchdog);
    serve::serve(settings, serve::Given { sockets, manager, generation: None, counters: None })?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the command, and returns the format in which its failure is reported.
fn generation(options: &GenerationOptions) -> (LogFormat, Result<ExitCode>) {
    let (serve, parts) = match generation::receive(options.counted) {
        Ok(given) => given.into_parts(),
        Err(error) => return (LogFormat::Text, Err(error)),
    };
    let format = if options.check { LogFormat::Text } else { serve.server.log.settings().format };
    match build::settings(serve) {
        Ok(settings) => (format, generation::run(options, settings, parts)),
        // The log is not set up.
        Err(error) => (LogFormat::Text, Err(error)),
    }
}
