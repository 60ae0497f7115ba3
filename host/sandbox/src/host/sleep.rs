//! Waiting for time to pass, or for sockets.

use std::io::{self, PipeReader};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use socketserver::{Readiness, Request};
use wasmtime::Result;
use wasmtime::error::format_err;

use crate::limits::kill::Kill;

/// The events that a guest waits for.
#[derive(Default)]
pub(crate) struct Wake {
    /// The time until which it waits; `None` if it waits for no time.
    pub at: Option<Instant>,
    /// The descriptors that it waits for, with the directions.
    pub awaited: Vec<(Source, Readiness)>,
    /// Set if it waits for something that never comes.
    pub never: bool,
}

/// A descriptor that a guest waits for.
pub(crate) enum Source {
    /// The connection of a program, or a socket that a guest has opened.
    Socket(Request),
    /// The end of a lookup.
    Lookup(Arc<PipeReader>),
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Source::Socket(request) => request.as_fd(),
            Source::Lookup(done) => done.as_fd(),
        }
    }
}

impl Source {
    /// Returns the directions in which to wait for the descriptor.
    fn directions(&self, wanted: Readiness) -> Readiness {
        match self {
            Source::Socket(request) => request.awaited_directions(wanted),
            Source::Lookup(_) => wanted,
        }
    }
}

impl Wake {
    /// Forgets all events.
    pub(crate) fn clear(&mut self) {
        self.at = None;
        self.awaited.clear();
        self.never = false;
    }

    /// Returns true if the guest waits for none of these events.
    pub(crate) fn is_empty(&self) -> bool {
        self.at.is_none() && self.awaited.is_empty() && !self.never
    }

    /// Returns the limit for which a guest is ended that waited for these events.
    fn kill(&self, error: &io::Error) -> Option<Kill> {
        let is_client = |source: &Source| matches!(source, Source::Socket(one) if !one.is_opened());
        if self.awaited.is_empty() {
            Kill::of_sleep(error)
        } else if self.awaited.iter().any(|(source, _)| is_client(source)) {
            Kill::of_call(error)
        } else {
            Kill::of_opened(error)
        }
    }
}

/// Work for a guest that goes on while the guest waits.
pub(crate) trait InBackground: Send + Sync {
    /// Does what can be done without waiting, and returns the event to wait for if there is
    /// more to do.
    fn advance(&self) -> Option<(Source, Readiness)>;
}

/// The waiting of one guest.
///
/// For the request this is a wait like any other: it counts for the idle timeout and the
/// wall time, and not as CPU time. An instance that is created before there is a request may
/// sleep for as long as the idle timeout in all.
pub(crate) struct Sleep {
    /// The request, if the guest may have to wait for time to pass.
    pub request: Option<Request>,
    /// The time that the guest may still sleep before it has a request.
    left: Duration,
    /// The limit of that, which is the idle timeout.
    limit: Duration,
    /// Work that goes on while the guest waits.
    background: Vec<Weak<dyn InBackground>>,
}

impl Sleep {
    pub(crate) fn new(idle_timeout: Duration) -> Self {
        Sleep { request: None, left: idle_timeout, limit: idle_timeout, background: Vec::new() }
    }

    /// Goes on with `work` whenever the guest waits, until it is dropped.
    pub(crate) fn go_on_with(&mut self, work: Weak<dyn InBackground>) {
        self.background.retain(|work| work.strong_count() > 0);
        self.background.push(work);
    }

    /// Goes on with all work, and returns true if there is more to do.
    pub(crate) fn works_in_background(&self) -> bool {
        let background = self.background.iter().filter_map(Weak::upgrade);
        background.filter_map(|work| work.advance()).count() > 0
    }

    /// Waits for the first event of `wake`, or for ever if there is none.
    ///
    /// # Errors
    ///
    /// A limit was reached. The error ends the guest.
    pub(crate) async fn until(&mut self, wake: &mut Wake) -> Result<()> {
        let background = self.background.iter().filter_map(Weak::upgrade);
        wake.awaited.extend(background.filter_map(|work| work.advance()));
        let Some(request) = &self.request else { return self.before_the_request(wake.at) };
        let awaited = wake.awaited.iter();
        let awaited: Vec<_> =
            awaited.map(|(source, wanted)| (source.as_fd(), source.directions(*wanted))).collect();
        let waited = request.wait_until_any_is_ready_async(&awaited, wake.at).await;
        waited.map_err(|error| failed(&error, wake.kill(&error)))
    }

    /// Sleeps in an instance that has no request. A guest that would sleep beyond the limit
    /// is ended at once: to wait until then would serve no client.
    fn before_the_request(&mut self, end: Option<Instant>) -> Result<()> {
        let pause = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
        let Some(left) = self.left.checked_sub(pause) else {
            return Err(Kill::Sleep { limit: self.limit }.into());
        };
        self.left = left;
        thread::sleep(pause);
        Ok(())
    }
}

fn failed(error: &io::Error, kill: Option<Kill>) -> wasmtime::Error {
    kill.map_or_else(|| format_err!("cannot wait: {error}"), Into::into)
}
