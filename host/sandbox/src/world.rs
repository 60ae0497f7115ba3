//! The worlds of the contract that a handler can target.

use std::fmt;

use socketserver::SocketType;

/// A world of `wit/worlds.wit`: what a handler is for. It prints as its name,
/// version and all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum World {
    /// `stream-handler`: answers connections, TCP or Unix.
    Stream,
    /// `datagram-handler`: answers datagrams, UDP or Unix.
    Datagram,
}

impl World {
    /// All of them.
    pub const ALL: [World; 2] = [World::Stream, World::Datagram];

    /// The name, with the package and its version.
    pub fn name(self) -> &'static str {
        match self {
            World::Stream => "socketserver:handler/stream-handler@0.1.0",
            World::Datagram => "socketserver:handler/datagram-handler@0.1.0",
        }
    }

    /// What a component exports that targets it.
    pub(crate) fn interface(self) -> &'static str {
        match self {
            World::Stream => "socketserver:handler/stream-request@0.1.0",
            World::Datagram => "socketserver:handler/datagram-request@0.1.0",
        }
    }

    /// The world whose handlers answer what comes to a socket of that type.
    pub(crate) fn of(socket_type: SocketType) -> World {
        match socket_type {
            SocketType::Stream => World::Stream,
            SocketType::Dgram => World::Datagram,
        }
    }

    /// How to bind sockets of the type that it is for.
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
