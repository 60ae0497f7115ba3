//! The log.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use socketserver::access::{Access, Refusal};
use socketserver::{
    Address, Blame, DropReason, Endpoint, HandlerError, Hooks, Reason, Request, UnixAddress,
    printable,
};
use tracing::Level;
use tracing_subscriber::fmt;

use crate::args::{LogFormat, LogLevel};
use crate::counters::Counters;
use crate::jail::{self, GivenUp};
use crate::log_rate::{self, LimitedStderr};
use crate::log_text::{Text, quoted};
use crate::signals::{Asked, Signals};

/// How much of the text of a panic is logged, in bytes.
const MAX_PANIC: usize = 1 << 10;

/// Sends the log to standard error, so many lines in a second at the most, in colours if
/// it is text and for people.
pub fn init(format: LogFormat, level: LogLevel, lines_per_second: u32, colours: bool) {
    let level = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warning => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
    };
    let log = fmt().with_max_level(level).with_writer(LimitedStderr::new(lines_per_second));
    match format {
        LogFormat::Text => log.with_ansi(colours).event_format(Text).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

/// Has a panic, which is a bug of the host, be a line of the log.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let trace = Backtrace::capture();
        let trace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
        let error = printable(panic.payload_as_str().unwrap_or("?"), MAX_PANIC);
        tracing::error!(error, place, trace, "the host panicked");
    }));
}

/// Logs how many lines were not, if there are some: once in a second, or `at_once`.
pub fn tell_dropped(at_once: bool) {
    log_rate::tell_dropped(at_once, |dropped| {
        tracing::warn!(
            dropped,
            "lines were not logged, as there were more than --log-rate, or no room for them"
        );
    });
}

/// A client as a sentence of the host names it: in quotes if it chose its name itself.
fn named(client_address: &Address) -> String {
    match client_address {
        Address::Unix(UnixAddress::Pathname(_) | UnixAddress::Abstract(_)) => {
            quoted(&client_address.to_string())
        }
        _ => client_address.to_string(),
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
        self.counters.refused(rule);
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

    /// A line for each failed request. What the handler said, or what the client is
    /// called, is in quotes; the sentence itself is the host's.
    fn failed(&self, client_address: &Address, error: &HandlerError) {
        let (handler, blame, reason) =
            (&*self.handler, error.blame().as_str(), error.reason().as_str());
        let (client, peer) = (named(client_address), client_address.to_string());
        let why = quoted(&format!("{error:#}"));
        // CPython's words.
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
        self.failed(client_address, error);
    }

    fn service_actions(&self) {
        tell_dropped(false);
        let (asked, format) = &self.asked;
        if !self.counters.is_in_worker() && asked.take() {
            self.counters.print(*format);
        }
    }

    fn handle_child_error(&self, client_address: Option<&Address>, error: &HandlerError) {
        if let Some(client_address) = client_address {
            self.counters.child_failed(error);
            self.failed(client_address, error);
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
        self.signals.in_child().map_err(failed)?;
        let (kind, keep) = (request.map(jail::kind_of), request.map(AsFd::as_fd));
        self.given_up.in_child(kind, keep, self.signals.descriptors())
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
