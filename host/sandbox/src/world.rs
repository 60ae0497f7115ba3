//! The worlds that a handler can target: those of the contract, and that of programs.

use std::fmt;

use socketserver::SocketType;

/// The export of `wit/worlds.wit` with which a component states that its clients speak first.
pub(crate) const CLIENT_SPEAKS_FIRST: &str = "client-speaks-first";

/// A world that a handler can target: the kind of requests that the handler is for. It prints
/// as its name with the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum World {
    /// `stream-handler` of `wit/worlds.wit`: for connections, TCP or Unix.
    Stream,
    /// `datagram-handler` of `wit/worlds.wit`: for datagrams, UDP or Unix.
    Datagram,
    /// `wasi:cli/command`: a program that speaks on its standard input and output, for
    /// connections and for datagrams. A component that also targets a world of the contract is
    /// a handler of the contract.
    Command,
}

impl World {
    /// All worlds.
    pub const ALL: [World; 3] = [World::Stream, World::Datagram, World::Command];

    /// The worlds of the contract.
    pub(crate) const CONTRACT: [World; 2] = [World::Stream, World::Datagram];

    /// Returns the name, with the package and its version.
    pub fn name(self) -> &'static str {
        match self {
            World::Stream => "socketserver:handler/stream-handler@0.1.0",
            World::Datagram => "socketserver:handler/datagram-handler@0.1.0",
            World::Command => "wasi:cli/command@0.2.0",
        }
    }

    /// Returns the interface that a component exports if it targets the world.
    pub(crate) fn interface(self) -> &'static str {
        match self {
            World::Stream => "socketserver:handler/stream-request@0.1.0",
            World::Datagram => "socketserver:handler/datagram-request@0.1.0",
            World::Command => "wasi:cli/run@0.2.0",
        }
    }

    /// Returns the world of the contract whose handlers are for sockets of that type.
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
            World::Command => "any socket",
        }
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
