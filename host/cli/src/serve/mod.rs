//! `serve`: from settings to a server, and to its end.
//!
//! | file | content |
//! |---|---|
//! | this one | the course of `serve` |
//! | `start` | the handler, and the server around it |
//! | `restrictions` | the restrictions of the processes that serve: the jail, and another user |
//! | `broker` | the start of the process that opens sockets for handlers in the jail |
//! | `process_limits` | the limits of a forked process, which the kernel and the parent enforce |
//! | `hooks` | the events of the server, as lines of the log and as counters |
//! | `passed` | the sockets that systemd passes |
//! | `service` | reports to systemd |
//! | `announce` | the lines that say where the server listens |
//! | `signals` | SIGINT, SIGTERM and SIGUSR1 |
//! | `shutdown` | the end of the server |

mod announce;
mod broker;
mod hooks;
mod passed;
mod process_limits;
pub mod restrictions;
pub mod service;
mod shutdown;
pub mod signals;
mod start;

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use anyhow::{Context, Result};
use nix::unistd::dup2_stdin;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socketserver::service::PassedSocket;
use socketserver::{ConcurrencyKind, ServeError};

pub use process_limits::ProcessLimits;
pub use start::{check as check_handler, with_option};

use crate::report::counters::Counters;
use crate::report::{log, log_writer, output};
use crate::settings::Settings;
use service::ServiceManager;
use shutdown::{FinalCounters, Shutdown};

/// The things that a server is given by the process that has started it.
pub struct Given {
    /// The listening sockets.
    pub sockets: Vec<PassedSocket>,
    /// The service manager, which gets reports.
    pub manager: ServiceManager,
    /// The number of the generation, if `up` has started the process.
    pub generation: Option<u64>,
    /// The file of the counters, if another program looks at them.
    pub counters: Option<OwnedFd>,
}

/// Serves until a signal, or one request, and ends the process. The server takes the sockets
/// that it is passed, and reports to the service manager.
///
/// # Errors
///
/// The server cannot start, or cannot go on.
pub fn serve(settings: Settings, given: Given) -> Result<()> {
    let Given { sockets, manager, generation, counters } = given;
    let is_terminal = io::stderr().is_terminal();
    let log = settings.log;
    log::init(log.format, log.level, log.rate, is_terminal);
    output::make_nonblocking()?;
    log_writer::share_state().context("cannot share the state of the log")?;
    log::log_panics();
    socketserver_sandbox::return_large_blocks();
    if settings.concurrency.kind() == ConcurrencyKind::Forking {
        let moved = socketserver_sandbox::keep_program_in_huge_pages();
        tracing::debug!("{moved} bytes of the program are in huge pages");
    }
    raise_descriptor_limit();
    close_standard_input();
    manager.log_failure();
    let manager = Arc::new(manager);
    // Before the ready line: a program that reads the line may send a signal.
    let (handlers, events) = signals::install().context("cannot handle signals")?;
    let monitored = !settings.monitor.is_empty();
    let file =
        counters.map_or_else(|| monitored.then(Counters::file).transpose(), |it| Ok(Some(it)));
    let file = file.context("cannot make counters")?;
    let counters = file.as_ref().map_or_else(Counters::new, |file| Counters::in_file(file.as_fd()));
    let counters = Arc::new(counters.context("cannot make counters")?);
    let final_counters =
        log.stats.then(|| FinalCounters { counters: Arc::clone(&counters), format: log.format });
    let shutdown = Shutdown {
        settings: settings.shutdown,
        second_signal: events.second_signal.clone(),
        final_counters,
        manager: Arc::clone(&manager),
        counters: Arc::clone(&counters),
    };
    let is_sample = settings.handler.is_none();
    let (once, poll_interval) = (settings.once, manager.poll_interval(settings.poll_interval));
    // Without threads, the thread that serves is busy with a request when the signal comes.
    let is_sync = settings.concurrency.kind() == ConcurrencyKind::Sync;
    let signalled = is_sync.then(|| events.shutdown.try_clone()).transpose()?;
    let longest_request = is_sync.then_some(settings.policy.wall_time);
    let parts =
        start::Parts { handlers, events, counters: &counters, manager: &manager, generation, file };
    let server = start::server(settings, sockets, parts)?;
    let server = Arc::new(server);
    if let Some(signalled) = signalled {
        let exit = shutdown.exit_after_grace(signalled, Arc::clone(&server));
        exit.context("cannot wait for signals")?;
    }
    shutdown.defer_second_signal();
    counters.serves(server.max_requests());
    announce::print_ready_lines(server.endpoints());
    manager.ready(&announce::status(server.endpoints()), longest_request);
    if is_sample && is_terminal {
        announce::print_example(&server.endpoints()[0]);
    }
    if once {
        server.handle_request()?;
    } else {
        match server.serve_forever(poll_interval) {
            // The signal came before the loop began, and the thread of `exit_after_grace` has
            // stopped listening. Clients that waited are served below.
            Err(ServeError::Closed) if is_sync => {}
            ended => ended?,
        }
        if !is_sync {
            shutdown.log_begin();
        }
    }
    shutdown.finish(&server)
}

/// Raises the limit of open files to what the system allows this process. Servers are
/// expected to do so; the lower limit is for programs that use `select(2)`.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!("the limit of open files stays as it is: {error}");
    }
}

/// Replaces standard input by `/dev/null`. The server does not read it, and native code that
/// escaped from the sandbox in a forked process could read what the operator types.
fn close_standard_input() {
    if let Err(error) = File::open("/dev/null").and_then(|null| Ok(dup2_stdin(null)?)) {
        tracing::debug!("standard input stays open: {error}");
    }
}
