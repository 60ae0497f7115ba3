//! The events of the server, as lines of the log and as counters.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use socketserver::access::{Access, Refusal};
use socketserver::{
    Address, Blame, DropReason, Endpoint, HandlerError, Hooks, Reason, Request, UnixAddress,
};

use super::restrictions::{Restrictions, request_kind};
use super::service::ServiceManager;
use super::signals::{PrintRequests, SignalHandlers};
use crate::report::LogFormat;
use crate::report::access_log::{AccessLog, Ended, Names};
use crate::report::counters::Counters;
use crate::report::log::log_dropped_lines;
use crate::report::log_text::quoted;

/// The hooks of `serve`. They log a line for each failed request, count what happens, and
/// restrict forked processes.
pub struct ServeHooks {
    /// The name of the handler, for the log.
    pub handler: String,
    /// The signal handlers of this process.
    pub signals: SignalHandlers,
    /// The service manager, which gets signs of life from the loop.
    pub manager: Arc<ServiceManager>,
    /// The restrictions of forked processes.
    pub restrictions: Restrictions,
    /// The rules about clients.
    pub access: Access,
    /// The counters.
    pub counters: Arc<Counters>,
    /// The requests of the operator to print the counters.
    pub print_requests: PrintRequests,
    /// The requests that have a line in the access log.
    pub access_log: AccessLog,
    /// The number of the generation, if `up` has started this process.
    pub generation: Option<u64>,
    /// The format in which the counters are printed.
    pub log_format: LogFormat,
    /// The last time that a failure to accept was logged: they come in floods.
    pub last_accept_error: Mutex<Option<Instant>>,
}

/// Returns the address of a client for a sentence of the host: in quotes if the client chose
/// the address.
fn shown(client_address: &Address) -> String {
    match client_address {
        Address::Unix(UnixAddress::Pathname(_) | UnixAddress::Abstract(_)) => {
            quoted(&client_address.to_string())
        }
        _ => client_address.to_string(),
    }
}

impl ServeHooks {
    /// Counts and logs a refusal. Refusals come in floods and are not failures, so a line for
    /// each is for debugging.
    fn refused(&self, client_address: &Address, rule: Refusal) {
        self.counters.refused(rule);
        let peer = client_address.to_string();
        tracing::debug!(peer, rule = rule.as_str(), "refused");
        // This client begins a pause; those that come in the pause have another rule.
        if rule == Refusal::Rate {
            let now = Instant::now();
            let pause = self.access.paused_until().map(|end| end.saturating_duration_since(now));
            tracing::warn!(
                rule = rule.as_str(),
                "too many clients in a second: all are refused for {:.1?}, see --cps",
                pause.unwrap_or_default()
            );
        }
    }

    fn names(&self) -> Names<'_> {
        Names { handler: &self.handler, generation: self.generation }
    }

    /// Logs a failed request. The error, which the handler may have written, is in quotes; the
    /// sentence around it is the host's.
    fn failed(&self, client_address: &Address, error: &HandlerError) {
        self.counters.failed(client_address, error);
        let (handler, blame, reason) =
            (&*self.handler, error.blame().as_str(), error.reason().as_str());
        let (client, peer) = (shown(client_address), client_address.to_string());
        let why = quoted(&format!("{error:#}"));
        // The sentence is CPython's.
        match error.blame() {
            Blame::Client => tracing::warn!(
                peer,
                handler,
                blame,
                reason,
                "Exception occurred during processing of request from {client}: {why}"
            ),
            Blame::Guest | Blame::Policy | Blame::Host => tracing::error!(
                peer,
                handler,
                blame,
                reason,
                "Exception occurred during processing of request from {client}: {why}"
            ),
        }
    }
}

impl Hooks for ServeHooks {
    fn verify_request(&self, request: &Request, client_address: &Address) -> bool {
        match self.access.verify_request(request, client_address) {
            Ok(()) => true,
            Err(rule) => {
                self.refused(client_address, rule);
                false
            }
        }
    }

    fn handle_refused(&self, peer: &Address, rule: Refusal) {
        self.refused(peer, rule);
    }

    fn request_begins(&self, request: &Request, client_address: &Address) {
        self.counters.accepted(request, client_address);
    }

    fn connections_wait(&self, count: usize) {
        self.counters.connections_wait(count);
    }

    fn request_finished(
        &self,
        request: &Request,
        client_address: &Address,
        error: Option<&HandlerError>,
    ) {
        if request.was_truncated() {
            let peer = client_address.to_string();
            tracing::debug!(peer, "the connection ended without TLS's close_notify");
        }
        self.counters.finished(request, error);
        self.access_log.log(self.names(), Some(request), Ended { client_address, error });
    }

    fn handle_error(&self, _request: &Request, client_address: &Address, error: &HandlerError) {
        self.failed(client_address, error);
    }

    fn service_actions(&self) {
        log_dropped_lines(false);
        if self.counters.is_in_worker() {
            return;
        }
        self.manager.give_sign_of_life();
        if self.print_requests.take() {
            self.counters.print(self.log_format);
        }
    }

    fn handle_child_error(&self, client_address: Option<&Address>, error: &HandlerError) {
        if let Some(client_address) = client_address {
            self.counters.child_failed(error);
            self.failed(client_address, error);
            let ended = Ended { client_address, error: Some(error) };
            self.access_log.log(self.names(), None, ended);
            return;
        }
        let (handler, blame, reason) =
            (&*self.handler, error.blame().as_str(), error.reason().as_str());
        let why = quoted(&format!("{error:#}"));
        tracing::error!(handler, blame, reason, "a worker failed: {why}");
        self.counters.sweep();
    }

    fn after_fork_in_child(&self, request: Option<&Request>) -> Result<(), HandlerError> {
        self.counters.forked(request.is_none());
        let failed = |error| HandlerError::new(Reason::Child, error);
        self.signals.apply_to_child().map_err(failed)?;
        let (kind, keep) = (request.map(request_kind), request.map(AsFd::as_fd));
        let unneeded = self.signals.descriptors().iter().copied();
        let unneeded: Vec<_> = unneeded.chain(self.manager.descriptor()).collect();
        self.restrictions.apply_to_child(kind, keep, &unneeded)
    }

    fn handle_dropped(&self, endpoint: &Endpoint, count: u64, reason: DropReason) {
        self.counters.dropped(count, reason);
        tracing::debug!(endpoint = %endpoint, count, reason = reason.as_str(), "dropped");
    }

    fn handle_accept_error(&self, endpoint: &Endpoint, error: &io::Error) {
        self.counters.accept_failed();
        let mut last = self.last_accept_error.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= Duration::from_secs(1)) {
            *last = Some(Instant::now());
            tracing::error!(endpoint = %endpoint, "cannot accept a connection: {error}");
        }
    }
}
