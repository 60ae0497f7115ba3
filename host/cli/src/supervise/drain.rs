//! `drain`: a handler finishes what it has begun, and takes no more clients.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::handlers::Handlers;
use super::slot::{Slot, grace};
use super::{LOOK, MARGIN};

/// The phases of a handler that is drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// It serves on until that time, so that a balancer can learn that it is not ready.
    Delay(Instant),
    /// It serves the clients that wait already, until that time.
    Queues(Instant),
    /// Its sockets are closed.
    Closed,
}

impl Handlers {
    /// Begins to drain a handler, or all, which serve on for `delay`.
    ///
    /// # Errors
    ///
    /// There is no handler with this name.
    pub fn drain(&mut self, name: Option<&str>, delay: Duration) -> Result<()> {
        let until = Instant::now() + delay;
        for (name, slot) in self.named(name)? {
            slot.restart_at = None;
            match slot.drain {
                None => {
                    tracing::info!("the handler `{name}` is drained");
                    slot.drain = Some(Drain::Delay(until));
                }
                Some(Drain::Delay(other)) => slot.drain = Some(Drain::Delay(until.min(other))),
                Some(Drain::Queues(_) | Drain::Closed) => {}
            }
        }
        Ok(())
    }

    /// Has a handler serve that was drained, or all that were.
    ///
    /// # Errors
    ///
    /// There is no handler with this name, or one cannot be started.
    pub fn undo_drain(&mut self, name: Option<&str>) -> Result<()> {
        let mut again = Vec::new();
        for (_, slot) in self.named(name)? {
            if slot.drain.take().is_some() {
                // The configuration may have changed meanwhile.
                again.push(slot.handler.clone());
            }
        }
        let mut problems = Vec::new();
        for handler in again {
            let name = handler.name.clone();
            tracing::info!("the handler `{name}` serves again");
            if let Err(error) = self.change(handler) {
                if let Some(slot) = self.slots.get_mut(&name).filter(|it| it.current.is_none()) {
                    slot.drain = Some(Drain::Closed);
                }
                problems.push(format!("the handler `{name}` cannot be started: {error:#}"));
            }
        }
        if problems.is_empty() { Ok(()) } else { bail!(problems.join("\n")) }
    }

    /// Returns `Ok` if a handler, or all, have finished what they had begun, an error if one
    /// serves again, and `None` otherwise.
    pub fn drained(&self, name: Option<&str>) -> Option<Result<(), String>> {
        let is_named = |other: &str| name.is_none_or(|name| name == other);
        let mut are_closed = true;
        for (name, slot) in self.slots.iter().filter(|(name, _)| is_named(name)) {
            match slot.drain {
                None => return Some(Err(format!("the handler `{name}` serves again"))),
                Some(drain) => are_closed &= drain == Drain::Closed,
            }
        }
        let are_ending = self.ending.iter().any(|(name, _)| is_named(name));
        (are_closed && !are_ending).then_some(Ok(()))
    }

    /// Goes on with the handlers that are drained.
    pub(super) fn look_at_drains(&mut self, now: Instant) {
        for (name, slot) in &mut self.slots {
            if slot.drain.is_some_and(|drain| matches!(drain, Drain::Delay(until) if until <= now))
            {
                slot.drain = Some(Drain::Queues(now + grace(&slot.handler)));
            }
            let Some(Drain::Queues(until)) = slot.drain else { continue };
            let serves = slot.current.is_some();
            if until > now && serves && slot.sockets.iter().any(|socket| socket.has_clients()) {
                continue;
            }
            // Those of systemd are open in any case.
            slot.sockets.retain(|socket| {
                if !socket.is_passed() {
                    socket.refuse();
                }
                socket.is_passed()
            });
            if let Some(mut next) = slot.next.take() {
                next.process.kill();
                self.ending.push((name.clone(), next.process));
            }
            if let Some(mut current) = slot.current.take() {
                current.end(grace(&slot.handler) + MARGIN);
                self.ending.push((name.clone(), current));
            }
            slot.drain = Some(Drain::Closed);
        }
    }

    fn named(&mut self, name: Option<&str>) -> Result<Vec<(&String, &mut Slot)>> {
        if let Some(name) = name
            && !self.slots.contains_key(name)
        {
            let names: Vec<_> = self.slots.keys().map(|name| format!("`{name}`")).collect();
            bail!("there is no handler `{name}`; the handlers are {}", names.join(", "));
        }
        let is_named = |other: &String| name.is_none_or(|name| name == other);
        Ok(self.slots.iter_mut().filter(|(name, _)| is_named(name)).collect())
    }
}

impl Drain {
    /// Returns the time at which there is something to do.
    pub fn deadline(self, now: Instant) -> Option<Instant> {
        match self {
            Drain::Delay(until) => Some(until),
            Drain::Queues(until) => Some(until.min(now + LOOK)),
            Drain::Closed => None,
        }
    }

    /// Returns the word for the state of such a handler.
    pub fn word(self) -> &'static str {
        match self {
            Drain::Delay(_) | Drain::Queues(_) => "draining",
            Drain::Closed => "drained",
        }
    }
}
