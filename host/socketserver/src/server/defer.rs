//! The settings of servers that wait for the first byte of each client.

use std::time::Duration;

use crate::address::SocketType;
use crate::capacity::{Capacity, Needs};
use crate::listen::endpoint::Endpoint;

/// The settings of a server that makes no request of a connection before the first byte of its
/// client has come.
///
/// Until then the connection waits in the loop: no handler runs for it, and it has no thread,
/// process or permit. It has passed [`Hooks::verify_request`](crate::Hooks::verify_request), and
/// keeps the guards that this has given to it. When the byte comes, the request begins. The end
/// of the stream is as good as a byte: an empty request is one. A connection that is reset before
/// is refused ([`Refusal::Reset`](crate::access::Refusal::Reset)).
///
/// A client whose handler speaks first would wait for it until the timeout, so servers do not do
/// this by default.
///
/// ```
/// use std::time::Duration;
/// use socketserver::{DeferAccept, Request, Server};
///
/// let server = Server::builder(|request: &Request, _: &socketserver::Address, _: &_| {
///     request.sendall(&request.recv(1024)?.to_ascii_uppercase())
/// })
/// .bind("tcp://127.0.0.1:0".parse()?)
/// .defer_accept(DeferAccept::new(Duration::from_secs(60)))
/// .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct DeferAccept {
    /// The longest time that a connection waits for its first byte. After it the request fails
    /// with [`Reason::IdleTimeout`](crate::Reason::IdleTimeout), without a handler.
    pub idle_timeout: Duration,
    /// The most connections in a process, of those that wait and those that have a request.
    /// While there are as many, the server accepts no other.
    pub max_connections: usize,
}

impl DeferAccept {
    /// Returns settings with this timeout, for as many connections as the limit of descriptors
    /// allows if each takes one.
    pub fn new(idle_timeout: Duration) -> Self {
        DeferAccept { idle_timeout, max_connections: DeferAccept::capacity(1) }
    }

    /// Returns the number of connections that the limit of descriptors allows if each takes as
    /// many. A part of the descriptors stays in reserve.
    pub fn capacity(descriptors: usize) -> usize {
        let needs = Needs { mappings: 0, descriptors, memory: 0, address_space: 0, threads: 0 };
        Capacity::of_this_machine(needs).requests
    }

    /// Checks that clients at `endpoint` have a first byte to wait for.
    ///
    /// # Errors
    ///
    /// The endpoint is for datagrams. The error is a sentence that says what to do.
    pub fn check_endpoint(&self, endpoint: &Endpoint) -> Result<(), String> {
        match endpoint.socket_type() {
            SocketType::Stream => Ok(()),
            SocketType::Dgram => Err(format!(
                "connections wait for their first byte, and {endpoint} is for datagrams, which \
                 come whole: serve it by another server, without this"
            )),
        }
    }
}
