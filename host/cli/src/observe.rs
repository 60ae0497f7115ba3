//! The log.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use socketserver::access::{Access, Refusal};
use socketserver::{Address, Blame, DropReason, Endpoint, HandlerError, Hooks, Request};
use tracing::Level;
use tracing_subscriber::fmt;

use crate::args::{LogFormat, LogLevel};
use crate::counters::Counters;
use crate::jail::GivenUp;
use crate::log_rate::{self, LimitedStderr};
use crate::signals::{Asked, Signals};

/// Sends the log to standard error, so many lines in a second at the most.
pub fn init(format: LogFormat, level: LogLevel, lines_per_second: u32) {
    let level = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warning => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
    };
    let waits = log_rate::do_not_wait();
    let log = fmt().with_max_level(level).with_writer(LimitedStderr::new(lines_per_second));
    match format {
        LogFormat::Text => {
            log.with_target(false).with_ansi(io::stderr().is_terminal()).init();
        }
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    if let Err(error) = waits {
        tracing::debug!("the log is written as it was opened: {error}");
    }
}

/// Reports what goes wrong while serving, a line for each failed request, and
/// counts what happens.
pub struct ServeHooks {
    /// The name of the handler, for the log.
    pub handler: String,
    /// The signals of this process.
    pub signals: Signals,
    /// What forked processes give up.
    pub given_up: GivenUp,
    /// Who is served.
    pub access: Access,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Whether somebody wants to see the counters, and how to print them.
    pub asked: (Asked, LogFormat),
    /// When a failure to accept was last reported: these come in floods.
    pub last_accept_error: Mutex<Option<Instant>>,
}

impl ServeHooks {
    /// Every refusal comes here. They come in floods, and are no failures: what is
    /// logged of each is for those who look for mistakes.
    fn refused(&self, client_address: &Address, rule: Refusal) {
        self.counters.refused(rule.as_str());
        // As a string, which the log puts in quotes: a Unix client chooses its name.
        let peer = client_address.to_string();
        tracing::debug!(peer, rule = rule.as_str(), "refused");
        // It is the first of a pause.
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
}

impl Hooks for ServeHooks {
    fn verify_request(&self, request: &Request, client_address: &Address) -> bool {
        match self.access.verify_request(request, client_address) {
            Ok(()) => self.counters.accepted(),
            Err(rule) => {
                self.refused(client_address, rule);
                return false;
            }
        }
        true
    }

    fn request_finished(&self, request: &Request, _: &Address, error: Option<&HandlerError>) {
        self.counters.finished(request, error);
    }

    fn handle_error(&self, _request: &Request, client_address: &Address, error: &HandlerError) {
        let (handler, blame, reason) = (&*self.handler, error.blame().as_str(), error.reason());
        let peer = client_address.to_string();
        // CPython's words.
        match error.blame() {
            Blame::Client => tracing::warn!(
                peer,
                handler,
                blame,
                reason,
                "Exception occurred during processing of request from {client_address}: {error}"
            ),
            Blame::Guest | Blame::Policy | Blame::Host => tracing::error!(
                peer,
                handler,
                blame,
                reason,
                "Exception occurred during processing of request from {client_address}: {error}"
            ),
        }
    }

    fn service_actions(&self) {
        log_rate::tell_dropped(|dropped| {
            tracing::warn!(
                dropped,
                "lines were not logged, for there were too many: see --log-rate"
            );
        });
        let (asked, format) = &self.asked;
        if !self.counters.of_worker() && asked.take() {
            self.counters.print(*format);
        }
    }

    fn handle_child_error(&self, client_address: Option<&Address>, error: &HandlerError) {
        let (handler, blame, reason) = (&*self.handler, error.blame().as_str(), error.reason());
        let Some(client_address) = client_address else {
            tracing::error!(handler, blame, reason, "{error}");
            self.counters.sweep();
            return;
        };
        self.counters.child_failed(error);
        let peer = client_address.to_string();
        tracing::error!(
            peer,
            handler,
            blame,
            reason,
            "Exception occurred during processing of request from {client_address}: {error}"
        );
    }

    fn after_fork_in_child(&self, request: Option<&Request>) -> Result<(), HandlerError> {
        self.counters.forked(request.is_none());
        let failed = |error| HandlerError::new(Blame::Host, "child", error);
        self.signals.in_child().map_err(failed)?;
        let (socket_type, keep) = (request.map(Request::socket_type), request.map(AsFd::as_fd));
        self.given_up.in_child(socket_type, keep, self.signals.descriptors())
    }

    fn handle_dropped(&self, endpoint: &Endpoint, count: u64, reason: DropReason) {
        self.counters.dropped(count, reason.as_str());
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
