//! The methods that Python's subclasses override.

use std::io;

use crate::access::Refusal;
use crate::address::Address;
use crate::error::HandlerError;
use crate::listen::endpoint::Endpoint;
use crate::request::Request;

/// The methods of Python's `BaseServer` that programs override, each with Python's
/// default, and some more.
///
/// The loop calls all of them but `handle_error`, `request_finished` and
/// `after_fork_in_child`: one after the other, in the order in which clients are taken. In
/// threads several threads take turns in the loop, so two calls may come from different
/// threads. A panic in `verify_request`, `handle_timeout` or `service_actions` leaves
/// `serve_forever`, as an exception does in Python, whichever thread ran the loop.
pub trait Hooks: Send + Sync + 'static {
    /// Returns true if the server shall serve this request. If not, the client sees the
    /// end of the connection at once, and no handler runs.
    /// [`Access`](crate::access::Access) decides by the rules of super-servers.
    fn verify_request(&self, _request: &Request, _client_address: &Address) -> bool {
        true
    }

    /// Reports that a connection was refused before [`verify_request`](Self::verify_request),
    /// because of its PROXY protocol header: see
    /// [`ServerBuilder::proxies`](crate::ServerBuilder::proxies). `peer` is the other end of
    /// the connection. Or it was refused after it, because it was reset before its first byte: see
    /// [`ServerBuilder::defer_accept`](crate::ServerBuilder::defer_accept). Does nothing by
    /// default.
    fn handle_refused(&self, _peer: &Address, _rule: Refusal) {}

    /// Records that a request begins, before it is given to a thread or process, or to the
    /// handler. It follows [`verify_request`](Self::verify_request) at once, or when the first
    /// byte has come, if the server
    /// [waits for it](crate::ServerBuilder::defer_accept). Does nothing by default.
    fn request_begins(&self, _request: &Request, _client_address: &Address) {}

    /// Records the number of connections that this process has accepted and that are no requests
    /// yet, when it has changed: they wait for the header of their proxy, or for their first byte.
    /// Does nothing by default.
    fn connections_wait(&self, _count: usize) {}

    /// Reports that a request has failed. The thread that ran the request calls it,
    /// before the request is shut down; for a connection that has waited for its first byte until
    /// its timeout, the loop does. By default it writes to standard error as
    /// CPython does, and blocks if standard error blocks.
    fn handle_error(&self, _request: &Request, client_address: &Address, error: &HandlerError) {
        let rule = "-".repeat(40);
        eprintln!(
            "{rule}\nException occurred during processing of request from {client_address}\n{}: {error:#}\n{rule}",
            error.blame()
        );
    }

    /// Records that a request is over. The thread or process that ran the request, or
    /// should have run it, calls this after `handle_error`, and before the request is
    /// shut down. [`Request::received`] and [`Request::sent`] are the bytes that it moved.
    /// Does nothing by default.
    ///
    /// A forked process that crashed has not called this: the parent calls
    /// [`handle_child_error`](Self::handle_child_error) instead.
    fn request_finished(
        &self,
        _request: &Request,
        _client_address: &Address,
        _error: Option<&HandlerError>,
    ) {
    }

    /// Handles the end of the server's timeout: `handle_request` calls it when no request
    /// came in that time. Does nothing by default.
    fn handle_timeout(&self) {}

    /// Does the program's own work: `serve_forever` calls it once in each round, with or
    /// without a request. Does nothing by default.
    fn service_actions(&self) {}

    /// Reports that a forked process crashed, was killed, or ended with an unexpected
    /// status: a child that served a request of `client_address`, or a worker (`None`).
    /// By default it writes to standard error.
    ///
    /// It is not called for a child whose handler failed: that child has called
    /// `handle_error` itself. Python does not report such children.
    fn handle_child_error(&self, client_address: Option<&Address>, error: &HandlerError) {
        match client_address {
            Some(client_address) => eprintln!("the child for {client_address} failed: {error:#}"),
            None => eprintln!("{error:#}"),
        }
    }

    /// Prepares a process that was forked just now, for a request or as a
    /// worker (`None`), before any code of a handler runs: it can start threads, or drop
    /// privileges and descriptors. A process for a request needs no descriptor but that
    /// of the request.
    ///
    /// # Errors
    ///
    /// The request fails with the error, or the worker ends.
    fn after_fork_in_child(&self, _request: Option<&Request>) -> Result<(), HandlerError> {
        Ok(())
    }

    /// Reports that the server could not take a request from the listening socket.
    /// Python ignores these errors, and so does the default. If the process has run
    /// out of descriptors or memory, the loop pauses before it tries again.
    fn handle_accept_error(&self, _endpoint: &Endpoint, _error: &io::Error) {}

    /// Reports that `count` datagrams that came to `endpoint` were dropped before any
    /// other hook was called for them. Does nothing by default.
    ///
    /// The loop asks the kernel for the number of dropped datagrams once in a second, at
    /// its end, and before `service_actions` if a
    /// [descriptor called for it](crate::ServerBuilder::service_when_readable). The
    /// workers of a server do not ask: their parent does.
    fn handle_dropped(&self, _endpoint: &Endpoint, _count: u64, _reason: DropReason) {}
}

/// The reason for which a datagram was dropped before it was a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// It came from an address at which the server's own sockets answer: the reply would
    /// be the next request.
    OwnAddress,
    /// The kernel had no room for it: the receive buffer of the socket was full, see
    /// [`ListenOptions::receive_buffer`](crate::ListenOptions::receive_buffer). Or it was
    /// damaged on its way.
    NoRoom,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [DropReason; 2] = [DropReason::OwnAddress, DropReason::NoRoom];

    /// Returns the reason as one word, such as `own-address`.
    pub fn as_str(self) -> &'static str {
        match self {
            DropReason::OwnAddress => "own-address",
            DropReason::NoRoom => "no-room",
        }
    }
}

/// The hooks with Python's defaults.
#[derive(Debug, Clone, Copy, Default)]
pub struct DefaultHooks;

impl Hooks for DefaultHooks {}
