//! A handler of a supervisor: its generations, and what happens to these.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use socketserver::printable;
use socketserver_sandbox::{Loader, read_component};

use super::MARGIN;
use super::certificates::{CertificateFiles, SeenFiles};
use super::description::{
    Descriptors, DrainState, Received, SlotState, from_milliseconds, milliseconds,
};
use super::drain::Drain;
use super::process::Process;
use super::sockets::{self, Listening};
use super::watch::Past;
use crate::config::Handler;
use crate::options::parse_serve;
use crate::values::digest::Digest;

/// The pause before the first new start of a process that has died, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
pub const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The time after which a process that serves has not failed at its start.
const GOOD_LIFE: Duration = Duration::from_mins(1);

/// The longest reason of a failure that is taken over, in bytes.
const MAX_FAILURE: usize = 1000;

/// A handler, and what serves it.
pub struct Slot {
    pub handler: Handler,
    pub stamp: Stamp,
    /// The state of its files for TLS when they were last looked at.
    pub files: SeenFiles,
    pub sockets: Vec<Rc<Listening>>,
    /// The process that serves, if there is one.
    pub current: Option<Process>,
    /// The process that will serve in its place.
    pub next: Option<Next>,
    /// The number of failures since a process last served for long.
    pub failures: u32,
    /// The number of processes that were started because another has died.
    pub restarts: u64,
    /// The time at which a process is started.
    pub restart_at: Option<Instant>,
    /// Set if it is drained.
    pub drain: Option<Drain>,
    pub last_failure: Option<String>,
    /// The counters of processes that have ended.
    pub past: Past,
}

/// A generation that does not serve yet, and what it was made from.
pub struct Next {
    pub process: Process,
    pub handler: Handler,
    pub stamp: Stamp,
    pub sockets: Vec<Rc<Listening>>,
}

/// The origin of a handler. Two that are equal need no new process.
#[derive(PartialEq, Default)]
pub struct Stamp {
    pub arguments: Vec<String>,
    pub folder: PathBuf,
    /// `None` for a folder, whose content is not compared.
    pub content: Option<Digest>,
    pub certificates: CertificateFiles,
}

impl Stamp {
    /// Reads the file of a handler.
    pub fn compute(handler: &Handler) -> Stamp {
        let path = handler.options.handler.as_deref().map(|path| handler.folder.join(path));
        let bytes =
            path.and_then(|path| read_component(&path, Loader::DEFAULT_COMPONENT_SIZE).ok());
        Stamp {
            arguments: handler.arguments.clone(),
            folder: handler.folder.clone(),
            content: bytes.map(|bytes| Digest::compute(&bytes)),
            certificates: CertificateFiles::look(handler),
        }
    }

    /// Returns true if both are known to be the same.
    pub fn is_same(&self, other: &Stamp) -> bool {
        self.content.is_some() && self == other
    }
}

/// The outcome of the start of a process.
pub enum Outcome {
    /// It serves.
    Serves,
    /// It did not come to serve.
    Failed {
        /// The name of its handler.
        name: String,
        /// The reason.
        why: String,
    },
}

impl Slot {
    /// Returns the slot of a handler that nothing serves yet.
    pub fn new(handler: Handler) -> Slot {
        Slot {
            handler,
            // Those of no handler, until one serves.
            stamp: Stamp::default(),
            files: SeenFiles::default(),
            sockets: Vec::new(),
            current: None,
            next: None,
            failures: 0,
            restarts: 0,
            restart_at: None,
            drain: None,
            last_failure: None,
            past: Past::new(),
        }
    }

    /// Describes the handler to the program that takes over from this one. A generation that does
    /// not serve yet is left out.
    ///
    /// # Errors
    ///
    /// The configuration of the handler is wrong.
    pub fn hand_over<'a>(&'a self, now: Instant, fds: &mut Descriptors<'a>) -> Result<SlotState> {
        let Handler { name, folder, place, arguments, .. } = self.handler.clone();
        let left = |until: Instant| milliseconds(until.saturating_duration_since(now));
        Ok(SlotState {
            name,
            folder,
            place,
            arguments,
            sockets: sockets::hand_over(&self.handler, &self.sockets, fds)?,
            current: self.current.as_ref().map(|process| process.hand_over(fds)),
            failures: self.failures,
            restarts: self.restarts,
            restart_in: self.restart_at.map(left),
            drain: self.drain.map(|drain| match drain {
                Drain::Delay(until) => DrainState::Delay(left(until)),
                Drain::Queues(until) => DrainState::Queues(left(until)),
                Drain::Closed => DrainState::Closed,
            }),
            last_failure: self.last_failure.clone(),
        })
    }

    /// Takes over a handler. What serves it is of another program, and so not as the
    /// configuration says, whatever that says.
    ///
    /// # Errors
    ///
    /// The description is wrong, or this program does not know an option of the handler.
    pub fn take_over(state: SlotState, now: Instant, fds: &mut Received) -> Result<Slot> {
        let SlotState { name, folder, place, arguments, sockets, current, .. } = state;
        let options = parse_serve(&arguments);
        let options = options.map_err(|error| anyhow!("{}", error.to_string().trim_end()))?;
        let handler = Handler { name, folder, place, arguments, options };
        let sockets = sockets::take_over(&handler, &sockets, fds)?;
        let current = current.map(|process| Process::take_over(&process, fds)).transpose()?;
        let until = |left: u64| now + from_milliseconds(left);
        Ok(Slot {
            sockets,
            current,
            failures: state.failures,
            restarts: state.restarts,
            restart_at: state.restart_in.map(until),
            drain: state.drain.map(|drain| match drain {
                DrainState::Delay(left) => Drain::Delay(until(left)),
                DrainState::Queues(left) => Drain::Queues(until(left)),
                DrainState::Closed => Drain::Closed,
            }),
            last_failure: state.last_failure.map(|why| printable(&why, MAX_FAILURE)),
            ..Slot::new(handler)
        })
    }

    /// Looks at the process that will serve. It takes the place of the other one when it does.
    pub fn look_at_next(
        &mut self,
        name: &str,
        now: Instant,
        ending: &mut Vec<(String, Process)>,
    ) -> Option<Outcome> {
        let next = self.next.as_mut()?;
        next.process.hear();
        let generation = next.process.generation;
        let (is_ready, ended) = (next.process.is_ready, next.process.has_ended());
        // The old process is not given up for one that has reported and died.
        if is_ready && ended.is_none() {
            let Next { process, handler, stamp, sockets } = self.next.take()?;
            tracing::info!(
                "the handler `{name}`: generation {generation} serves, process {}",
                process.pid()
            );
            let time = grace(&self.handler) + MARGIN;
            (self.handler, self.stamp, self.sockets) = (handler, stamp, sockets);
            self.last_failure = None;
            if let Some(mut old) = self.current.replace(process) {
                // It takes no client any more. Those in the queue are for the new one.
                old.end(time);
                ending.push((name.to_owned(), old));
            }
            return Some(Outcome::Serves);
        }
        let is_late = next.process.kill_if_late(now);
        if !is_late && ended.is_none() {
            return None;
        }
        let why = match ended {
            Some(status) if is_ready => {
                format!("generation {generation} ended with {status}, as soon as it served")
            }
            Some(status) if !is_late => {
                format!("generation {generation} ended with {status}, before it served")
            }
            _ => format!("generation {generation} did not come to serve in time"),
        };
        let Next { process, sockets, .. } = self.next.take()?;
        if ended.is_none() {
            ending.push((name.to_owned(), process));
        }
        self.last_failure = Some(why.clone());
        if self.current.is_some() {
            tracing::error!("the handler `{name}` stays as it was: {why}");
        } else {
            tracing::error!("the handler `{name}`: {why}");
            // Its clients wait there.
            if self.sockets.is_empty() {
                self.sockets = sockets;
            }
            if self.drain.is_none() {
                self.schedule(name, now);
            }
        }
        Some(Outcome::Failed { name: name.to_owned(), why })
    }

    /// Looks at the process that serves. Returns true if it has died.
    pub fn look_at_current(&mut self, name: &str, now: Instant) -> bool {
        let Some(current) = &mut self.current else { return false };
        current.hear();
        let Some(status) = current.has_ended() else { return false };
        let why = format!("generation {} ended with {status}", current.generation);
        tracing::error!("the handler `{name}`: {why}");
        if now.saturating_duration_since(current.started) >= GOOD_LIFE {
            self.failures = 0;
        }
        self.past.add(current);
        self.current = None;
        self.last_failure = Some(why);
        // Another one is about to take its place anyway.
        self.next.is_none()
    }

    /// Starts a process anew after a pause, which grows with each failure.
    pub fn schedule(&mut self, name: &str, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        let doubled = FIRST_PAUSE.saturating_mul(1 << (self.failures - 1).min(16));
        let pause = doubled.min(LONGEST_PAUSE);
        self.restart_at = Some(now + pause);
        tracing::warn!("the handler `{name}` is started anew in {pause:?}");
    }
}

/// Returns the time that a handler has for its requests at the end.
pub fn grace(handler: &Handler) -> Duration {
    let settings = handler.options.clone().settings();
    settings.map(|settings| settings.shutdown.grace).unwrap_or_default()
}
