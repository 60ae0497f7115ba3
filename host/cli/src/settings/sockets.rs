//! The settings of listening sockets.

use socketserver::{ServerBuilder, SocketType};

use crate::values::owner::Owner;

/// The settings of listening sockets.
#[derive(Debug, Clone)]
pub struct SocketSettings {
    /// The length of the queue of connections.
    pub request_queue_size: u32,
    /// True to set `SO_REUSEADDR`. By default it is set for streams only.
    pub allow_reuse_address: Option<bool>,
    /// True to set `SO_REUSEPORT`.
    pub allow_reuse_port: bool,
    /// The longest datagram that is received whole, in bytes.
    pub max_packet_size: usize,
    /// True to remove the file of a Unix socket that is closed.
    pub remove_stale_socket: bool,
    /// The permissions of the files of Unix sockets.
    pub mode: Option<u32>,
    /// The owner of the files of Unix sockets.
    pub owner: Option<Owner>,
}

impl Default for SocketSettings {
    fn default() -> Self {
        SocketSettings {
            request_queue_size: ServerBuilder::REQUEST_QUEUE_SIZE,
            allow_reuse_address: None,
            allow_reuse_port: false,
            max_packet_size: ServerBuilder::MAX_PACKET_SIZE,
            remove_stale_socket: false,
            mode: None,
            owner: None,
        }
    }
}

impl SocketSettings {
    /// Applies the settings to a server.
    pub fn apply(&self, builder: ServerBuilder) -> ServerBuilder {
        let reuse = |default| self.allow_reuse_address.unwrap_or(default);
        let builder = builder
            .request_queue_size(self.request_queue_size)
            .allow_reuse_address(reuse(false))
            .allow_reuse_address_for(SocketType::Stream, reuse(true))
            .allow_reuse_port(self.allow_reuse_port)
            .max_packet_size(self.max_packet_size)
            .remove_stale_socket(self.remove_stale_socket);
        let builder = match self.mode {
            Some(mode) => builder.socket_mode(mode),
            None => builder,
        };
        match self.owner {
            Some(Owner { user, group }) => builder.socket_owner(user, group),
            None => builder,
        }
    }
}
