//! An upgrade: a program takes over from the one that the process has run before.
//!
//! | phase | what happens |
//! |---|---|
//! | `Trying` | a child runs the new program, which reads the same description and checks the configuration |
//! | `Tried` | as soon as no generation is starting, this process executes the new program |
//!
//! The new program replaces all generations, as at a reload. Signals wait while no program
//! handles them.

use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Error, Result};
use nix::unistd::dup2_stdin;
use rustix::process::{Signal, set_parent_process_death_signal};
use socketserver::service::ServiceEnvironment;

use super::control::Control;
use super::description::{Descriptors, State, receive};
use super::events;
use super::handlers::Handlers;
use super::upgrade::{Identity, Trial};
use super::watch::Monitor;
use super::{Phase, Supervisor};
use crate::check::check;
use crate::config::Config;
use crate::options::{CheckOptions, UpOptions};
use crate::serve::signals;

/// The state of an upgrade.
pub enum Upgrade {
    None,
    Trying(Trial),
    Tried(Identity),
}

impl Upgrade {
    /// Returns the time at which there is something to do.
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Upgrade::Trying(trial) => Some(trial.deadline()),
            Upgrade::None | Upgrade::Tried(_) => None,
        }
    }
}

/// Takes over from the program that this process has run before, and serves. A trial ends before
/// that.
///
/// # Errors
///
/// The description is wrong, or of another version.
pub fn take_over(options: &UpOptions, environment: ServiceEnvironment) -> Result<ExitCode> {
    let (state, mut fds) = receive(io::stdin().as_fd())?;
    let State { handlers, ending, generations, control, monitor, stdin } = state;
    let new = Handlers::new(Vec::new());
    let handlers = new.take_over(handlers, &ending, generations, &mut fds)?;
    let control = control.map(|control| Control::take_over(control, &mut fds)).transpose()?;
    let doors = Monitor::take_over(monitor, &mut fds)?;
    dup2_stdin(fds.take(stdin)?)?;
    if options.take_over.is_trial {
        // What the server closes meanwhile is not to stay open here.
        drop((handlers, control, doors, fds));
        set_parent_process_death_signal(Some(Signal::KILL))?;
        return check(&CheckOptions { config: options.config.clone() });
    }
    let config = Config::read(&options.config);
    let log = config.as_ref().map(|config| config.log).unwrap_or_default();
    let mut supervisor = Supervisor::new(options.config.clone(), &log, environment)?;
    (supervisor.handlers, supervisor.control) = (handlers, control);
    // Signals that have waited are handled from now on.
    signals::unblock().context("cannot handle signals")?;
    if !doors.is_empty() {
        match Monitor::start_at(doors) {
            Ok(monitor) => supervisor.monitor = Some(monitor),
            Err(error) => tracing::error!("the metrics cannot be shown any more: {error:#}"),
        }
    }
    supervisor.handlers.counted = supervisor.monitor.is_some();
    tracing::info!("version {} of the program has taken over", env!("CARGO_PKG_VERSION"));
    supervisor.take_config(config);
    supervisor.serve()
}

impl Supervisor {
    /// Begins an upgrade, unless one has begun.
    pub(super) fn begin_upgrade(&mut self) {
        if self.is_ending() || !matches!(self.upgrade, Upgrade::None) {
            return;
        }
        let begun = self.program.as_ref().context("the file of the program is not known");
        let begun = begun.and_then(|program| {
            self.described(|state, fds| program.try_out(&self.path, state, fds))
        });
        match begun {
            Ok(trial) => {
                tracing::info!("the program is to be replaced: the new one is tried");
                self.upgrade = Upgrade::Trying(trial);
            }
            Err(error) => self.upgrade_failed(&error),
        }
    }

    /// Goes on with an upgrade, if one has begun.
    pub(super) fn go_on_with_upgrade(&mut self) {
        let is_ending = self.is_ending();
        match &mut self.upgrade {
            Upgrade::None => return,
            Upgrade::Trying(trial) if is_ending => trial.kill(),
            Upgrade::Tried(_) if is_ending => {}
            Upgrade::Trying(trial) => match trial.look(Instant::now()) {
                None => return,
                Some(Ok(identity)) => self.upgrade = Upgrade::Tried(identity),
                Some(Err(error)) => return self.upgrade_failed(&error),
            },
            Upgrade::Tried(_) => {}
        }
        if is_ending {
            return self.upgrade_failed(&Error::msg("the server is about to end"));
        }
        // An answer that is being read would be cut. Its client has a few seconds.
        let is_answering = self.control.as_ref().is_some_and(Control::is_answering);
        let is_quiet =
            self.phase == Phase::Serving && !self.handlers.are_starting() && !is_answering;
        if is_quiet && let Err(error) = self.hand_over() {
            // systemd was told that the configuration is read again.
            self.manager.ready(&format!("{} handlers", self.handlers.count()), None);
            self.upgrade_failed(&error);
        }
    }

    fn upgrade_failed(&mut self, error: &Error) {
        let why = format!("{error:#}");
        tracing::error!("the program stays as it was: {why}");
        self.upgrade = Upgrade::None;
        if let Some(control) = &mut self.control {
            control.upgrade_failed(&why);
        }
    }

    /// Executes the new program. Returns only if that fails, or if signals have come, which are
    /// to be handled first.
    fn hand_over(&self) -> Result<()> {
        let (Upgrade::Tried(tried), Some(program)) = (&self.upgrade, &self.program) else {
            return Ok(());
        };
        let before = events::block().context("cannot handle signals")?;
        let handed = if self.events.are_pending() {
            Ok(())
        } else {
            tracing::info!("the new program takes over");
            self.manager.reloading();
            let execute = |state: &State, fds: &Descriptors<'_>| {
                program.execute(tried, &self.path, state, fds, &self.variables)
            };
            self.described(execute).map(|never| match never {})
        };
        before.thread_set_mask().context("cannot handle signals")?;
        handed
    }

    /// Calls `then` with a description of all that is handed over.
    fn described<T>(&self, then: impl FnOnce(&State, &Descriptors<'_>) -> Result<T>) -> Result<T> {
        let standard = io::stdin();
        let mut fds = Descriptors::default();
        let (handlers, ending) = self.handlers.hand_over(&mut fds)?;
        let state = State {
            handlers,
            ending,
            generations: self.handlers.generations(),
            control: self.control.as_ref().map(|control| control.hand_over(&mut fds)),
            monitor: self.monitor.iter().flat_map(|monitor| monitor.hand_over(&mut fds)).collect(),
            stdin: fds.add(standard.as_fd()),
        };
        then(&state, &fds)
    }
}
