//! What Python's subclasses override.

use std::io;

use crate::address::Address;
use crate::error::HandlerError;
use crate::listen::endpoint::Endpoint;
use crate::request::Request;

/// The methods of Python's `BaseServer` that are there to be overridden, each
/// with Python's default.
///
/// All but `handle_error` are called from the thread that serves. A panic in
/// `verify_request`, `handle_timeout` or `service_actions` leaves
/// `serve_forever`, as an exception does in Python.
pub trait Hooks: Send + Sync + 'static {
    /// Whether to serve this request. If not, the client sees the end of the
    /// connection at once, and no handler is made. [`Access`](crate::access::Access)
    /// judges as super-servers do.
    fn verify_request(&self, _request: &Request, _client_address: &Address) -> bool {
        true
    }

    /// Called when a request has failed, in the thread that ran it, before the
    /// request is shut down. By default it reports to standard error as
    /// CPython does, and waits for the reader of that.
    fn handle_error(&self, _request: &Request, client_address: &Address, error: &HandlerError) {
        let rule = "-".repeat(40);
        eprintln!(
            "{rule}\nException occurred during processing of request from {client_address}\n{}: {error:#}\n{rule}",
            error.blame()
        );
    }

    /// Called when a request is over, after `handle_error` if it failed, and
    /// before it is shut down: in the thread or the process that ran it, or was
    /// to run it. [`Request::received`] and [`Request::sent`] tell what it moved.
    /// Does nothing by default.
    ///
    /// A forked process that did not end as it should has not called this:
    /// [`handle_child_error`](Self::handle_child_error) is called in its place.
    fn request_finished(
        &self,
        _request: &Request,
        _client_address: &Address,
        _error: Option<&HandlerError>,
    ) {
    }

    /// Called when `handle_request` waited for the server's timeout in vain.
    fn handle_timeout(&self) {}

    /// Called once in each round of `serve_forever`, whether there was a
    /// request or not.
    fn service_actions(&self) {}

    /// Called when a forked process did not end as it should: a child that
    /// answered a request, with the address of its client, or a worker, with
    /// `None`. By default it reports to standard error.
    ///
    /// A child whose handler failed is not among them: it has called
    /// `handle_error` itself. Python does not look.
    fn handle_child_error(&self, client_address: Option<&Address>, error: &HandlerError) {
        match client_address {
            Some(client_address) => eprintln!("the child for {client_address} failed: {error:#}"),
            None => eprintln!("{error:#}"),
        }
    }

    /// Called in a process that was forked just now, for a request or as a
    /// worker (`None`), before anything of a handler runs: the place to set up
    /// what belongs to one process, or to give up what it does not need. A process
    /// for a request needs no descriptor but that of the request.
    ///
    /// Errors: the request fails with it, or the worker ends.
    fn after_fork_in_child(&self, _request: Option<&Request>) -> Result<(), HandlerError> {
        Ok(())
    }

    /// Called when a request could not be taken from the listening socket.
    /// Python swallows these errors; so does the default. If the process is
    /// out of descriptors or memory, the loop pauses before it tries again.
    fn handle_accept_error(&self, _endpoint: &Endpoint, _error: &io::Error) {}

    /// Called when so many datagrams that came to `endpoint` are not served, about
    /// which no other hook was asked. Does nothing by default.
    ///
    /// The loop looks once in a second, at its end, and before `service_actions` if it
    /// was [called for](crate::ServerBuilder::service_when_readable), how many the kernel
    /// has dropped. The workers of a server do not look: the process that started them
    /// does.
    fn handle_dropped(&self, _endpoint: &Endpoint, _count: u64, _reason: DropReason) {}
}

/// Why a datagram was dropped before it was a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// It came from an address that the server's own sockets answer at: its answer
    /// would be the next question.
    OwnAddress,
    /// The kernel had no room for it: the receive buffer of the socket was full, see
    /// [`ListenOptions::receive_buffer`](crate::ListenOptions::receive_buffer). Or it was
    /// damaged on its way.
    NoRoom,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [DropReason; 2] = [DropReason::OwnAddress, DropReason::NoRoom];

    /// The reason as one word, such as `own-address`.
    pub fn as_str(self) -> &'static str {
        match self {
            DropReason::OwnAddress => "own-address",
            DropReason::NoRoom => "no-room",
        }
    }
}

/// Python's defaults.
#[derive(Debug, Clone, Copy, Default)]
pub struct DefaultHooks;

impl Hooks for DefaultHooks {}
