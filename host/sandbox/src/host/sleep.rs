//! Waiting for time to pass, or for the connection of a program.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use socketserver::{Readiness, Request};
use wasmtime::Result;
use wasmtime::error::format_err;

use crate::limits::kill::Kill;

/// The events that a guest waits for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wake {
    /// The time until which it waits; `None` if it waits for no time.
    pub at: Option<Instant>,
    /// The directions in which it waits for its connection.
    pub connection: Readiness,
}

impl Wake {
    /// No event.
    pub(crate) const NEVER: Wake =
        Wake { at: None, connection: Readiness { readable: false, writable: false } };
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
}

impl Sleep {
    pub(crate) fn new(idle_timeout: Duration) -> Self {
        Sleep { request: None, left: idle_timeout, limit: idle_timeout }
    }

    /// Waits for the first event of `wake`, or for ever if there is none.
    ///
    /// # Errors
    ///
    /// A limit was reached. The error ends the guest.
    pub(crate) async fn until(&mut self, wake: Wake) -> Result<()> {
        match &self.request {
            Some(request) if wake.connection.any() => {
                let waited = request.wait_until_ready_async(wake.connection, wake.at).await;
                waited.map_err(|error| failed(&error, Kill::of_call(&error)))
            }
            Some(request) => {
                let slept = request.sleep_until_async(wake.at).await;
                slept.map_err(|error| failed(&error, Kill::of_sleep(&error)))
            }
            None => self.before_the_request(wake.at),
        }
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
