//! The log.

use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use socketserver::{Address, Blame, Endpoint, HandlerError, Hooks, Request};
use tracing::Level;
use tracing_subscriber::fmt;

use crate::args::{LogFormat, LogLevel};

/// Sends the log to standard error.
pub fn init(format: LogFormat, level: LogLevel) {
    let level = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warning => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
    };
    let log = fmt().with_max_level(level).with_writer(io::stderr);
    match format {
        LogFormat::Text => {
            log.with_target(false).with_ansi(io::stderr().is_terminal()).init();
        }
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

/// Reports what goes wrong while serving, a line for each failed request.
pub struct LogHooks {
    handler: String,
    /// When a failure to accept was last reported: these come in floods.
    last_accept_error: Mutex<Option<Instant>>,
}

impl LogHooks {
    /// Hooks for the handler of that name.
    pub fn new(handler: String) -> Self {
        LogHooks { handler, last_accept_error: Mutex::new(None) }
    }
}

impl Hooks for LogHooks {
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

    fn handle_accept_error(&self, endpoint: &Endpoint, error: &io::Error) {
        let mut last = self.last_accept_error.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= Duration::from_secs(1)) {
            *last = Some(Instant::now());
            tracing::error!(endpoint = %endpoint, "cannot accept a connection: {error}");
        }
    }
}
