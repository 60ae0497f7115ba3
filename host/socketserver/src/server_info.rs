//! Facts about a server for its handlers, and its defaults.

use std::time::Duration;

use crate::address::{Address, AddressFamily, SocketType};
use crate::listen::endpoint::Endpoint;

/// The default backlog.
pub(crate) const REQUEST_QUEUE_SIZE: u32 = 4096;

/// The default size of the longest datagram that is taken whole, in bytes.
pub(crate) const MAX_PACKET_SIZE: usize = 8192;

/// Facts about the server for its handlers: the attributes that Python's
/// handlers read from `self.server`.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerInfo {
    /// The address of the listening socket that took the request, with its
    /// real port.
    pub server_address: Address,
    /// The family of that socket.
    pub address_family: AddressFamily,
    /// The type of that socket.
    pub socket_type: SocketType,
    /// The backlog that the server asked for.
    pub request_queue_size: u32,
    /// The longest datagram that is taken whole, in bytes; `None` for streams.
    pub max_packet_size: Option<usize>,
    /// The longest time that `handle_request` waits. It does not apply to the request
    /// socket.
    pub timeout: Option<Duration>,
}

impl ServerInfo {
    /// Returns the facts about a server with Python's defaults that listens on
    /// `endpoint`: for tests that call a handler without a server.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::os::unix::net::UnixStream;
    /// use socketserver::{Endpoint, Request, RequestHandler, ServerInfo};
    ///
    /// fn test(handler: &impl RequestHandler) -> Result<(), Box<dyn std::error::Error>> {
    ///     let (client, request) = UnixStream::pair()?;
    ///     let endpoint: Endpoint = "tcp://127.0.0.1:9999".parse()?;
    ///     let server = Arc::new(ServerInfo::new(&endpoint));
    ///     let client_address = "127.0.0.1:50000".parse::<std::net::SocketAddr>()?.into();
    ///     handler.finish_request(&Request::new(request), &client_address, &server)?;
    ///     Ok(())
    /// }
    /// ```
    pub fn new(endpoint: &Endpoint) -> Self {
        let socket_type = endpoint.socket_type();
        ServerInfo {
            server_address: endpoint.address().clone(),
            address_family: endpoint.address().family(),
            socket_type,
            request_queue_size: REQUEST_QUEUE_SIZE,
            max_packet_size: (socket_type == SocketType::Dgram).then_some(MAX_PACKET_SIZE),
            timeout: None,
        }
    }
}
