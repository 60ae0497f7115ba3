//! Looking up names of hosts.
//!
//! The C library's `getaddrinfo` knows what the operator configured, and has no deadline. So it
//! runs in a thread of its own. The thread of the request waits for it as for a socket, with
//! the limits of the request, and leaves it behind if it takes too long.

use std::io::{self, PipeReader};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use dns_lookup::{AddrInfoHints, LookupErrorKind};
use socketserver::Request;

/// The number of lookups that a process does at once. More fail at once.
const MAX_LOOKUPS: usize = 16;
/// The longest time that one lookup may take.
pub(crate) const LONGEST_LOOKUP: Duration = Duration::from_secs(30);
/// The number of results of one lookup that a guest gets.
const MAX_RESULTS: usize = 64;

/// The number of lookups that go on.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// A result of a lookup.
#[derive(Debug)]
pub(crate) struct Found {
    pub socket_type: i32,
    pub protocol: i32,
    pub address: SocketAddr,
}

/// A lookup: the arguments of `getaddrinfo`.
#[derive(Debug)]
pub(crate) struct Lookup {
    pub host: Option<String>,
    pub service: Option<String>,
    pub hints: AddrInfoHints,
}

/// The results of a lookup, or the reason why there are none.
pub(crate) type LookupOutcome = Result<Vec<Found>, LookupErrorKind>;

/// The longest name and the longest number of a service that are looked up, in bytes.
pub(crate) const LONGEST_NAME: usize = 255;

/// The flags that a guest may pass. Others make the C library load libraries, or are unknown.
pub(crate) const GUEST_FLAGS: i32 = libc::AI_PASSIVE
    | libc::AI_NUMERICHOST
    | libc::AI_NUMERICSERV
    | libc::AI_V4MAPPED
    | libc::AI_ALL
    | libc::AI_ADDRCONFIG;

impl Lookup {
    /// Returns true if a guest may have the host look this up, as far as it is not about the name.
    pub(crate) fn is_permitted(&self) -> bool {
        let is_short = |text: &Option<String>| {
            text.as_ref().is_none_or(|text| text.len() <= LONGEST_NAME && !text.contains('\0'))
        };
        let is_number = |service: &String| service.parse::<u16>().is_ok();
        is_short(&self.host)
            && self.service.as_ref().is_none_or(is_number)
            && self.hints.flags & !GUEST_FLAGS == 0
    }

    /// Returns the results of a lookup that asks no other program.
    pub(crate) fn run(&self) -> LookupOutcome {
        let (host, service) = (self.host.as_deref(), self.service.as_deref());
        let found = dns_lookup::getaddrinfo(host, service, Some(self.hints));
        let found = found.map_err(|error| error.kind())?.flatten().take(MAX_RESULTS);
        Ok(found
            .map(|one| Found {
                socket_type: one.socktype,
                protocol: one.protocol,
                address: one.sockaddr,
            })
            .collect())
    }

    /// Looks up a name in another thread, while `request` waits.
    ///
    /// # Errors
    ///
    /// The request reached a limit.
    pub(crate) async fn run_in_thread(self, request: &Request) -> io::Result<LookupOutcome> {
        let Ok(running) = self.start(()) else { return Ok(Err(LookupErrorKind::Again)) };
        request.readable_async(running.done.as_fd(), running.end).await?;
        Ok(running.outcome().unwrap_or(Err(LookupErrorKind::Again)))
    }

    /// Begins to look up a name in another thread, which drops `guard` at its end.
    ///
    /// # Errors
    ///
    /// There are too many lookups, or no descriptors or threads.
    pub(crate) fn start(self, guard: impl Send + 'static) -> io::Result<Running> {
        let permit = Permit::take().ok_or(io::ErrorKind::WouldBlock)?;
        let (done, running) = io::pipe()?;
        let (sender, outcome) = sync_channel(1);
        thread::Builder::new().name("lookup".to_owned()).spawn(move || {
            let _permits = (permit, guard);
            // If the request has not waited, nothing receives the outcome.
            let _ = sender.send(self.run());
            drop(running);
        })?;
        let end = Instant::now().checked_add(LONGEST_LOOKUP);
        Ok(Running { outcome, done: Arc::new(done), end })
    }
}

/// A lookup that goes on in another thread.
pub(crate) struct Running {
    outcome: Receiver<LookupOutcome>,
    /// Becomes readable when there is an outcome.
    pub done: Arc<PipeReader>,
    /// The time at which it has taken too long.
    pub end: Option<Instant>,
}

impl Running {
    /// Returns the outcome; `None` as long as there is none.
    pub(crate) fn outcome(&self) -> Option<LookupOutcome> {
        match self.outcome.try_recv() {
            Ok(outcome) => Some(outcome),
            // The thread sends the outcome before it ends.
            Err(TryRecvError::Disconnected) => Some(Err(LookupErrorKind::Fail)),
            Err(TryRecvError::Empty) => {
                let is_over = self.end.is_some_and(|end| end <= Instant::now());
                is_over.then_some(Err(LookupErrorKind::Again))
            }
        }
    }
}

/// The permit for one lookup.
struct Permit;

impl Permit {
    fn take() -> Option<Permit> {
        let within = |count: usize| count.checked_add(1).filter(|count| *count <= MAX_LOOKUPS);
        RUNNING.fetch_update(SeqCst, SeqCst, within).ok().map(|_| Permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, SeqCst);
    }
}
