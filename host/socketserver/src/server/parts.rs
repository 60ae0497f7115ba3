//! The state of a server, which its loop works on.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::control::Control;
use super::pending::PendingConnections;
use crate::concurrency::{Application, Dispatcher, Job, max_leaders};
use crate::error::ServeError;
use crate::hooks::DropReason;
use crate::listen::arrivals::Arrivals;
use crate::listen::listener::Listener;
use crate::listen::own_addresses::OwnAddresses;
use crate::tls::TlsServer;

/// The state of one server.
pub(super) struct Parts {
    pub app: Arc<Application>,
    pub dispatcher: Box<dyn Dispatcher>,
    pub control: Arc<Control>,
    pub timeout: Option<Duration>,
    pub own_addresses: Arc<OwnAddresses>,
    /// False in workers: they share their sockets, and would all report the same
    /// datagrams that the kernel has dropped.
    pub reports_drops: bool,
    /// The largest number of leaders, if the server has threads.
    pub max_leaders: usize,
    /// The bell of the leaders, if the server is a worker, which shares it with others. See
    /// [`LeaderPost`](super::post::LeaderPost).
    pub bell: Option<Arc<OwnedFd>>,
    pub arrivals: Arrivals,
    /// The certificates of the server, if it speaks TLS.
    pub tls: Option<TlsServer>,
    /// The connections that wait in the loop, if the server has proxies or waits for first bytes.
    pub pending: Option<PendingConnections>,
    /// The listener whose turn is next. Where there is a permit for one request only, all
    /// listeners get their turns.
    next_listener: AtomicUsize,
    /// The clients that were taken from the queues when the server stopped listening,
    /// and have not been served yet.
    waiting: Mutex<VecDeque<Job>>,
    /// `None` when the server is closed.
    listeners: Mutex<Option<Arc<[Listener]>>>,
}

impl Parts {
    pub(super) fn new(
        app: Arc<Application>,
        dispatcher: Box<dyn Dispatcher>,
        control: Arc<Control>,
        timeout: Option<Duration>,
        listeners: Arc<[Listener]>,
        own_addresses: Arc<OwnAddresses>,
    ) -> Self {
        Parts {
            app,
            dispatcher,
            control,
            timeout,
            own_addresses,
            reports_drops: true,
            max_leaders: max_leaders(),
            bell: None,
            arrivals: Arrivals::new(&listeners),
            tls: None,
            pending: None,
            next_listener: AtomicUsize::new(0),
            waiting: Mutex::default(),
            listeners: Mutex::new(Some(listeners)),
        }
    }

    /// Returns a ready listener, the first in the order of turns from the next one on.
    pub(super) fn next_ready(
        &self,
        count: usize,
        is_ready: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let next = self.next_listener.load(Ordering::Relaxed);
        let mut turns = (0..count).map(|step| (next + step) % count);
        turns.find(|listener| is_ready(*listener))
    }

    /// Records that a listener had its turn.
    pub(super) fn take_turn(&self, listener: usize) {
        self.next_listener.store(listener + 1, Ordering::Relaxed);
    }

    /// Closes the listening sockets, and the connections that wait in the loop, as the kernel
    /// does with those in the queues. A server that has stopped listening serves both.
    pub(super) fn close_listeners(&self) {
        if self.take_listeners().is_some() {
            self.control.request_shutdown();
            self.close_pending();
        }
    }

    /// Closes the connections that wait in the loop.
    pub(super) fn close_pending(&self) {
        if let Some(pending) = &self.pending {
            pending.clear();
        }
    }

    /// Takes the listening sockets from the server, which is closed from then on.
    pub(super) fn take_listeners(&self) -> Option<Arc<[Listener]>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns true if a connection that has waited in the loop is ready, and there is a permit
    /// for it.
    pub(super) fn has_ready_connection(&self) -> bool {
        let has_ready = self.pending.as_ref().is_some_and(PendingConnections::has_ready);
        has_ready && self.dispatcher.has_free_permit()
    }

    /// Returns true if there is a place for another connection that waits in the loop.
    pub(super) fn has_place(&self) -> bool {
        let has_place = |it: &PendingConnections| it.has_place(self.dispatcher.in_flight());
        self.pending.as_ref().is_none_or(has_place)
    }

    /// Returns the number of connections that wait in the loop or are ready.
    pub(super) fn count_pending(&self) -> usize {
        self.pending.as_ref().map_or(0, PendingConnections::count)
    }

    pub(super) fn waiting(&self) -> MutexGuard<'_, VecDeque<Job>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn listeners(&self) -> Result<Arc<[Listener]>, ServeError> {
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.clone().ok_or(ServeError::Closed)
    }

    pub(super) fn report_dropped(&self, listeners: &[Listener]) {
        for listener in listeners.iter().filter(|_| self.reports_drops) {
            let count = listener.newly_dropped();
            if count > 0 {
                let (endpoint, reason) = (listener.endpoint(), DropReason::NoRoom);
                self.app.hooks.handle_dropped(endpoint, count.into(), reason);
            }
        }
    }
}
