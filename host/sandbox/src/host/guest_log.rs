//! What a guest writes to the log: with `log`, and to its standard output and
//! error.

use std::fmt::Write;

use tracing::Level;

use crate::host::state::State;
use crate::policy::{MAX_LOG_LINE, Policy};
use socketserver::printable;

/// Where a line comes from that a guest wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standard {
    Output,
    Error,
}

/// The lines that a guest has begun to write to its standard output and error.
#[derive(Debug, Default)]
pub(crate) struct Unfinished {
    output: Line,
    error: Line,
}

/// The beginning of a line, as much of it as is logged, and how much more of it
/// there was.
#[derive(Debug, Default)]
struct Line {
    bytes: Vec<u8>,
    more: u64,
}

/// Whether the request may still log something: if not, there is no need to make
/// a line.
pub(crate) fn has_room(state: &State) -> bool {
    state.log_bytes_left.is_some()
}

/// Logs one line, which is [`printable`], if the request may still log as much:
/// all that a guest logs comes through here.
pub(crate) fn log(state: &mut State, level: Level, message: &str) {
    let Some(left) = state.log_bytes_left else { return };
    state.log_bytes_left = left.checked_sub(message.len().max(Policy::MIN_LOG_LINE));
    let peer = state.peer.as_ref().map(|peer| peer.client_address.to_string());
    let (handler, peer) = (&*state.handler, peer.as_deref());
    if state.log_bytes_left.is_none() {
        let limit = state.log_bytes;
        tracing::warn!(
            handler,
            peer,
            blame = "guest",
            reason = "log-bytes",
            "the handler had more than {limit} bytes to log for this request; this and what it logs from here on is dropped"
        );
        if let Some(counters) = &state.counters {
            counters.log_limit_reached();
        }
        return;
    }
    match level {
        Level::ERROR => tracing::error!(target: "guest", handler, peer, "{message}"),
        Level::WARN => tracing::warn!(target: "guest", handler, peer, "{message}"),
        Level::INFO => tracing::info!(target: "guest", handler, peer, "{message}"),
        _ => tracing::debug!(target: "guest", handler, peer, "{message}"),
    }
}

/// Logs the lines that end in `data`, and keeps the beginning of the next one.
pub(crate) fn write(state: &mut State, standard: Standard, data: &[u8]) {
    let mut rest = data;
    while has_room(state) {
        let end = rest.iter().position(|byte| *byte == b'\n');
        line(state, standard).push(&rest[..end.unwrap_or(rest.len())]);
        let Some(end) = end else { return };
        finish(state, standard);
        rest = &rest[end + 1..];
    }
}

/// Logs the lines that the guest did not end itself.
pub(crate) fn finish_all(state: &mut State) {
    if state.unfinished.is_none() {
        return;
    }
    for standard in [Standard::Output, Standard::Error] {
        if !line(state, standard).is_empty() {
            finish(state, standard);
        }
    }
}

fn line(state: &mut State, standard: Standard) -> &mut Line {
    let unfinished = state.unfinished.get_or_insert_default();
    match standard {
        Standard::Output => &mut unfinished.output,
        Standard::Error => &mut unfinished.error,
    }
}

fn finish(state: &mut State, standard: Standard) {
    let message = line(state, standard).take();
    let level = match standard {
        Standard::Output => Level::INFO,
        Standard::Error => Level::WARN,
    };
    log(state, level, &message);
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

    /// The line as it is logged; it begins anew.
    fn take(&mut self) -> String {
        let mut kept = self.bytes.as_slice();
        let mut more = std::mem::take(&mut self.more);
        if more > 0
            && let Err(error) = std::str::from_utf8(kept)
            && error.error_len().is_none()
        {
            // A character that was cut.
            more = more.saturating_add((kept.len() - error.valid_up_to()) as u64);
            kept = &kept[..error.valid_up_to()];
        }
        // What is not text takes more room as text.
        let mut message = printable(&String::from_utf8_lossy(kept), 3 * MAX_LOG_LINE);
        if more > 0 {
            // Writing to a String does not fail.
            let _ = write!(message, "... ({more} bytes more)");
        }
        self.bytes.clear();
        message
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
    fn a_line_is_put_together_escaped_and_begun_anew() {
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
