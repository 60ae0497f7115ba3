//! Connections that wait in the loop: for the header of their proxy, for the first byte of their
//! client, or for one and then the other.
//!
//! The loop accepts a connection, and goes on while it waits: it has a place here, and neither
//! a thread or process nor a permit for a request. The places are bounded, and each is free again
//! after a time. While all are taken, the loop accepts no connection. When a proxy has named its
//! client, the client is judged as one that was just accepted. When its first byte has come, it
//! is served.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::net::sockopt::socket_error;

use super::defer::DeferAccept;
use super::drain;
use crate::access::Refusal;
use crate::concurrency::Job;
use crate::error::HandlerError;
use crate::hooks::Hooks;
use crate::listen::endpoint::Endpoint;
use crate::proxy::{HeaderReader, ProxyProtocol, Step};
use crate::reason::Reason;
use crate::request::Request;
use crate::request::deadlines::IdleTimeout;
use crate::sys;

/// The most connections that wait for headers at once, if the process may have enough
/// descriptors.
const MAX_HEADERS: usize = 1024;

/// The number of connections that one look at the epoll returns, and of those that are late
/// which one look closes.
const EVENTS: usize = 64;

/// The connections of a server that wait in its loop, and those that are ready and not served
/// yet.
pub(crate) struct PendingConnections {
    proxies: Option<ProxyProtocol>,
    max_headers: usize,
    defer: Option<DeferAccept>,
    /// Readable if a connection that waits is.
    epoll: OwnedFd,
    state: Mutex<State>,
    /// The number that the hooks have.
    reported: AtomicUsize,
}

/// Both maps are in the order of their deadlines: all connections in one of them wait for the
/// same time.
#[derive(Default)]
struct State {
    last_id: u64,
    headers: BTreeMap<u64, WaitsForHeader>,
    silent: BTreeMap<u64, WaitsForByte>,
    ready: VecDeque<Ready>,
}

struct WaitsForHeader {
    job: Job,
    header: HeaderReader,
    deadline: Instant,
}

/// A connection whose client has sent nothing. There may be very many of these.
struct WaitsForByte {
    job: Job,
    deadline: Instant,
}

/// A connection that waits no longer.
pub(super) enum Ready {
    /// Its proxy has named the client, whom the rules must judge.
    Named(Job),
    /// The first byte of its client has come.
    Spoken(Job),
}

/// The state of a connection that has had no byte.
enum Look {
    /// There is nothing to receive yet.
    Silent,
    /// There is a byte, or the end of the stream.
    Spoken,
    /// The connection is lost.
    Reset,
}

impl PendingConnections {
    /// Returns a set for servers with proxies, or that wait for first bytes; `None` for others.
    pub(super) fn new(
        proxies: Option<ProxyProtocol>,
        defer: Option<DeferAccept>,
    ) -> io::Result<Option<Self>> {
        if proxies.is_none() && defer.is_none() {
            return Ok(None);
        }
        let max_headers = drain::max_connections().clamp(1, MAX_HEADERS);
        PendingConnections::with_limit(proxies, defer, max_headers).map(Some)
    }

    fn with_limit(
        proxies: Option<ProxyProtocol>,
        defer: Option<DeferAccept>,
        max_headers: usize,
    ) -> io::Result<Self> {
        Ok(PendingConnections {
            proxies,
            max_headers,
            defer,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            state: Mutex::default(),
            reported: AtomicUsize::new(0),
        })
    }

    /// Returns an empty set with the same settings, for another process.
    pub(super) fn for_worker(&self) -> io::Result<Self> {
        // A worker in a jail cannot ask the kernel for the limit of its descriptors.
        PendingConnections::with_limit(self.proxies.clone(), self.defer.clone(), self.max_headers)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of connections that wait, or are ready and not served yet.
    pub(super) fn count(&self) -> usize {
        self.state().count()
    }

    /// Returns true if one more connection may be taken, beside this number of requests.
    pub(super) fn has_place(&self, requests: usize) -> bool {
        let state = self.state();
        match &self.defer {
            Some(defer) => {
                state.headers.len() < self.max_headers
                    && state.count().saturating_add(requests) < defer.max_connections
            }
            None => state.count() < self.max_headers,
        }
    }

    /// Returns true if a connection is ready and not served yet.
    pub(super) fn has_ready(&self) -> bool {
        !self.state().ready.is_empty()
    }

    /// Returns the next connection that is ready.
    pub(super) fn next_ready(&self) -> Option<Ready> {
        self.state().ready.pop_front()
    }

    /// Returns the time at which the first connection has waited for too long.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let state = self.state();
        let header = state.headers.first_key_value().map(|(_, waiting)| waiting.deadline);
        let byte = state.silent.first_key_value().map(|(_, waiting)| waiting.deadline);
        [header, byte].into_iter().flatten().min()
    }

    /// Tells the hooks the number of connections here, if it has changed.
    pub(super) fn report(&self, hooks: &dyn Hooks) {
        let count = self.count();
        if self.reported.swap(count, Ordering::Relaxed) != count {
            hooks.connections_wait(count);
        }
    }

    /// Returns the job of a connection that was just accepted if its client is known: its header
    /// is there already, or the server has no proxies. If not, the connection waits, or is
    /// refused.
    pub(super) fn name_client(&self, job: Job) -> Option<Job> {
        let Some(proxies) = &self.proxies else { return Some(job) };
        if !proxies.includes(&job.request, &job.client_address) {
            refuse(&job, Refusal::ProxyFrom);
            return None;
        }
        let deadline = deadline_after(proxies.header_timeout());
        let mut waiting = WaitsForHeader { job, header: HeaderReader::default(), deadline };
        match waiting.header.advance(&waiting.job.request) {
            Step::Whole(client) => return Some(waiting.named(client)),
            Step::Refused(rule) => refuse(&waiting.job, rule),
            Step::Waits => {
                let mut state = self.state();
                let id = state.new_id();
                if self.watch(id, &waiting.job, epoll::EventFlags::IN) {
                    state.headers.insert(id, waiting);
                }
            }
        }
        None
    }

    /// Returns the job of a client that the rules have admitted if its first byte is there
    /// already, or the server does not wait for it. If not, the connection waits, or is refused.
    pub(super) fn first_byte(&self, job: Job) -> Option<Job> {
        let Some(defer) = &self.defer else { return Some(job) };
        match look(&job.request) {
            Look::Spoken => return Some(job),
            Look::Reset => refuse(&job, Refusal::Reset),
            Look::Silent => {
                let deadline = deadline_after(defer.idle_timeout);
                let mut state = self.state();
                let id = state.new_id();
                // An urgent byte is a byte, and does not make the socket readable.
                if self.watch(id, &job, epoll::EventFlags::IN | epoll::EventFlags::PRI) {
                    state.silent.insert(id, WaitsForByte { job, deadline });
                }
            }
        }
        None
    }

    /// Adds a connection to the epoll. If that fails, closes it.
    fn watch(&self, id: u64, job: &Job, events: epoll::EventFlags) -> bool {
        let Job { app, server, request, .. } = job;
        let added = epoll::add(&self.epoll, request, epoll::EventData::new_u64(id), events);
        if let Err(error) = added {
            let endpoint = Endpoint::new(server.socket_type, server.server_address.clone());
            app.hooks.handle_accept_error(&endpoint, &error.into());
            request.shutdown_request(true);
        }
        added.is_ok()
    }

    /// Looks at what has come, and closes connections that have waited for too long.
    pub(super) fn advance(&self) {
        if self.state().waits_for_none() {
            return;
        }
        let mut events = [MaybeUninit::uninit(); EVENTS];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // If it fails, the next round finds out.
        if let Ok((events, _)) = epoll::wait(&self.epoll, &mut events, Some(&now)) {
            for event in events {
                self.advance_one(event.data.u64());
            }
        }
        let now = Instant::now();
        for _ in 0..EVENTS {
            if !self.close_late(now) {
                break;
            }
        }
    }

    fn advance_one(&self, id: u64) {
        let (header, byte) = {
            let mut state = self.state();
            (state.headers.remove(&id), state.silent.remove(&id))
        };
        if let Some(WaitsForByte { job, .. }) = byte {
            self.forget(&job);
            match look(&job.request) {
                Look::Reset => refuse(&job, Refusal::Reset),
                // There was an event, so the byte of a connection that is silent is urgent.
                Look::Spoken | Look::Silent => {
                    let mut job = job;
                    job.request.begin_now();
                    self.state().ready.push_back(Ready::Spoken(job));
                }
            }
        }
        let Some(mut waiting) = header else { return };
        match waiting.header.advance(&waiting.job.request) {
            Step::Waits => drop(self.state().headers.insert(id, waiting)),
            Step::Whole(client) => {
                self.forget(&waiting.job);
                self.state().ready.push_back(Ready::Named(waiting.named(client)));
            }
            Step::Refused(rule) => {
                self.forget(&waiting.job);
                refuse(&waiting.job, rule);
            }
        }
    }

    /// Closes a connection that has waited for too long. Returns false if there is none.
    fn close_late(&self, now: Instant) -> bool {
        if let Some(late) = self.take_late(now, |state| &mut state.headers) {
            self.forget(&late.job);
            refuse(&late.job, Refusal::ProxyTimeout);
            return true;
        }
        let late = self.take_late(now, |state| &mut state.silent);
        let (Some(late), Some(defer)) = (late, &self.defer) else { return false };
        self.forget(&late.job);
        late.job.begin();
        let timeout = IdleTimeout { limit: defer.idle_timeout };
        late.job.fail(&HandlerError::new(Reason::IdleTimeout, timeout));
        true
    }

    fn take_late<T: HasDeadline>(
        &self,
        now: Instant,
        map: impl FnOnce(&mut State) -> &mut BTreeMap<u64, T>,
    ) -> Option<T> {
        let mut state = self.state();
        let first = map(&mut state).first_entry()?;
        (first.get().deadline() <= now).then(|| first.remove())
    }

    /// Removes a connection from the epoll. Its close would not if a child has it too.
    fn forget(&self, job: &Job) {
        // It is in the epoll, so this does not fail.
        let _ = epoll::delete(&self.epoll, &job.request);
    }

    /// Closes all connections.
    pub(super) fn clear(&self) {
        let mut state = self.state();
        let last_id = state.last_id;
        let state = std::mem::replace(&mut *state, State { last_id, ..State::default() });
        state.waiting().for_each(|job| self.forget(job));
    }

    /// Closes the descriptors in a forked child, which has a request of another client.
    pub(crate) fn close_inherited(&self) {
        let state = self.state();
        let ready = state.ready.iter().map(|(Ready::Named(job) | Ready::Spoken(job))| job);
        for job in state.waiting().chain(ready) {
            sys::close_inherited(job.request.as_fd());
        }
        sys::close_inherited(self.epoll.as_fd());
    }
}

impl AsFd for PendingConnections {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl State {
    fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn count(&self) -> usize {
        self.headers.len() + self.silent.len() + self.ready.len()
    }

    fn waits_for_none(&self) -> bool {
        self.headers.is_empty() && self.silent.is_empty()
    }

    /// Returns the connections in the epoll.
    fn waiting(&self) -> impl Iterator<Item = &Job> {
        let headers = self.headers.values().map(|waiting| &waiting.job);
        headers.chain(self.silent.values().map(|waiting| &waiting.job))
    }
}

impl WaitsForHeader {
    /// Returns the job of the client that the header names, or of the proxy itself.
    fn named(self, client: Option<SocketAddr>) -> Job {
        match client {
            Some(client) => Job { client_address: client.into(), ..self.job },
            None => self.job,
        }
    }
}

trait HasDeadline {
    fn deadline(&self) -> Instant;
}

impl HasDeadline for WaitsForHeader {
    fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl HasDeadline for WaitsForByte {
    fn deadline(&self) -> Instant {
        self.deadline
    }
}

/// Returns the time after `timeout`. A time beyond the clock's end is as good as a day.
fn deadline_after(timeout: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(timeout).unwrap_or_else(|| now + Duration::from_hours(24))
}

/// Looks at the socket itself, whatever is spoken on it: nothing is taken from it.
fn look(request: &Request) -> Look {
    loop {
        let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
        return match rustix::net::recv(request, &mut [0; 1], flags) {
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => Look::Silent,
            Err(_) => Look::Reset,
            // A reset after the end of the stream is in SO_ERROR only.
            Ok((_, 0)) if !matches!(socket_error(request), Ok(Ok(()))) => Look::Reset,
            Ok(_) => Look::Spoken,
        };
    }
}

fn refuse(job: &Job, rule: Refusal) {
    job.app.hooks.handle_refused(&job.client_address, rule);
    job.request.shutdown_request(true);
}
