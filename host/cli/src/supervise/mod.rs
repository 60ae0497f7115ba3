//! `up`: a process that owns the listening sockets of several handlers, and starts a process
//! for each. It serves no client itself, and parses nothing of a component.
//!
//! | file | content |
//! |---|---|
//! | this one | the loop |
//! | `answers` | the answers at the control socket |
//! | `certificates` | files for TLS that change |
//! | `description` | what is handed over to another program at an upgrade |
//! | `drain` | handlers that finish what they have begun |
//! | `handlers` | all handlers |
//! | `slot` | a handler: its generations, and what happens to these |
//! | `process` | one generation of a handler: a process |
//! | `sockets` | the listening sockets |
//! | `events` | the signals |
//! | `take_over` | an upgrade: one program takes over from another |
//! | `upgrade` | the program that takes over: its trial, and its start |
//! | `watch` | the metrics and the page |
//! | `control` | the control socket |
//! | `ask` | `status`, `reload`, `upgrade`, `drain` and `stop`: the other side of the control socket |

mod answers;
pub mod ask;
mod certificates;
mod control;
mod description;
mod drain;
mod events;
#[cfg(test)]
mod failing_children;
mod handlers;
mod process;
mod slot;
mod sockets;
mod take_over;
mod upgrade;
mod watch;

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use socketserver::service::ServiceEnvironment;

use crate::config::{Config, Problems};
use crate::options::UpOptions;
use crate::report::{log, log_writer, output};
use crate::serve::raise_descriptor_limit;
use crate::serve::service::ServiceManager;
use crate::settings::LogSettings;
use crate::work::say;
use control::{Control, Done, Request};
use events::Events;
use handlers::Handlers;
use slot::Outcome;
use take_over::{Upgrade, take_over};
use upgrade::Program;
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
    if options.take_over.take_over {
        return take_over(options, environment);
    }
    let config = match Config::read(&options.config) {
        Ok(config) => config,
        Err(problems) => {
            say(&format!("{problems}\n"));
            return Ok(ExitCode::from(2));
        }
    };
    let mut supervisor = Supervisor::new(options.config.clone(), &config.log, environment)?;
    supervisor.control = config.control.as_deref().map(Control::bind).transpose()?;
    let monitor = (!config.monitor.is_empty()).then(|| Monitor::start(&config.monitor));
    supervisor.monitor = monitor.transpose()?;
    supervisor.start(config)?;
    supervisor.serve()
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
    /// The file of the program, if it is known.
    program: Option<Program>,
    /// The variables of systemd, for a program that takes over.
    variables: Vec<(&'static str, OsString)>,
    manager: ServiceManager,
    events: Events,
    control: Option<Control>,
    monitor: Option<Monitor>,
    handlers: Handlers,
    phase: Phase,
    upgrade: Upgrade,
    /// The problems of a reload, for those that asked for it.
    reports: Vec<String>,
}

impl Supervisor {
    /// Sets up the process.
    fn new(
        path: PathBuf,
        settings: &LogSettings,
        environment: ServiceEnvironment,
    ) -> Result<Supervisor> {
        log::init(settings.format, settings.level, settings.rate, io::stderr().is_terminal());
        output::make_nonblocking()?;
        log_writer::share_state().context("cannot share the state of the log")?;
        raise_descriptor_limit();
        let ServiceEnvironment { sockets, notify_socket, watchdog } = environment;
        let time = watchdog.map(|time| time.as_micros().to_string().into());
        let variables = [("NOTIFY_SOCKET", notify_socket.clone()), ("WATCHDOG_USEC", time)];
        let variables = variables.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let manager = ServiceManager::connect(notify_socket, watchdog);
        manager.log_failure();
        Ok(Supervisor {
            path,
            program: Program::find(),
            variables: variables.collect(),
            manager,
            events: Events::install().context("cannot handle signals")?,
            control: None,
            monitor: None,
            handlers: Handlers::new(sockets),
            phase: Phase::Starting,
            upgrade: Upgrade::None,
            reports: Vec::new(),
        })
    }

    /// Starts all handlers for the first time.
    fn start(&mut self, config: Config) -> Result<()> {
        self.handlers.counted = self.monitor.is_some();
        self.handlers.drain_delay = config.drain_delay;
        if let Err(problems) = self.handlers.apply(config.handlers) {
            self.handlers.kill();
            bail!("{}", problems.join("; "));
        }
        Ok(())
    }

    /// Serves until the end.
    fn serve(mut self) -> Result<ExitCode> {
        loop {
            self.show();
            self.wait()?;
            let mut stop = self.events.take_stop();
            let mut reload = self.events.take_reload();
            let mut upgrade = self.events.take_upgrade();
            let is_ending = self.is_ending();
            if self.events.take_counters() {
                self.handlers.print_counters();
            }
            if let Some(control) = &mut self.control {
                for request in control.requests() {
                    match request {
                        Request::Status(client) => control.answer(client, &self.handlers.status()),
                        Request::Reload(client) => {
                            control.wait_for_reload(client);
                            reload = true;
                        }
                        Request::Upgrade(client) if is_ending => {
                            control.answer(client, &Done::failed("the server is about to end"));
                        }
                        Request::Upgrade(client) => {
                            control.wait_for_upgrade(client);
                            upgrade = true;
                        }
                        Request::Stop(client) => {
                            control.wait_for_stop(client);
                            stop += usize::from(!is_ending);
                        }
                        Request::Drain(client, name) => {
                            match self.handlers.drain(name.as_deref(), self.handlers.drain_delay) {
                                Ok(()) => control.wait_for_drain(client, name),
                                Err(error) => {
                                    control.answer(client, &Done::failed(format!("{error:#}")));
                                }
                            }
                        }
                        Request::UndoDrain(client, _) if is_ending => {
                            control.answer(client, &Done::failed("the server is about to end"));
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
            if upgrade {
                self.begin_upgrade();
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
            self.go_on_with_upgrade();
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
        let deadlines = [
            self.handlers.next_deadline(),
            self.control.as_ref().and_then(Control::next_deadline),
            self.upgrade.deadline(),
        ];
        let until = deadlines.into_iter().flatten().map(|time| time.saturating_duration_since(now));
        let time =
            until.chain([self.manager.poll_interval(LONGEST_ROUND)]).min().unwrap_or(LONGEST_ROUND);
        let doors = self.handlers.doors();
        let control = self.control.iter().flat_map(Control::descriptors);
        let fds = self.events.descriptors().into_iter().chain(doors);
        let fds = fds.map(|fd| (fd, PollFlags::IN)).chain(control);
        let mut fds: Vec<_> =
            fds.map(|(fd, events)| PollFd::from_borrowed_fd(fd, events)).collect();
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
        self.take_config(Config::read(&self.path));
    }

    /// Begins to serve as a configuration says that was read again.
    fn take_config(&mut self, config: Result<Config, Problems>) {
        self.phase = Phase::Reloading;
        let config = match config {
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
        if let Upgrade::Trying(trial) = &mut self.upgrade {
            trial.kill();
        }
        if let Some(control) = &mut self.control {
            control.stopped();
        }
    }
}
