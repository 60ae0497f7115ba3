//! The access log: a line for each request.

use std::time::Duration;

use socketserver::{Address, HandlerError, Request, Usage};

use super::log_text::ACCESS;

/// The requests that have a line in the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLog {
    /// None.
    Off,
    /// Requests that failed.
    Failed,
    /// All.
    All,
}

impl AccessLog {
    /// All values.
    pub const ALL: [AccessLog; 3] = [AccessLog::Off, AccessLog::Failed, AccessLog::All];

    /// Returns the word for the value, as options write it.
    pub fn as_str(self) -> &'static str {
        match self {
            AccessLog::Off => "off",
            AccessLog::Failed => "failed",
            AccessLog::All => "all",
        }
    }

    /// Logs a line about a request that has ended, if it is to have one.
    pub fn log(self, names: Names<'_>, request: Option<&Request>, ended: Ended<'_>) {
        if self == AccessLog::Off || self == AccessLog::Failed && ended.error.is_none() {
            return;
        }
        let Names { handler, generation } = names;
        let (blame, reason) = ended.blame_and_reason();
        let usage = request.and_then(Request::usage);
        tracing::info!(
            target: ACCESS,
            handler,
            generation,
            peer = ended.client_address.to_string(),
            blame,
            reason,
            duration_us = request.map(|request| microseconds(request.begun().elapsed())),
            cpu_us = usage.map(|Usage { cpu_time, .. }| microseconds(cpu_time)),
            memory = usage.map(|Usage { memory, .. }| memory),
            received = request.map(Request::received),
            sent = request.map(Request::sent),
            "request"
        );
    }
}

/// The names of the handler of a request.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// The name of the handler.
    pub handler: &'a str,
    /// The number of its generation, if `up` has started it.
    pub generation: Option<u64>,
}

/// The end of a request.
#[derive(Debug, Clone, Copy)]
pub struct Ended<'a> {
    /// The client.
    pub client_address: &'a Address,
    /// The error, if the request failed.
    pub error: Option<&'a HandlerError>,
}

impl Ended<'_> {
    /// Returns the words for the cause of the failure, and for its reason.
    fn blame_and_reason(self) -> (&'static str, &'static str) {
        let words = |error: &HandlerError| (error.blame().as_str(), error.reason().as_str());
        self.error.map_or(("none", "ok"), words)
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
