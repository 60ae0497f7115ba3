//! The configuration of a jail.

use std::fmt;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::UnknownMode;

/// The walls that a process requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JailMode {
    /// All walls. Without one of them the process does not serve.
    #[default]
    Require,
    /// The walls that this kernel offers.
    Try,
    /// No jail.
    Off,
}

impl JailMode {
    /// All modes.
    pub const ALL: [JailMode; 3] = [JailMode::Require, JailMode::Try, JailMode::Off];

    /// Returns the name of the mode, as options and messages write it.
    pub fn as_str(self) -> &'static str {
        match self {
            JailMode::Require => "require",
            JailMode::Try => "try",
            JailMode::Off => "off",
        }
    }
}

impl fmt::Display for JailMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for JailMode {
    type Err = UnknownMode;

    fn from_str(name: &str) -> Result<Self, UnknownMode> {
        JailMode::ALL.into_iter().find(|mode| mode.as_str() == name).ok_or(UnknownMode)
    }
}

/// The task of the process in the jail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Serves one request, in one thread.
    Request,
    /// Accepts connections and starts threads.
    Worker,
    /// Compiles a component: reads standard input, writes standard output and standard
    /// error, and has one thread. [`Jail::transports`] does not matter to it.
    Compiler,
    /// Opens sockets for processes in the jail, which get them by
    /// [`Jail::brokered`]. It starts threads. [`Jail::transports`] does not matter to it.
    Broker,
}

/// The sockets that a process in the jail gets from a process outside of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokeredSockets {
    /// The options that the process may set on its sockets: level and number. Others could lead
    /// a socket elsewhere, such as a route in `IP_OPTIONS`.
    pub options: &'static [(i32, i32)],
}

/// The kind of request that a child with [`Role::Request`] serves.
///
/// A server can have several sockets, and the allowed system calls depend on the kind:
/// see [`Prepared::enter`](crate::Prepared::enter).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// A connection, which belongs to the child. The child may not send to an address.
    Connection,
    /// A datagram over UDP, which the child already has. The child may reply. It may not
    /// receive from the socket, which all requests share, nor change it or shut it down.
    UdpDatagram,
    /// A datagram over a Unix socket, with the same rules. The child may not use `sendmsg`
    /// either, which could pass descriptors to another process.
    UnixDatagram,
}

impl RequestKind {
    /// All kinds.
    pub(crate) const ALL: [RequestKind; 3] =
        [RequestKind::Connection, RequestKind::UdpDatagram, RequestKind::UnixDatagram];

    pub(crate) fn is_datagram(self) -> bool {
        self != RequestKind::Connection
    }
}

/// The request that a child with [`Role::Request`] serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServedRequest {
    /// Its kind.
    pub kind: RequestKind,
    /// The descriptor of its socket. A child that has the socket of all datagrams, and sockets
    /// of a [broker](Role::Broker), may receive from those only.
    pub socket: RawFd,
}

/// The transports of a server's sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transports {
    /// Connections only.
    #[default]
    Streams,
    /// Datagrams only.
    Datagrams,
    /// Both.
    Both,
}

impl Transports {
    pub(crate) fn has_streams(self) -> bool {
        self != Transports::Datagrams
    }

    pub(crate) fn has_datagrams(self) -> bool {
        self != Transports::Streams
    }
}

/// The descriptors that a process keeps when it enters.
///
/// Descriptors are closed without running the destructors of their owners. The process
/// must neither use nor drop those owners any more, as in a child that serves one request
/// and ends with `_exit`.
#[derive(Debug, Clone, Copy)]
pub enum Descriptors<'a> {
    /// All that the process has.
    All,
    /// All except these, and except those that the program had inherited when the jail
    /// was [prepared](Jail::prepare).
    Except(&'a [RawFd]),
    /// Standard input, output and error, and these.
    Only(&'a [RawFd]),
}

/// The configuration of a jail: the walls that it requires, and the calls that it allows.
#[derive(Debug, Clone, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each allows a call that another does not")]
pub struct Jail {
    /// The walls that are required.
    pub mode: JailMode,
    /// User and group, by number, that the process becomes if it is root. `None` keeps
    /// the user. Capabilities are dropped in any case.
    pub user: Option<(u32, u32)>,
    /// Transports of the sockets.
    pub transports: Transports,
    /// Set if some sockets are Unix sockets. A process that has a Unix socket may not use
    /// `sendmsg`: native code could pass descriptors to an accomplice outside of the jail.
    pub unix_sockets: bool,
    /// Set if a worker receives Unix datagrams with the credentials of their senders, by
    /// `recvmsg`. Native code could then receive descriptors from an accomplice.
    pub receives_credentials: bool,
    /// Set if clients of Unix sockets can pass descriptors, because the kernel has no
    /// `SO_PASSRIGHTS` (before Linux 6.16). Then the process reads connections by `recvmsg`,
    /// resets `SO_LINGER` on each descriptor that it received, and closes it.
    pub receives_descriptors: bool,
    /// Set if a UDP socket is bound to a wildcard address (`IP_PKTINFO`). Then `recvmsg`
    /// reports the address that a datagram was sent to, and a reply names that address as
    /// its source by `sendmsg`: see [`sets_source_address`](Self::sets_source_address).
    pub packet_info: bool,
    /// Set if the process gets sockets from a [broker](Role::Broker). It receives descriptors and
    /// accepts connections. It may neither open sockets, nor bind, connect or listen, nor pass
    /// an address to a socket, except in the reply to a datagram. It does not matter to a process
    /// that serves no request.
    pub brokered: Option<BrokeredSockets>,
    /// Set if a broker may keep the capabilities for raw sockets.
    pub raw_sockets: bool,
    /// Directories in which a broker may make Unix sockets.
    pub socket_directories: Vec<PathBuf>,
    /// Files and directories that the process may read.
    pub read_only: Vec<PathBuf>,
    /// Files and directories that the process may read and change.
    pub read_write: Vec<PathBuf>,
    /// Limit of the address space in bytes (`RLIMIT_AS`). `None` for no limit, which an
    /// engine that serves needs: it reserves gigabytes for each memory.
    pub address_space: Option<u64>,
    /// Limit of CPU time in seconds (`RLIMIT_CPU`). At the limit the kernel sends
    /// `SIGXCPU`, and a second later `SIGKILL`. `None` for no limit. The limit never
    /// exceeds the one that the process already has.
    pub cpu_seconds: Option<u64>,
}

impl Jail {
    /// Returns a jail for connections, without files, in which the user stays the same.
    pub fn new(mode: JailMode) -> Self {
        Jail { mode, ..Jail::default() }
    }

    /// Returns whether replies over UDP can name their source address: with
    /// [`packet_info`](Self::packet_info), and unless the process also has Unix sockets. A
    /// child for one UDP datagram has no other socket. A worker has all of them.
    pub fn sets_source_address(&self, role: Role) -> bool {
        let has_unix_sockets = self.unix_sockets && role == Role::Worker;
        self.packet_info && !has_unix_sockets
    }

    /// Returns whether requests arrive with more than their data, which takes `recvmsg`.
    pub(crate) fn receives_messages(&self) -> bool {
        self.receives_credentials || self.packet_info || self.receives_descriptors
    }

    /// Returns whether the process may open files.
    pub(crate) fn opens_files(&self) -> bool {
        !self.read_only.is_empty() || !self.read_write.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_parsed_from_its_name() {
        for mode in JailMode::ALL {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert_eq!("no".parse::<JailMode>(), Err(UnknownMode));
    }
}
