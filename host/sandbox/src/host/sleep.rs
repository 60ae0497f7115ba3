//! Waiting for time to pass.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use socketserver::{IdleTimeout, Request, WallTimeout};
use wasmtime::Result;

use crate::limits::kill::Kill;

/// The waiting of one guest for time to pass.
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

    /// Waits until `end`, or for ever if that is `None`.
    ///
    /// # Errors
    ///
    /// A limit was reached. The error ends the guest.
    pub(crate) async fn until(&mut self, end: Option<Instant>) -> Result<()> {
        match &self.request {
            Some(request) => request.sleep_until_async(end).await.map_err(|error| kill(&error)),
            None => self.before_the_request(end),
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

fn kill(error: &io::Error) -> wasmtime::Error {
    let inner = error.get_ref();
    if let Some(idle) = inner.and_then(|inner| inner.downcast_ref::<IdleTimeout>()) {
        return Kill::Sleep { limit: idle.limit }.into();
    }
    if let Some(wall) = inner.and_then(|inner| inner.downcast_ref::<WallTimeout>()) {
        return Kill::WallTime { limit: wall.limit }.into();
    }
    wasmtime::error::format_err!("cannot wait: {error}")
}
