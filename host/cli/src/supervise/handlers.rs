//! The handlers of a supervisor, and what happens to all of them.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use socketserver::printable;
use socketserver::service::PassedSocket;

use super::MARGIN;
use super::description::{Descriptors, EndingState, Received, SlotState};
use super::drain::Drain;
use super::process::Process;
use super::slot::{LONGEST_PAUSE, Next, Outcome, Slot, Stamp, grace};
use super::sockets;
use super::watch::Watched;
use crate::config::Handler;
use crate::report::certificates::Certificate;

/// All handlers.
pub struct Handlers {
    pub(super) slots: BTreeMap<String, Slot>,
    /// Processes that end, with the names of their handlers.
    pub(super) ending: Vec<(String, Process)>,
    /// Sockets of systemd that no handler has taken yet.
    passed: Vec<PassedSocket>,
    generations: u64,
    /// The time of the next look at files for TLS.
    pub(super) certificates_at: Instant,
    /// Set if someone looks at the counters: [`watched`](Self::watched) shows them.
    pub counted: bool,
    /// The time that a handler which is drained serves on.
    pub drain_delay: Duration,
}

/// The report of `status` about a handler.
#[derive(Debug, Serialize, serde::Deserialize)]
pub struct HandlerStatus {
    pub name: String,
    /// `serving`, `starting`, `waiting` until a process is started anew, `draining` or `drained`.
    pub state: String,
    pub generation: Option<u64>,
    pub pid: Option<u32>,
    /// The time since the start of the process.
    pub seconds: u64,
    /// True if another generation is about to take its place.
    pub replacing: bool,
    pub restarts: u64,
    pub addresses: Vec<String>,
    /// The certificates of the process.
    #[serde(default)]
    pub certificates: Vec<Certificate>,
    pub status: String,
    pub last_failure: Option<String>,
}

/// The report of `status`.
#[derive(Debug, Serialize, serde::Deserialize)]
pub struct Status {
    pub handlers: Vec<HandlerStatus>,
    /// The number of processes that finish their requests.
    pub ending: usize,
}

impl Handlers {
    /// Makes the handlers of a supervisor that was passed these sockets.
    pub fn new(passed: Vec<PassedSocket>) -> Handlers {
        Handlers {
            slots: BTreeMap::new(),
            ending: Vec::new(),
            passed,
            generations: 0,
            certificates_at: Instant::now(),
            counted: false,
            drain_delay: Duration::ZERO,
        }
    }

    /// Describes the handlers to the program that takes over from this one, and the processes that
    /// end. Generations that do not serve yet are left out.
    ///
    /// # Errors
    ///
    /// The configuration of a handler is wrong.
    pub fn hand_over<'a>(
        &'a self,
        fds: &mut Descriptors<'a>,
    ) -> Result<(Vec<SlotState>, Vec<EndingState>)> {
        let now = Instant::now();
        let slots = self.slots.values().map(|slot| slot.hand_over(now, fds));
        let slots = slots.collect::<Result<_>>()?;
        let ending = self.ending.iter();
        let ending = ending.map(|(name, process)| (name.clone(), process.hand_over(fds)));
        Ok((slots, ending.collect()))
    }

    /// Takes over handlers, and processes that end.
    ///
    /// # Errors
    ///
    /// The description is wrong, or this program does not know an option of a handler.
    pub fn take_over(
        mut self,
        slots: Vec<SlotState>,
        ending: &[EndingState],
        generations: u64,
        fds: &mut Received,
    ) -> Result<Handlers> {
        let now = Instant::now();
        for state in slots {
            let name = state.name.clone();
            let failed = || format!("cannot take over the handler `{}`", printable(&name, 100));
            let slot = Slot::take_over(state, now, fds).with_context(failed)?;
            let other = self.slots.insert(name.clone(), slot);
            ensure!(other.is_none(), "there are two handlers `{}`", printable(&name, 100));
        }
        for (name, process) in ending {
            self.ending.push((name.clone(), Process::take_over(process, fds)?));
        }
        self.generations = generations;
        Ok(self)
    }

    /// Starts what these handlers need beside what is there already, and ends all others.
    ///
    /// # Errors
    ///
    /// Some cannot be started, and stay as they are.
    pub fn apply(&mut self, handlers: Vec<Handler>) -> Result<(), Vec<String>> {
        let is_first = self.slots.is_empty();
        let mut problems = Vec::new();
        let removed: Vec<_> = self
            .slots
            .keys()
            .filter(|name| !handlers.iter().any(|it| it.name == **name))
            .cloned()
            .collect();
        for name in removed {
            tracing::info!(
                "the handler `{name}` ends: the configuration does not name it any more"
            );
            if let Some(slot) = self.slots.remove(&name) {
                self.end(slot);
            }
        }
        for handler in handlers {
            let name = handler.name.clone();
            if let Some(slot) = self.slots.get_mut(&name).filter(|slot| slot.drain.is_some()) {
                slot.handler = handler;
                let problem = format!("the handler `{name}` is drained: `drain --undo` ends that");
                tracing::warn!("{problem}");
                problems.push(problem);
                continue;
            }
            if let Err(error) = self.change(handler) {
                let problem = format!("the handler `{name}` cannot be started: {error:#}");
                tracing::error!("{problem}");
                problems.push(problem);
            }
        }
        if is_first && let Err(error) = sockets::check_left(&self.passed) {
            problems.push(format!("{error:#}"));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Starts a process for a handler, unless one serves it as it is.
    pub(super) fn change(&mut self, handler: Handler) -> Result<()> {
        let stamp = Stamp::compute(&handler);
        let old = self.slots.get(&handler.name);
        if old.is_some_and(|old| {
            old.current.is_some() && old.next.is_none() && old.stamp.is_same(&stamp)
        }) {
            return Ok(());
        }
        let open = |slot: &Slot| {
            let next = slot.next.iter().flat_map(|next| &next.sockets);
            slot.sockets.iter().chain(next).cloned().collect::<Vec<_>>()
        };
        let open: Vec<_> = self.slots.values().flat_map(open).collect();
        let sockets = sockets::listen(&handler, &open, &mut self.passed)?;
        self.generations += 1;
        let listening = sockets.iter().map(|socket| &**socket);
        let process = Process::start(&handler, listening, self.generations, self.counted)?;
        let name = handler.name.clone();
        tracing::debug!(
            "the handler `{name}`: generation {} starts, process {}",
            process.generation,
            process.pid()
        );
        let next = Next { process, handler: handler.clone(), stamp, sockets };
        if let Some(slot) = self.slots.get_mut(&name) {
            slot.restart_at = None;
            if let Some(mut other) = slot.next.replace(next) {
                other.process.kill();
                self.ending.push((name, other.process));
            }
            return Ok(());
        }
        self.slots.insert(name, Slot { next: Some(next), ..Slot::new(handler) });
        Ok(())
    }

    /// Ends the processes of a handler. Its sockets close with them.
    fn end(&mut self, slot: Slot) {
        let Slot { handler, sockets, current, next, .. } = slot;
        // First, so that clients that come later are refused, and do not wait for nothing.
        drop(sockets);
        if let Some(mut next) = next {
            next.process.kill();
            self.ending.push((handler.name.clone(), next.process));
        }
        if let Some(mut current) = current {
            current.end(grace(&handler) + MARGIN);
            self.ending.push((handler.name, current));
        }
    }

    /// Looks what has become of all processes. Those that have died are started anew, unless
    /// the end has begun.
    pub fn look(&mut self, is_ending: bool) -> Vec<Outcome> {
        let now = Instant::now();
        let mut outcomes = Vec::new();
        self.look_at_drains(now);
        if !is_ending {
            self.look_at_certificates(now);
        }
        for (name, slot) in &mut self.slots {
            outcomes.extend(slot.look_at_next(name, now, &mut self.ending));
            if slot.look_at_current(name, now) && !is_ending && slot.drain.is_none() {
                slot.schedule(name, now);
            }
        }
        let due =
            self.slots.values_mut().filter(|slot| slot.restart_at.is_some_and(|at| at <= now));
        let due: Vec<_> = due
            .filter(|_| !is_ending)
            .map(|slot| {
                slot.restart_at = None;
                slot.restarts += 1;
                slot.handler.clone()
            })
            .collect();
        for handler in due {
            let name = handler.name.clone();
            if let Err(error) = self.change(handler) {
                tracing::error!("the handler `{name}` cannot be started: {error:#}");
                if let Some(slot) = self.slots.get_mut(&name) {
                    slot.restart_at = Some(now + LONGEST_PAUSE);
                }
            }
        }
        let slots = &mut self.slots;
        self.ending.retain_mut(|(name, process)| {
            process.hear();
            if process.kill_if_late(now) {
                tracing::warn!(
                    "generation {} of `{name}` did not end in time, and is killed",
                    process.generation
                );
            }
            let ended = process.has_ended();
            if let Some(status) = ended {
                tracing::debug!(
                    "generation {} of `{name}` has ended: {status}",
                    process.generation
                );
                if let Some(slot) = slots.get_mut(name) {
                    slot.past.add(process);
                }
            }
            ended.is_none()
        });
        outcomes
    }

    /// Returns the earliest time at which there is something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        let now = Instant::now();
        let of_slot = |slot: &Slot| {
            let next = slot.next.as_ref().and_then(|next| next.process.deadline);
            let drain = slot.drain.and_then(|drain| drain.deadline(now));
            slot.restart_at.into_iter().chain(next).chain(drain)
        };
        let ending = self.ending.iter().filter_map(|(_, process)| process.deadline);
        self.slots
            .values()
            .flat_map(of_slot)
            .chain(ending)
            .chain(self.certificates_deadline())
            .min()
    }

    /// Returns the descriptors that become readable at a report.
    pub fn doors(&self) -> Vec<BorrowedFd<'_>> {
        let current = self.slots.values().filter_map(|slot| slot.current.as_ref());
        let next = self.slots.values().filter_map(|slot| slot.next.as_ref());
        let next = next.map(|next| &next.process);
        let ending = self.ending.iter().map(|(_, process)| process);
        current.chain(next).chain(ending).map(Process::door).collect()
    }

    /// Returns true if a process has not come to serve yet.
    pub fn are_starting(&self) -> bool {
        self.slots.values().any(|slot| slot.next.is_some())
    }

    /// Returns the number of generations so far.
    pub fn generations(&self) -> u64 {
        self.generations
    }

    /// Returns the number of handlers.
    pub fn count(&self) -> usize {
        self.slots.len()
    }

    /// Returns the longest time that a handler has for its requests at the end.
    pub fn longest_grace(&self) -> Duration {
        self.slots.values().map(|slot| grace(&slot.handler)).max().unwrap_or_default()
    }

    /// Has the processes that serve print their counters.
    pub fn print_counters(&mut self) {
        for process in self.slots.values_mut().filter_map(|slot| slot.current.as_mut()) {
            process.print_counters();
        }
    }

    /// Kills all processes, and waits for their end.
    pub fn kill(&mut self) {
        for (name, slot) in std::mem::take(&mut self.slots) {
            let Slot { current, next, .. } = slot;
            let all = current.into_iter().chain(next.map(|next| next.process));
            self.ending.extend(all.map(|process| (name.clone(), process)));
        }
        for (_, process) in &mut self.ending {
            process.kill();
            // A process that was killed ends at once.
            process.wait();
        }
        self.ending.clear();
    }

    /// Returns what there is to see of all handlers.
    pub fn watched(&self) -> Vec<Watched> {
        let Status { handlers, .. } = self.status();
        let watched = |(status, (name, slot)): (HandlerStatus, (&String, &Slot))| {
            let ending = self.ending.iter().filter(|(other, _)| other == name);
            let ending = ending.map(|(_, process)| process);
            let next = slot.next.as_ref().map(|next| &next.process);
            let processes = slot.current.iter().chain(next).chain(ending);
            let live = processes.filter_map(|process| process.counters.clone()).collect();
            Watched { status, past: slot.past.clone(), live }
        };
        handlers.into_iter().zip(&self.slots).map(watched).collect()
    }

    /// Returns the number of processes that finish their requests.
    pub fn ending(&self) -> usize {
        self.ending.len()
    }

    /// Returns a report about all handlers.
    pub fn status(&self) -> Status {
        let status = |(name, slot): (&String, &Slot)| {
            let process = slot.current.as_ref().or(slot.next.as_ref().map(|next| &next.process));
            let (handler, sockets) = match &slot.next {
                Some(next) if slot.current.is_none() => (&next.handler, &next.sockets),
                _ => (&slot.handler, &slot.sockets),
            };
            let state = match (&slot.current, &slot.next) {
                (Some(_), _) => "serving",
                (None, Some(_)) => "starting",
                (None, None) => "waiting",
            };
            let state = slot.drain.map_or(state, Drain::word);
            HandlerStatus {
                name: name.clone(),
                state: state.to_owned(),
                generation: process.map(|process| process.generation),
                pid: process.map(Process::pid),
                seconds: process.map_or(0, |process| process.started.elapsed().as_secs()),
                replacing: slot.current.is_some() && slot.next.is_some(),
                restarts: slot.restarts,
                addresses: sockets::urls(handler, sockets),
                certificates: process.map_or(Vec::new(), |it| it.certificates.clone()),
                status: process.map(|process| process.status.clone()).unwrap_or_default(),
                last_failure: slot.last_failure.clone(),
            }
        };
        Status { handlers: self.slots.iter().map(status).collect(), ending: self.ending.len() }
    }
}
