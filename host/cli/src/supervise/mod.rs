//! `up`: a process that owns the listening sockets of several handlers, and starts a process
//! for each. It serves no client itself, and parses nothing of a component.
//!
//! | file | content |
//! |---|---|
//! | this one | the loop |
//! | `certificates` | files for TLS that change |
//! | `drain` | handlers that finish what they have begun |
//! | `handlers` | all handlers |
//! | `slot` | a handler: its generations, and what happens to these |
//! | `process` | one generation of a handler: a process |
//! | `sockets` | the listening sockets |
//! | `events` | the signals |
//! | `watch` | the metrics and the page |
//! | `control` | the control socket |
//! | `ask` | `status`, `reload`, `drain` and `stop`: the other side of the control socket |

pub mod ask;
mod certificates;
mod control;
mod drain;
mod events;
mod handlers;
mod process;
mod slot;
mod sockets;
mod watch;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use socketserver::service::ServiceEnvironment;

use crate::config::Config;
use crate::options::UpOptions;
use crate::report::{log, log_writer, output};
use crate::serve::raise_descriptor_limit;
use crate::serve::service::ServiceManager;
use crate::work::say;
use control::{Control, Done, Request};
use events::Events;
use handlers::Handlers;
use slot::Outcome;
use watch::{Monitor, Shown, Watched};

/// The longest time between two rounds of the loop.
const LONGEST_ROUND: Duration = Duration::from_secs(10);

/// The time between two looks at queues that are to be empty.
const LOOK: Duration = Duration::from_millis(5);

/// The time that processes have beyond their grace time.
const MARGIN: Duration = Duration::from_secs(5);

/// Serves the handlers of a configuration until a signal.
///
/// # Errors
///
/// A handler cannot be served at the start.
pub fn up(options: &UpOptions, environment: ServiceEnvironment) -> Result<ExitCode> {
    let config = match Config::read(&options.config) {
        Ok(config) => config,
        Err(problems) => {
            say(&format!("{problems}\n"));
            return Ok(ExitCode::from(2));
        }
    };
    let settings = config.log;
    log::init(settings.format, settings.level, settings.rate, io::stderr().is_terminal());
    output::make_nonblocking()?;
    log_writer::share_state().context("cannot share the state of the log")?;
    raise_descriptor_limit();
    let ServiceEnvironment { sockets, notify_socket, watchdog } = environment;
    let manager = ServiceManager::connect(notify_socket, watchdog);
    manager.log_failure();
    let events = Events::install().context("cannot handle signals")?;
    let control = config.control.as_deref().map(Control::bind).transpose()?;
    let monitor = (!config.monitor.is_empty()).then(|| Monitor::start(&config.monitor));
    let monitor = monitor.transpose()?;
    let handlers = Handlers::new(sockets, monitor.is_some());
    let phase = Phase::Starting;
    let path = options.config.clone();
    let reports = Vec::new();
    Supervisor { path, manager, events, control, monitor, handlers, phase, reports }.run(config)
}

/// The phases of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Some handlers have not served yet.
    Starting,
    /// All handlers serve, or have served.
    Serving,
    /// A handler is being replaced, or several.
    Reloading,
    /// All handlers are drained, and then the process ends.
    Draining,
}

struct Supervisor {
    path: PathBuf,
    manager: ServiceManager,
    events: Events,
    control: Option<Control>,
    monitor: Option<Monitor>,
    handlers: Handlers,
    phase: Phase,
    /// The problems of a reload, for those that asked for it.
    reports: Vec<String>,
}

impl Supervisor {
    fn run(mut self, config: Config) -> Result<ExitCode> {
        self.handlers.drain_delay = config.drain_delay;
        if let Err(problems) = self.handlers.apply(config.handlers) {
            self.handlers.kill();
            bail!("{}", problems.join("; "));
        }
        loop {
            self.show();
            self.wait()?;
            let mut stop = self.events.take_stop();
            let mut reload = self.events.take_reload();
            let is_ending = self.is_ending();
            if let Some(control) = &mut self.control {
                for request in control.requests() {
                    match request {
                        Request::Status(client) => client.answer(&self.handlers.status()),
                        Request::Reload(client) => {
                            control.wait_for_reload(client);
                            reload = true;
                        }
                        Request::Stop(client) => {
                            control.wait_for_stop(client);
                            stop += usize::from(!is_ending);
                        }
                        Request::Drain(client, name) => {
                            match self.handlers.drain(name.as_deref(), self.handlers.drain_delay) {
                                Ok(()) => control.wait_for_drain(client, name),
                                Err(error) => client.answer(&Done::failed(format!("{error:#}"))),
                            }
                        }
                        Request::UndoDrain(client, _) if is_ending => {
                            client.answer(&Done::failed("the server is about to end"));
                        }
                        Request::UndoDrain(client, name) => {
                            let begun = self.handlers.undo_drain(name.as_deref());
                            self.reports.extend(begun.err().map(|error| format!("{error:#}")));
                            self.phase = Phase::Reloading;
                            control.wait_for_reload(client);
                        }
                    }
                }
            }
            if stop > 0 && self.stop(stop) {
                return Ok(ExitCode::from(128 | self.events.last_signal()));
            }
            if reload && !self.is_ending() {
                self.reload();
            }
            for outcome in self.handlers.look(self.is_ending()) {
                self.heard(outcome)?;
            }
            if let Some(control) = &mut self.control {
                control.drained(|name| self.handlers.drained(name));
            }
            if self.go_on() {
                return Ok(ExitCode::SUCCESS);
            }
            self.manager.give_sign_of_life();
            log::log_dropped_lines(false);
        }
    }

    /// Shows what has become of the handlers.
    fn show(&mut self) {
        let (is_ending, serves) = (self.is_ending(), self.phase != Phase::Starting);
        if let Some(monitor) = &mut self.monitor {
            let handlers = self.handlers.watched();
            let ready = serves && !is_ending && handlers.iter().all(Watched::serves);
            monitor.show(Shown { handlers, ready, draining: is_ending }, self.handlers.ending());
        }
    }

    fn is_ending(&self) -> bool {
        self.phase == Phase::Draining
    }

    /// Waits for an event.
    fn wait(&self) -> Result<()> {
        let now = Instant::now();
        let deadlines =
            [self.handlers.next_deadline(), self.control.as_ref().and_then(Control::next_deadline)];
        let until = deadlines.into_iter().flatten().map(|time| time.saturating_duration_since(now));
        let time =
            until.chain([self.manager.poll_interval(LONGEST_ROUND)]).min().unwrap_or(LONGEST_ROUND);
        let doors = self.handlers.doors();
        let control = self.control.iter().flat_map(Control::descriptors);
        let fds = self.events.descriptors().into_iter().chain(doors).chain(control);
        let mut fds: Vec<_> = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        // A millisecond more, so that the time has come when the wait ends.
        let time = Timespec::try_from(time + Duration::from_millis(1))?;
        match poll(&mut fds, Some(&time)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("cannot wait for events"),
        }
    }

    /// Begins the end. Returns true if another signal makes it an end at once.
    fn stop(&mut self, signals: usize) -> bool {
        let is_second = self.is_ending() || signals > 1;
        if is_second {
            self.handlers.kill();
            return true;
        }
        let grace = self.handlers.longest_grace();
        tracing::info!(
            "ending: handlers finish what they have begun, within {grace:?}; another signal ends it now"
        );
        // The signal of a terminal, where no balancer has to learn of it.
        let is_at_terminal = i32::from(self.events.last_signal()) == Signal::INT.as_raw();
        let delay = if is_at_terminal { Duration::ZERO } else { self.handlers.drain_delay };
        self.manager.stopping(delay + grace + grace + MARGIN);
        // There is no name that could be wrong.
        let _ = self.handlers.drain(None, delay);
        self.phase = Phase::Draining;
        false
    }

    fn reload(&mut self) {
        self.manager.reloading();
        self.phase = Phase::Reloading;
        let config = match Config::read(&self.path) {
            Ok(config) => config,
            Err(problems) => {
                let problems = problems.to_string();
                for line in problems.lines() {
                    tracing::error!("the configuration stays as it was: {line}");
                }
                self.reports.push(problems);
                return;
            }
        };
        self.handlers.drain_delay = config.drain_delay;
        if let Err(problems) = self.handlers.apply(config.handlers) {
            self.reports.extend(problems);
        }
    }

    /// Takes note of what has become of a process.
    fn heard(&mut self, outcome: Outcome) -> Result<()> {
        let Outcome::Failed { name, why } = outcome else { return Ok(()) };
        if self.phase == Phase::Starting {
            self.handlers.kill();
            bail!("the handler `{name}` cannot be served: {why}");
        }
        if self.phase == Phase::Reloading {
            self.reports.push(format!("the handler `{name}` stays as it was: {why}"));
        }
        Ok(())
    }

    /// Goes on to the next phase if it is time. Returns true at the end.
    fn go_on(&mut self) -> bool {
        match self.phase {
            Phase::Starting | Phase::Reloading if !self.handlers.are_starting() => {
                let count = self.handlers.count();
                if self.phase == Phase::Starting {
                    tracing::info!("all {count} handlers serve");
                }
                if let Some(monitor) = self.monitor.as_mut() {
                    monitor.loaded(self.phase == Phase::Reloading, self.reports.is_empty());
                }
                self.manager.ready(&format!("{count} handlers"), None);
                let reports = std::mem::take(&mut self.reports);
                if let Some(control) = &mut self.control {
                    control.reloaded(&reports);
                }
                self.phase = Phase::Serving;
            }
            // Processes that do not end in time were killed.
            Phase::Draining => return self.handlers.drained(None).is_some(),
            Phase::Starting | Phase::Reloading | Phase::Serving => {}
        }
        false
    }
}

/// Closes the connections of those that wait for the end.
impl Drop for Supervisor {
    fn drop(&mut self) {
        self.handlers.kill();
        if let Some(control) = &mut self.control {
            control.stopped();
        }
    }
}
