//! The wait of the loop for requests and other events.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};

use super::accept::{Taken, serve_or_refuse, serve_ready, take_request};
use super::parts::Parts;
use crate::concurrency::{Job, ServerSockets};
use crate::listen::listener::Listener;
use crate::poll::{Polled, poll_until};

/// Polls the listening sockets of a server, and the descriptors that wake its loop.
pub(super) struct Poller<'a> {
    server: &'a Parts,
    listeners: &'a [Listener],
    /// The listeners come last, so that a wait can leave them out.
    fds: Vec<PollFd<'a>>,
    /// The positions in `fds`.
    positions: Positions,
}

/// The positions of descriptors in a list for `poll(2)`.
struct Positions {
    wake: usize,
    stop: Option<usize>,
    attention: Option<usize>,
    first_listener: usize,
}

impl<'a> Poller<'a> {
    pub(super) fn new(server: &'a Parts, listeners: &'a [Listener]) -> Self {
        let mut fds = Vec::with_capacity(4 + listeners.len());
        let mut add = |fd: BorrowedFd<'a>| {
            fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
            fds.len() - 1
        };
        let wake = add(server.control.wake_fd());
        let stop = server.control.stop_fd().map(&mut add);
        let attention = server.control.attention_fd().map(&mut add);
        server.dispatcher.children_fd().map(&mut add);
        server.pending.as_ref().map(|pending| add(pending.as_fd()));
        let first_listener = fds.len();
        let of_listeners = listeners.iter().map(AsFd::as_fd);
        fds.extend(of_listeners.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let positions = Positions { wake, stop, attention, first_listener };
        Poller { server, listeners, fds, positions }
    }

    /// Waits until a listener has a request, another descriptor is ready, or the
    /// deadline passes. Leaves the listeners out while there is no permit
    /// for another request, or if `takes_requests` is false.
    pub(super) fn wait(
        &mut self,
        takes_requests: bool,
        deadline: Option<Instant>,
    ) -> io::Result<()> {
        for fd in &mut self.fds {
            fd.clear_revents();
        }
        let server = self.server;
        if let Some(pending) = &server.pending {
            pending.report(&*server.app.hooks);
        }
        if takes_requests && server.has_place() && server.dispatcher.has_free_permit() {
            let now = Instant::now();
            // A first look without waiting shows which queues are empty now.
            let late = self.server.arrivals.begin_look(now);
            if !(late && self.poll_all(Some(now))?) {
                self.server.arrivals.begin_wait();
                let polled = self.poll_all(deadline);
                self.server.arrivals.end_wait(Instant::now());
                polled?;
            }
        } else {
            poll_until(&mut self.fds[..self.positions.first_listener], deadline)?;
        }
        if self.is_ready(self.positions.wake) {
            self.server.control.clear_wake();
        }
        if self.stop_requested() {
            self.server.control.request_shutdown();
        }
        if let Some(pending) = &self.server.pending {
            pending.advance();
        }
        Ok(())
    }

    /// Polls all descriptors, and records which queues are empty. Returns false if the
    /// deadline passed.
    fn poll_all(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        let polled = poll_until(&mut self.fds, deadline)?;
        self.server.arrivals.record_look(Instant::now(), |listener| self.has_request(listener));
        Ok(polled == Polled::Ready)
    }

    fn is_ready(&self, position: usize) -> bool {
        !self.fds[position].revents().is_empty()
    }

    fn has_request(&self, listener: usize) -> bool {
        self.is_ready(self.positions.first_listener + listener)
    }

    /// Returns true if the descriptor that ends the loop has become readable.
    pub(super) fn stop_requested(&self) -> bool {
        self.positions.stop.is_some_and(|position| self.is_ready(position))
    }

    /// Returns true if the descriptor that calls for `service_actions` has become
    /// readable.
    pub(super) fn service_requested(&self) -> bool {
        self.positions.attention.is_some_and(|position| self.is_ready(position))
    }

    /// Returns the index of a listener that may have a request, if there is a permit for
    /// one. Listeners take turns.
    pub(super) fn next_ready(&self) -> Option<usize> {
        let is_ready = |listener| self.has_request(listener);
        let ready = self.server.next_ready(self.listeners.len(), is_ready)?;
        self.server.dispatcher.has_free_permit().then_some(ready)
    }

    /// Takes a request from the listener with this index, and serves it.
    pub(super) fn take_request(&mut self, listener: usize) -> Taken {
        self.server.take_turn(listener);
        take_request(self.server, self.listeners, listener, |job| {
            serve_or_refuse(self.server, self.sockets(), job)
        })
    }

    /// Serves the next connection that has waited in the loop, if there is one and a permit for
    /// it.
    pub(super) fn serve_ready(&self) -> Option<Taken> {
        serve_ready(self.server, self.sockets())
    }

    fn sockets(&self) -> ServerSockets<'a> {
        const NONE: &VecDeque<Job> = &VecDeque::new();
        let pending = self.server.pending.as_ref();
        ServerSockets { listeners: self.listeners, waiting: NONE, pending }
    }

    /// Forgets that the listener with this index was ready: it has no request.
    pub(super) fn clear(&mut self, listener: usize) {
        self.fds[self.positions.first_listener + listener].clear_revents();
    }
}
