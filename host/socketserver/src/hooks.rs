//! What Python's subclasses override.

use std::io;

use crate::address::Address;
use crate::endpoint::Endpoint;
use crate::error::HandlerError;
use crate::request::Request;

/// The methods of Python's `BaseServer` that are there to be overridden, each
/// with Python's default.
///
/// All but `handle_error` are called from the thread that serves. A panic in
/// one of those leaves `serve_forever`, as an exception does in Python.
pub trait Hooks: Send + Sync + 'static {
    /// Whether to serve this request. If not, the client sees the end of the
    /// connection at once, and no handler is made.
    fn verify_request(&self, _request: &Request, _client_address: &Address) -> bool {
        true
    }

    /// Called when a request has failed, in the thread that ran it, before the
    /// request is shut down. By default it reports to standard error as
    /// CPython does.
    fn handle_error(&self, _request: &Request, client_address: &Address, error: &HandlerError) {
        let rule = "-".repeat(40);
        eprintln!(
            "{rule}\nException occurred during processing of request from {client_address}\n{}: {error}\n{rule}",
            error.blame()
        );
    }

    /// Called when `handle_request` waited for the server's timeout in vain.
    fn handle_timeout(&self) {}

    /// Called once in each round of `serve_forever`, whether there was a
    /// request or not.
    fn service_actions(&self) {}

    /// Called when a request could not be taken from the listening socket.
    /// Python swallows these errors; so does the default. If the process is
    /// out of descriptors or memory, the loop pauses before it tries again.
    fn handle_accept_error(&self, _endpoint: &Endpoint, _error: &io::Error) {}
}

/// Python's defaults.
#[derive(Debug, Clone, Copy, Default)]
pub struct DefaultHooks;

impl Hooks for DefaultHooks {}
