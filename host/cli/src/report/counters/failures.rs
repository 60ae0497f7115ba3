//! The last failures of requests, in memory that processes share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use socketserver::{Address, Blame, HandlerError, Reason, printable, shared_data};

use super::in_flight::SharedPeer;
use super::numbers::{get, set};

/// The number of failures that are kept.
const KEPT: usize = 32;

/// The longest end of a text that was cut, in bytes.
const ELLIPSIS: usize = 40;

/// The words of eight bytes for the text of a failure.
const WORDS: usize = 25;

shared_data! {
    /// The failures.
    #[derive(Debug)]
    pub struct SharedFailures {
        next: AtomicU64,
        places: [Place; KEPT],
    }
}

shared_data! {
    /// A failure.
    #[derive(Debug)]
    struct Place {
        /// Zero if the place is empty, or is being written; or else the number of the failure.
        number: AtomicU64,
        /// Seconds since 1970.
        time: AtomicU64,
        reason: AtomicU64,
        peer: SharedPeer,
        length: AtomicU64,
        text: [AtomicU64; WORDS],
    }
}

/// A failure that is shown.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// The number of the failure, in the order of all failures of the server.
    pub number: u64,
    /// Seconds since 1970.
    pub time: u64,
    /// The client.
    pub peer: String,
    /// The party to blame.
    pub blame: &'static str,
    /// The reason.
    pub reason: &'static str,
    /// The error, which the handler may have written, without control characters.
    pub error: String,
}

impl SharedFailures {
    /// Keeps a failure in place of the oldest one.
    pub fn keep(&self, client: &Address, error: &HandlerError) {
        let number = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let place = &self.places[usize::try_from(number % KEPT as u64).unwrap_or_default()];
        set(&place.number, 0);
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        set(&place.time, since_1970.as_ref().map_or(0, Duration::as_secs));
        let index = Reason::ALL.iter().position(|reason| *reason == error.reason());
        set(&place.reason, index.unwrap_or(usize::MAX) as u64);
        place.peer.write(client);
        let text = printable(&format!("{error:#}"), WORDS * 8 - ELLIPSIS);
        let bytes = &text.as_bytes()[..text.len().min(WORDS * 8)];
        set(&place.length, bytes.len() as u64);
        for (word, bytes) in place.text.iter().zip(bytes.chunks(8)) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            set(word, u64::from_ne_bytes(whole));
        }
        place.number.store(number, Ordering::Release);
    }

    /// Returns the failures, the last one first. One that is being written is not among them.
    pub fn last(&self) -> Vec<Failure> {
        let mut all: Vec<_> = self.places.iter().filter_map(Place::read).collect();
        all.sort_by_key(|failure| std::cmp::Reverse(failure.number));
        all
    }
}

impl Place {
    fn read(&self) -> Option<Failure> {
        let number = self.number.load(Ordering::Acquire);
        let reason = usize::try_from(get(&self.reason)).ok().and_then(|at| Reason::ALL.get(at));
        let bytes = self.text.iter().flat_map(|word| get(word).to_ne_bytes());
        let length = usize::try_from(get(&self.length)).unwrap_or(0);
        let bytes: Vec<u8> = bytes.take(length).collect();
        let failure = Failure {
            number,
            time: get(&self.time),
            peer: self.peer.read(),
            blame: reason.map_or(Blame::Host, |reason| reason.blame()).as_str(),
            reason: reason?.as_str(),
            // Native code that escaped from a sandbox can write anything.
            error: printable(&String::from_utf8_lossy(&bytes), WORDS * 8),
        };
        (number != 0 && self.number.load(Ordering::Acquire) == number).then_some(failure)
    }
}

#[cfg(test)]
mod tests {
    use socketserver::Shared;

    use super::*;

    #[test]
    fn the_last_failures_are_kept() {
        let shared = Shared::<SharedFailures>::zeroed().unwrap();
        let client = "192.0.2.1:50".parse::<std::net::SocketAddr>().unwrap().into();
        for number in 0..40 {
            shared.keep(&client, &HandlerError::new(Reason::Trap, format!("no {number}\n")));
        }
        let last = shared.last();
        assert_eq!(last.len(), KEPT);
        assert!(last[0].error.contains("no 39\\n"), "{:?}", last[0]);
        assert_eq!((last[0].peer.as_str(), last[0].reason), ("192.0.2.1:50", "trap"));
        let long = "\u{1f600}\u{1}".repeat(1000);
        shared.keep(&client, &HandlerError::new(Reason::Error, long));
        let error = &shared.last()[0].error;
        assert!(error.len() <= WORDS * 8 + ELLIPSIS && error.contains('\u{1f600}'), "{error}");
    }

    #[test]
    fn numbers_that_a_process_made_up_do_no_harm() {
        let shared = Shared::<SharedFailures>::zeroed().unwrap();
        for place in &shared.places {
            set(&place.number, u64::MAX);
            set(&place.reason, 1);
            set(&place.length, u64::MAX);
            place.text.iter().for_each(|word| set(word, u64::MAX));
        }
        assert!(shared.last().iter().all(|failure| failure.error.len() <= WORDS * 8 + ELLIPSIS));
        shared.places.iter().for_each(|place| set(&place.reason, u64::MAX));
        assert!(shared.last().is_empty());
    }
}
