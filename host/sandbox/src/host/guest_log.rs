//! Lines that guests write to the log: with `log`, and to standard output and error.

use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use socketserver::{Address, printable};
use tracing::Level;

use crate::host::counters::HandlerCounters;
use crate::policy::{MAX_LOG_LINE, Policy};

/// A stream of a guest whose lines go to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standard {
    Output,
    Error,
}

/// The log of one guest, for its instance and its streams.
#[derive(Clone)]
pub(crate) struct SharedLog(Arc<Mutex<GuestLog>>);

impl SharedLog {
    pub(crate) fn new(log: GuestLog) -> Self {
        SharedLog(Arc::new(Mutex::new(log)))
    }

    /// Returns the log. Only the thread of the instance uses it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, GuestLog> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log of one guest, which has a limit. Every line of a guest goes through it.
pub(crate) struct GuestLog {
    /// The name of the handler.
    handler: Arc<str>,
    /// The bytes that the request may log.
    limit: usize,
    /// The bytes that are left of them; `None` when the log has said that none are left.
    left: Option<usize>,
    counters: Option<Arc<dyn HandlerCounters>>,
    /// The client of the request; `None` before the request.
    client: Option<Address>,
    /// The unfinished lines; `None` if the guest never wrote to a standard stream.
    unfinished: Option<Box<Unfinished>>,
}

/// The lines that a guest has begun on its standard output and error.
#[derive(Debug, Default)]
struct Unfinished {
    output: Line,
    error: Line,
}

/// The beginning of a line, as much of it as is logged.
#[derive(Debug, Default)]
struct Line {
    bytes: Vec<u8>,
    /// The number of bytes that follow.
    more: u64,
}

impl GuestLog {
    pub(crate) fn new(
        handler: Arc<str>,
        limit: usize,
        counters: Option<Arc<dyn HandlerCounters>>,
    ) -> Self {
        GuestLog { handler, limit, left: Some(limit), counters, client: None, unfinished: None }
    }

    /// Returns the name of the handler.
    pub(crate) fn handler(&self) -> &str {
        &self.handler
    }

    /// Sets the client of the request. Later lines name it.
    pub(crate) fn set_client(&mut self, client: Address) {
        self.client = Some(client);
    }

    /// Counts what the guest logs from now on.
    pub(crate) fn set_counters(&mut self, counters: Arc<dyn HandlerCounters>) {
        self.counters = Some(counters);
    }

    /// Returns `true` if the request may still log something. If not, there is no need to
    /// compose a line.
    pub(crate) fn has_room(&self) -> bool {
        self.left.is_some()
    }

    /// Logs one line, which must be [`printable`], if the request may still log as much.
    pub(crate) fn write_line(&mut self, level: Level, line: &str) {
        let Some(left) = self.left else { return };
        self.left = left.checked_sub(line.len().max(Policy::MIN_LOG_LINE));
        let peer = self.client.as_ref().map(Address::to_string);
        let (handler, peer) = (&*self.handler, peer.as_deref());
        if self.left.is_none() {
            tracing::warn!(
                handler,
                peer,
                blame = "guest",
                reason = "log-bytes",
                "the handler had more than {} bytes to log for this request, and the rest is dropped",
                self.limit
            );
            if let Some(counters) = &self.counters {
                counters.log_limit_reached();
            }
            return;
        }
        match level {
            Level::ERROR => tracing::error!(target: "guest", handler, peer, "{line}"),
            Level::WARN => tracing::warn!(target: "guest", handler, peer, "{line}"),
            Level::INFO => tracing::info!(target: "guest", handler, peer, "{line}"),
            _ => tracing::debug!(target: "guest", handler, peer, "{line}"),
        }
    }

    /// Logs the lines that end in `data`, and keeps the beginning of the next one.
    pub(crate) fn write_output(&mut self, standard: Standard, data: &[u8]) {
        let mut rest = data;
        while self.has_room() {
            let end = rest.iter().position(|byte| *byte == b'\n');
            self.line(standard).push(&rest[..end.unwrap_or(rest.len())]);
            let Some(end) = end else { return };
            self.finish_line(standard);
            rest = &rest[end + 1..];
        }
    }

    /// Logs that the host has denied the guest a call.
    pub(crate) fn write_denial(&self, call: &str) {
        let peer = self.client.as_ref().map(Address::to_string);
        let (handler, peer) = (&*self.handler, peer.as_deref());
        tracing::info!(call = printable(call, MAX_LOG_LINE), handler, peer, "denied");
    }

    /// Logs the lines that the guest did not end itself.
    pub(crate) fn finish(&mut self) {
        if self.unfinished.is_none() {
            return;
        }
        for standard in [Standard::Output, Standard::Error] {
            if !self.line(standard).is_empty() {
                self.finish_line(standard);
            }
        }
    }

    fn line(&mut self, standard: Standard) -> &mut Line {
        let unfinished = self.unfinished.get_or_insert_default();
        match standard {
            Standard::Output => &mut unfinished.output,
            Standard::Error => &mut unfinished.error,
        }
    }

    fn finish_line(&mut self, standard: Standard) {
        let line = self.line(standard).take();
        let level = match standard {
            Standard::Output => Level::INFO,
            Standard::Error => Level::WARN,
        };
        self.write_line(level, &line);
    }
}

impl Line {
    fn push(&mut self, data: &[u8]) {
        let room = MAX_LOG_LINE.saturating_sub(self.bytes.len());
        let (kept, more) = data.split_at(room.min(data.len()));
        self.bytes.extend_from_slice(kept);
        self.more = self.more.saturating_add(more.len() as u64);
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.more == 0
    }

    /// Returns the line as the log has it, and begins a new one.
    fn take(&mut self) -> String {
        let mut kept = self.bytes.as_slice();
        let mut more = std::mem::take(&mut self.more);
        if more > 0
            && let Err(error) = std::str::from_utf8(kept)
            && error.error_len().is_none()
        {
            // The last character was cut.
            more = more.saturating_add((kept.len() - error.valid_up_to()) as u64);
            kept = &kept[..error.valid_up_to()];
        }
        // Bytes that are not text take more room as text.
        let mut line = printable(&String::from_utf8_lossy(kept), 3 * MAX_LOG_LINE);
        if more > 0 {
            // Writing to a String does not fail.
            let _ = write!(line, "... ({more} bytes more)");
        }
        self.bytes.clear();
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(parts: &[&[u8]]) -> (Line, String) {
        let mut line = Line::default();
        for part in parts {
            line.push(part);
        }
        let message = line.take();
        (line, message)
    }

    #[test]
    fn a_line_is_joined_and_escaped_and_a_new_one_begins() {
        let (left, message) = line(&[b"a\x1b", b"[2J\r", b"\xff"]);
        assert_eq!(message, "a\\u{1b}[2J\\r\u{fffd}");
        assert!(left.is_empty());
    }

    #[test]
    fn a_line_keeps_no_more_than_is_logged() {
        let mut long = Line::default();
        for _ in 0..1000 {
            long.push(&[b'a'; 1000]);
        }
        assert_eq!(long.bytes.len(), MAX_LOG_LINE);
        let expected = "a".repeat(MAX_LOG_LINE) + "... (998976 bytes more)";
        assert_eq!(long.take(), expected);
        let (_, message) = line(&[&[b'a'; MAX_LOG_LINE - 1], "é".as_bytes()]);
        assert_eq!(message, "a".repeat(MAX_LOG_LINE - 1) + "... (2 bytes more)");
    }
}
