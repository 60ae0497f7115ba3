//! The worlds of the contract that a handler can target.

use std::fmt;

use socketserver::SocketType;

/// A world of `wit/worlds.wit`: the kind of requests that a handler is for. It prints as its
/// name with the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum World {
    /// `stream-handler`: for connections, TCP or Unix.
    Stream,
    /// `datagram-handler`: for datagrams, UDP or Unix.
    Datagram,
}

impl World {
    /// All worlds.
    pub const ALL: [World; 2] = [World::Stream, World::Datagram];

    /// Returns the name, with the package and its version.
    pub fn name(self) -> &'static str {
        match self {
            World::Stream => "socketserver:handler/stream-handler@0.1.0",
            World::Datagram => "socketserver:handler/datagram-handler@0.1.0",
        }
    }

    /// Returns the interface that a component exports if it targets the world.
    pub(crate) fn interface(self) -> &'static str {
        match self {
            World::Stream => "socketserver:handler/stream-request@0.1.0",
            World::Datagram => "socketserver:handler/datagram-request@0.1.0",
        }
    }

    /// Returns the world whose handlers are for sockets of that type.
    pub(crate) fn for_socket_type(socket_type: SocketType) -> World {
        match socket_type {
            SocketType::Stream => World::Stream,
            SocketType::Dgram => World::Datagram,
        }
    }

    /// Returns the schemes with which to bind sockets for the world.
    pub(crate) fn schemes(self) -> &'static str {
        match self {
            World::Stream => "tcp:// or unix://",
            World::Datagram => "udp:// or unixgram://",
        }
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
