//! The command line: what an operator types. `--help` and the reference page are made from
//! it.
//!
//! | file | content |
//! |---|---|
//! | this one | the commands, and the options of `serve` and `inspect` |
//! | `listening`, `running`, `limits`, `access`, `proxy`, `tls`, `grants`, `isolation`, `loading`, `log`, `monitoring`, `python` | a group of options each, in the order of `--help` |
//! | `python_file` | the options of `run` |
//! | `building` | the options of `new` and `build` |
//! | `configuration` | the options of `up`, `check`, `status`, `reload` and `stop` |
//! | `shell` | the options of `completions` and `man` |
//! | `compile`, `snapshot`, `broker` | the options of hidden commands |
//! | `profile` | `--profile`, and the stack of a handler |
//! | `defaults` | the defaults of options, in their help |
//! | `words` | options with a fixed set of words |
//! | `settings` | the meaning of the options of `serve` together |
//! | `suggest` | what an error suggests in place of a wrong word |
//!
//! An option that is not given is `None`, so that another source, such as a file, can give it.
//! [`ServerOptions::settings`] then makes the [`Settings`](crate::settings::Settings).

#![allow(clippy::doc_markdown, reason = "--help prints these texts as they stand")]

mod access;
mod broker;
mod building;
mod compile;
mod configuration;
pub mod defaults;
mod grants;
mod isolation;
mod limits;
mod listening;
mod loading;
mod log;
mod monitoring;
mod profile;
mod proxy;
mod python;
mod python_file;
mod running;
mod settings;
mod shell;
mod snapshot;
mod suggest;
mod tls;
mod words;

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

pub use access::AccessOptions;
pub use broker::BrokerOptions;
pub use building::{BuildOptions, NewOptions};
pub use compile::CompileOptions;
pub use configuration::{CheckOptions, ControlOptions, DrainOptions, GenerationOptions, UpOptions};
pub use grants::{GrantOptions, granting_option};
pub use isolation::IsolationOptions;
pub use limits::LimitOptions;
pub use listening::ListeningOptions;
pub use loading::LoadingOptions;
pub use log::LogOptions;
pub use monitoring::{MonitorOptions, MonitoringOptions};
pub use profile::ProfileOptions;
pub use proxy::ProxyOptions;
pub use python::PythonOptions;
pub use python_file::{PackageOptions, RunOptions};
pub use running::RunningOptions;
pub use shell::{CompletionsOptions, ManOptions};
pub use snapshot::{PrecompileOptions, SnapshotOptions};
pub use tls::TlsOptions;
pub use words::level_word;

use crate::values::digest::{self, Digest};

/// Python's socketserver as a host for sandboxed request handlers.
///
/// The host owns the sockets. For each request it makes a new instance of a WebAssembly
/// component, which reaches its own connection and nothing else.
///
/// Without a command, the server serves an embedded sample on tcp://127.0.0.1:9999. The
/// sample sends its input back in upper case.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Arguments {
    /// The command. Without one, `serve` runs with its defaults.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a new project: a handler, a test and a page of text.
    ///
    /// The folder must not exist, or be empty.
    ///
    /// Exit codes: 0 if the project was written, 1 if it cannot be, 2 if the command line is
    /// wrong.
    New(NewOptions),
    /// Serve a handler until SIGINT or SIGTERM.
    ///
    /// The server prints `listening URL` on standard output for each socket as soon as the
    /// socket takes connections. The log goes to standard error.
    ///
    /// At the first signal the server refuses new clients and serves those that have come.
    /// At the second it exits at once. Exit codes: 0 after the first signal or --once, 130 or
    /// 143 if a second SIGINT or SIGTERM ended the server or the first one ended its start, 1
    /// if the handler or an address cannot be served, 2 if the command line is wrong.
    Serve(Box<ServeOptions>),
    /// Serve a program that was written for CPython's socketserver.
    ///
    /// The program runs once, as `python3 PROGRAM` would, until it calls serve_forever() or
    /// handle_request(). What it has made by then, its server included, is built into a
    /// component, of which each request gets a copy. The server listens at the address of the
    /// program, with the concurrency of its class and with its attributes; the options take
    /// their place. The component is kept in the user's cache directory until the program
    /// changes, and so is the tool that builds it, which pip installs there.
    ///
    /// Exit codes: those of `serve`, and 1 if the program cannot be built.
    Run(Box<RunOptions>),
    /// Build a component from a source file or a project.
    ///
    /// The language follows from the file or the folder: Rust, Go, C, C++, JavaScript, TypeScript, Zig,
    /// Python, or WebAssembly's text (.wat). The SDKs are part of this program. Compilers from PyPI and npm
    /// are installed in the user's cache directory, in fixed versions; Rust, Python and Node.js
    /// must be there.
    ///
    /// A Python file that was written for CPython's socketserver runs once, as `run` says. `run`
    /// serves its component as the program says, and `serve` as its options say.
    ///
    /// Exit codes: 0 if the component was built, 1 if it cannot be, 2 if the command line is
    /// wrong, 130 or 143 if SIGINT or SIGTERM ended the build.
    Build(BuildOptions),
    /// Show what a handler is, what it imports, and whether it can be served.
    ///
    /// Exit codes: 0 if the handler can be served, 1 if it cannot, 2 if the command line is
    /// wrong.
    Inspect(InspectOptions),
    /// Serve the handlers of a configuration file until SIGINT or SIGTERM.
    ///
    /// This process has the listening sockets, and starts a process for each handler. One that
    /// ends is started anew. SIGHUP or `reload` reads the file again: handlers that have changed
    /// are replaced, and no client is refused meanwhile. SIGUSR2 or `upgrade` replaces the
    /// program itself.
    ///
    /// Exit codes: 0 after the first signal, 130 or 143 if a second SIGINT or SIGTERM ended the
    /// server, 1 if a handler or an address cannot be served at the start, 2 if the file or the
    /// command line is wrong.
    Up(UpOptions),
    /// Have `up` read its configuration file again, and wait until it serves as the file says.
    ///
    /// A handler that cannot be served as the file says stays as it was.
    ///
    /// Exit codes: 0 if all is as the file says, 1 if it is not or there is no server, 2 if the
    /// command line is wrong.
    Reload(ControlOptions),
    /// Have `up` be replaced by the program that stands in its file now, and wait until it serves.
    ///
    /// The new program is tried first, as `check` does. Then it takes over the sockets, and
    /// replaces all handlers: no client is refused meanwhile, and requests are finished by the
    /// processes that have begun them. The process of `up` stays the same. A program that cannot
    /// take over changes nothing.
    ///
    /// Exit codes: 0 if the new program serves all handlers, 1 if the old one stays, a handler
    /// stays as it was, or there is no server, 2 if the command line is wrong.
    Upgrade(ControlOptions),
    /// Show the handlers of `up`.
    ///
    /// Exit codes: 0 if all handlers serve, 1 if one does not or there is no server, 2 if the
    /// command line is wrong.
    Status(ControlOptions),
    /// Have a handler of `up` take no more clients, and wait until it has finished those it has.
    ///
    /// The handler serves on for `drain-delay` of the configuration, then its sockets close, and
    /// what it has begun has the time of `--grace`. Sockets of systemd stay open, and clients
    /// wait there. The handler stays drained until `--undo`.
    ///
    /// Exit codes: 0 if the handler is drained, or serves again; 1 if it does not, there is none
    /// with this name, or there is no server; 2 if the command line is wrong.
    Drain(DrainOptions),
    /// End `up`, as SIGTERM does, and wait until it has ended.
    ///
    /// Exit codes: 0 if the server has ended, 1 if there is none, 2 if the command line is wrong.
    Stop(ControlOptions),
    /// Load and try every handler of a configuration file, and open no port.
    ///
    /// Each handler is loaded, compiled and tried as `serve` does before it serves: in a process
    /// of its own, in the jail if it will be served in one.
    ///
    /// Exit codes: 0 if all handlers can be served, 1 if one cannot, 2 if the file or the command
    /// line is wrong.
    Check(CheckOptions),
    /// Print a script that has a shell complete commands and options.
    ///
    /// For bash, put `eval "$(wasm-socketserver completions bash)"` into ~/.bashrc. For zsh, write
    /// the script to the file _wasm-socketserver in a folder of $fpath, and for fish to
    /// ~/.config/fish/completions/wasm-socketserver.fish.
    ///
    /// Exit codes: 0 if the script was printed, 1 if it cannot be, 2 if the command line is wrong.
    Completions(CompletionsOptions),
    /// Print a page of the manual, of the program or of one of its commands.
    ///
    /// `wasm-socketserver man serve | man -l -` shows it. To install the pages, write them to
    /// wasm-socketserver.1 and wasm-socketserver-COMMAND.1 in a folder such as /usr/local/share/man/man1.
    ///
    /// Exit codes: 0 if the page was printed, 1 if there is no such command, 2 if the command line is
    /// wrong.
    Man(ManOptions),
    /// Serve a handler as the arguments in standard input say.
    #[command(hide = true)]
    Generation(GenerationOptions),
    /// Compile a handler from standard input to standard output.
    #[command(hide = true)]
    Compile(CompileOptions),
    /// Load a program into a component.
    #[command(hide = true)]
    Snapshot(SnapshotOptions),
    /// Put the component of a program into the cache, compiled.
    #[command(hide = true)]
    Precompile(PrecompileOptions),
    /// Open sockets for processes in the jail.
    #[command(hide = true)]
    Broker(Box<BrokerOptions>),
    /// Show a server whose counters are in standard input.
    #[command(hide = true)]
    Monitor(MonitorOptions),
    /// Write standard input to standard output, and wait for its reader.
    #[command(hide = true)]
    Relay,
}

/// The options of `serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeOptions {
    /// The handler: a component or a program (.wasm), its text (.wat), or its source.
    ///
    /// A source file or the folder of a project is built first, as `build` does. A Python program
    /// that was written for CPython's socketserver is served as `run` serves it. A program for
    /// WASI has its client as its standard input and output. Without a handler the server serves
    /// an embedded sample, which sends its input back in upper case.
    pub handler: Option<PathBuf>,

    /// The arguments of a program, after `--`.
    ///
    /// The first argument that the program sees is its name.
    #[arg(last = true, requires = "handler", value_name = "ARG")]
    pub args: Vec<String>,

    /// Refuse the handler unless its component has this digest, as sha256sum prints it.
    ///
    /// DIGEST is sha256: and 64 hexadecimal digits.
    #[arg(long, value_name = "DIGEST", value_parser = digest::parse, hide_short_help = true)]
    pub digest: Option<Digest>,

    /// Print a configuration file that says the same, and do not serve.
    ///
    /// `check` and `up` read the file.
    #[arg(long, hide_short_help = true)]
    pub print_config: bool,

    /// The options of the server.
    #[command(flatten)]
    pub server: ServerOptions,
}

/// The options of a server, whatever its handler is.
#[derive(Debug, Clone, Args)]
pub struct ServerOptions {
    /// The listening sockets.
    #[command(flatten)]
    pub listening: ListeningOptions,

    /// The concurrency, and the end of the server.
    #[command(flatten)]
    pub running: RunningOptions,

    /// The defaults of limits.
    #[command(flatten)]
    pub profile: ProfileOptions,

    /// The limits of a request.
    #[command(flatten)]
    pub limits: LimitOptions,

    /// The rules about clients.
    #[command(flatten)]
    pub access: AccessOptions,

    /// The proxies that name the clients of their connections.
    #[command(flatten)]
    pub proxy: ProxyOptions,

    /// The certificates of the server, and its rules for TLS.
    #[command(flatten)]
    pub tls: TlsOptions,

    /// The parts of the host that the handler sees.
    #[command(flatten)]
    pub grants: GrantOptions,

    /// The jail and the user of the processes that serve.
    #[command(flatten)]
    pub isolation: IsolationOptions,

    /// The loading of the handler.
    #[command(flatten)]
    pub loading: LoadingOptions,

    /// The log and the counters.
    #[command(flatten)]
    pub log: LogOptions,

    /// The addresses at which others look at the server.
    #[command(flatten)]
    pub monitoring: MonitoringOptions,

    /// Python's classes and attributes.
    #[command(flatten)]
    pub python: PythonOptions,
}

/// The options of `inspect`.
#[derive(Debug, Clone, Args)]
pub struct InspectOptions {
    /// The handler: a component or a program (.wasm), or its text (.wat).
    pub handler: PathBuf,

    /// Print JSON.
    #[arg(long)]
    pub json: bool,

    /// The defaults of limits.
    #[command(flatten)]
    pub profile: ProfileOptions,

    /// The parts of the host that the handler sees.
    #[command(flatten)]
    pub grants: GrantOptions,

    /// The loading of the handler.
    #[command(flatten)]
    pub loading: LoadingOptions,
}

/// Returns the definition of the command line, with the defaults in the help.
pub fn definition() -> clap::Command {
    let defaults = defaults::shown_defaults();
    let add =
        |command: clap::Command| command.mut_args(|arg| defaults::add_default(arg, &defaults));
    let add_to_run = |command: clap::Command| {
        // The program says how its requests run.
        let others = |arg: clap::Arg| match arg.get_long() {
            Some("concurrency") => arg,
            _ => defaults::add_default(arg, &defaults),
        };
        command.mut_args(others)
    };
    Arguments::command()
        .mut_subcommand("serve", add)
        .mut_subcommand("run", add_to_run)
        .mut_subcommand("inspect", add)
}

/// Parses the command line of this process. Prints the help, or what is wrong and what
/// would be right, and ends the process.
pub fn parse() -> Arguments {
    let arguments =
        definition().try_get_matches().and_then(|matches| Arguments::from_arg_matches(&matches));
    arguments.unwrap_or_else(|error| {
        suggest::with_suggestions(error, definition(), std::env::args()).exit()
    })
}

/// Returns the values of the command line of this process, which is that of `serve`.
pub fn serve_matches() -> Option<ArgMatches> {
    let matches = definition().try_get_matches().ok()?;
    matches.subcommand_matches("serve").cloned()
}

/// Parses the arguments of `serve`.
///
/// # Errors
///
/// An argument is unknown or wrong, or two exclude each other.
pub fn parse_serve(arguments: &[String]) -> Result<ServeOptions, clap::Error> {
    let line = ["wasm-socketserver", "serve"].into_iter();
    let line = line.chain(arguments.iter().map(String::as_str));
    match Arguments::try_parse_from(line)?.command {
        Some(Command::Serve(options)) => Ok(*options),
        _ => Err(definition().error(ErrorKind::InvalidSubcommand, "this is not `serve`")),
    }
}

/// Returns `serve` with its defaults, which runs if there is no command.
pub fn without_command() -> Option<Command> {
    Arguments::parse_from(["wasm-socketserver", "serve"]).command
}

/// Prints that options contradict each other, as an error of clap, and ends the process.
pub fn exit_contradiction(error: &anyhow::Error) -> ! {
    definition().error(ErrorKind::ArgumentConflict, format_args!("{error:#}")).exit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        definition().debug_assert();
        assert!(matches!(without_command(), Some(Command::Serve(_))));
    }

    #[test]
    fn the_short_help_has_one_line_for_each_option() {
        for name in ["new", "serve", "run", "build", "inspect", "check", "up", "status"] {
            let mut definition = definition();
            definition.build();
            let command = definition.find_subcommand_mut(name).unwrap();
            let shown = command
                .get_arguments()
                .filter(|arg| !arg.is_hide_short_help_set() && !arg.is_hide_set());
            let options = shown.filter(|arg| arg.get_long().is_some()).count();
            let help = command.render_help().to_string();
            let begins = |line: &&str| line.trim_start().starts_with('-');
            assert_eq!(help.lines().filter(begins).count(), options, "{help}");
            // A heading or an empty line stands between any two groups; all else is an option.
            let (_, help) = help.split_once("Options:").unwrap();
            for line in help.lines().filter(|line| line.starts_with(' ')) {
                assert!(begins(&line) && line.len() <= 100, "more than a line: {line}\n{help}");
            }
        }
    }

    #[test]
    fn the_long_help_says_more_than_the_short_one() {
        let definition = definition();
        let serve = definition.find_subcommand("serve").unwrap();
        for arg in serve.get_arguments().filter(|arg| arg.get_long().is_some()) {
            let short = arg.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(!short.is_empty() && !short.contains(". "), "{}: {short}", arg.get_id());
        }
    }
}
