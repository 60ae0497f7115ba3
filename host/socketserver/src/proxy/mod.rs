//! The PROXY protocol: a proxy names its client in a header in front of the connection.
//!
//! | file | contents |
//! |---|---|
//! | this one | [`ProxyProtocol`], the settings |
//! | `header` | the text of a header, versions 1 and 2 |
//! | `crc32c` | the checksum of version 2 |
//! | `reader` | a header that comes in parts, from the socket |
//!
//! `server/pending.rs` waits for the headers.

mod crc32c;
mod header;
mod reader;

use std::time::Duration;

pub(crate) use reader::{HeaderReader, Step};

use crate::access::ClientSet;
use crate::address::{Address, AddressFamily, SocketType};
use crate::listen::endpoint::Endpoint;
use crate::request::Request;

/// The proxies of a server, which name the client of each connection in a header of the PROXY
/// protocol, version 1 or 2.
///
/// Each connection must come from one of these proxies, and begin with a header that is whole
/// within a time. All other connections are refused, before
/// [`Hooks::verify_request`](crate::Hooks::verify_request), which then sees the client that
/// the header names. A header with `LOCAL` or `UNKNOWN` names no client: the client is the
/// proxy itself.
///
/// ```
/// use socketserver::access::{ClientSet, network};
/// use socketserver::{ProxyProtocol, Request, Server};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let proxies = ProxyProtocol::from_proxies(vec![ClientSet::Network(network("10.0.0.0/8")?)]);
/// let server = Server::builder(|request: &Request, client: &socketserver::Address, _: &_| {
///     request.sendall(client.to_string().as_bytes())
/// })
/// .bind("tcp://127.0.0.1:0".parse()?)
/// .proxies(proxies)
/// .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ProxyProtocol {
    proxies: Vec<ClientSet>,
    timeout: Duration,
}

impl ProxyProtocol {
    /// The default of [`timeout`](Self::timeout): the shortest that the protocol's
    /// specification recommends.
    pub const TIMEOUT: Duration = Duration::from_secs(3);

    /// Returns settings with which these proxies, and no others, may connect.
    pub fn from_proxies(proxies: Vec<ClientSet>) -> Self {
        ProxyProtocol { proxies, timeout: Self::TIMEOUT }
    }

    /// Sets the time in which a header must be whole, from the time at which its connection
    /// was accepted.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        ProxyProtocol { timeout, ..self }
    }

    /// Checks that connections to `endpoint` can begin with a header.
    ///
    /// # Errors
    ///
    /// The endpoint is for datagrams. The error is a sentence that says what to do.
    pub fn check_endpoint(&self, endpoint: &Endpoint) -> Result<(), String> {
        match endpoint.socket_type() {
            SocketType::Stream => Ok(()),
            SocketType::Dgram => Err(format!(
                "the PROXY protocol is for connections, and {endpoint} is for datagrams: serve it \
                 by another server, without proxies"
            )),
        }
    }

    pub(crate) fn header_timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns true if `peer`, the other end of the connection, is one of the proxies.
    pub(crate) fn includes(&self, request: &Request, peer: &Address) -> bool {
        let is_unix = peer.family() == AddressFamily::Unix;
        let credentials = if is_unix { request.peer_credentials() } else { None };
        self.proxies.iter().any(|proxies| proxies.includes(peer, credentials))
    }
}
