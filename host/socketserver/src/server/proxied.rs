//! Connections whose proxy has not named its client yet.
//!
//! The loop accepts a connection, and goes on while the header comes: a slow proxy has a place
//! here, and neither a thread or process nor a permit for a request. The places are bounded, and
//! each is free again after the timeout of the header. While all are taken, the loop accepts no
//! connection. When a client is named, it is judged and served as one that was just accepted.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

use super::drain;
use crate::access::Refusal;
use crate::concurrency::Job;
use crate::listen::endpoint::Endpoint;
use crate::proxy::{HeaderReader, ProxyProtocol, Step};
use crate::sys;

/// The most connections that wait at once, if the process may have enough descriptors.
const MAX_WAITING: usize = 1024;

/// The number of connections that one look at the epoll returns.
const EVENTS: usize = 64;

/// The connections of a server that wait for their headers, and the clients that were named and
/// are not served yet.
pub(crate) struct ProxiedClients {
    protocol: ProxyProtocol,
    most: usize,
    /// Readable if a connection that waits is.
    epoll: OwnedFd,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last_id: u64,
    /// In the order in which they were accepted, which is that of their deadlines.
    waiting: BTreeMap<u64, Waiting>,
    named: VecDeque<Job>,
}

struct Waiting {
    job: Job,
    header: HeaderReader,
    deadline: Instant,
}

impl ProxiedClients {
    pub(super) fn new(protocol: ProxyProtocol) -> io::Result<Self> {
        Ok(ProxiedClients {
            protocol,
            most: drain::max_connections().clamp(1, MAX_WAITING),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            state: Mutex::default(),
        })
    }

    /// Returns an empty set with the same settings, for another process.
    pub(super) fn for_worker(&self) -> io::Result<Self> {
        ProxiedClients::new(self.protocol.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of connections that wait, and of clients that were named.
    pub(super) fn count(&self) -> usize {
        let state = self.state();
        state.waiting.len() + state.named.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.count() >= self.most
    }

    /// Returns true if a client was named and is not served yet.
    pub(super) fn has_named(&self) -> bool {
        !self.state().named.is_empty()
    }

    /// Returns the next client that was named.
    pub(super) fn next_named(&self) -> Option<Job> {
        self.state().named.pop_front()
    }

    /// Returns the time at which the first header is late.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        Some(self.state().waiting.first_key_value()?.1.deadline)
    }

    /// Returns the job of a connection that was just accepted if its header is there already.
    /// If not, the connection waits, or is refused.
    pub(super) fn name_client(&self, job: Job) -> Option<Job> {
        if !self.protocol.includes(&job.request, &job.client_address) {
            refuse(&job, Refusal::ProxyFrom);
            return None;
        }
        let timeout = self.protocol.header_timeout();
        // A time beyond the clock's end is as good as a day.
        let deadline = Instant::now().checked_add(timeout);
        let deadline = deadline.unwrap_or_else(|| Instant::now() + Duration::from_hours(24));
        let mut waiting = Waiting { job, header: HeaderReader::default(), deadline };
        match waiting.header.advance(&waiting.job.request) {
            Step::Whole(client) => return Some(waiting.named(client)),
            Step::Refused(rule) => refuse(&waiting.job, rule),
            Step::Waits => self.keep(waiting),
        }
        None
    }

    fn keep(&self, waiting: Waiting) {
        let mut state = self.state();
        state.last_id += 1;
        let id = state.last_id;
        let data = epoll::EventData::new_u64(id);
        match epoll::add(&self.epoll, &waiting.job.request, data, epoll::EventFlags::IN) {
            Ok(()) => drop(state.waiting.insert(id, waiting)),
            Err(error) => {
                let Job { app, server, request, .. } = &waiting.job;
                let endpoint = Endpoint::new(server.socket_type, server.server_address.clone());
                app.hooks.handle_accept_error(&endpoint, &error.into());
                request.shutdown_request();
            }
        }
    }

    /// Reads the headers that have come, and refuses those that are late.
    pub(super) fn advance(&self) {
        if self.state().waiting.is_empty() {
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
        while let Some(late) = self.take_late(now) {
            self.forget(&late.job);
            refuse(&late.job, Refusal::ProxyTimeout);
        }
    }

    fn advance_one(&self, id: u64) {
        let Some(mut waiting) = self.state().waiting.remove(&id) else { return };
        match waiting.header.advance(&waiting.job.request) {
            Step::Waits => drop(self.state().waiting.insert(id, waiting)),
            Step::Whole(client) => {
                self.forget(&waiting.job);
                self.state().named.push_back(waiting.named(client));
            }
            Step::Refused(rule) => {
                self.forget(&waiting.job);
                refuse(&waiting.job, rule);
            }
        }
    }

    fn take_late(&self, now: Instant) -> Option<Waiting> {
        let mut state = self.state();
        let first = state.waiting.first_entry()?;
        (first.get().deadline <= now).then(|| first.remove())
    }

    /// Removes a connection from the epoll. Its close would not if a child has it too.
    fn forget(&self, job: &Job) {
        // It is in the epoll, so this does not fail.
        let _ = epoll::delete(&self.epoll, &job.request);
    }

    /// Closes all connections.
    pub(super) fn clear(&self) {
        let state = std::mem::take(&mut *self.state());
        state.waiting.values().for_each(|waiting| self.forget(&waiting.job));
    }

    /// Closes the descriptors in a forked child, which has a request of another client.
    pub(crate) fn close_inherited(&self) {
        let state = self.state();
        let waiting = state.waiting.values().map(|waiting| &waiting.job);
        for job in waiting.chain(&state.named) {
            sys::close_inherited(job.request.as_fd());
        }
        sys::close_inherited(self.epoll.as_fd());
    }
}

impl AsFd for ProxiedClients {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl Waiting {
    /// Returns the job of the client that the header names, or of the proxy itself.
    fn named(self, client: Option<SocketAddr>) -> Job {
        match client {
            Some(client) => Job { client_address: client.into(), ..self.job },
            None => self.job,
        }
    }
}

fn refuse(job: &Job, rule: Refusal) {
    job.app.hooks.handle_refused(&job.client_address, rule);
    job.request.shutdown_request();
}
