//! The jails that cases run in.

use std::os::fd::{AsRawFd, RawFd};

use socketserver_jail::{
    BrokeredSockets, Descriptors, Jail, JailMode, Prepared, Report, RequestKind, Role,
    ServedRequest, Transports,
};

use super::{first_thread, fork_for_a_request};

/// The jail that a case runs in.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub struct Setup {
    pub role: Role,
    pub transports: Transports,
    /// The kind of the request that the process serves, if it serves one.
    pub request: Option<RequestKind>,
    /// The descriptor of its socket.
    pub socket: RawFd,
    /// The server has Unix sockets.
    pub unix_sockets: bool,
    /// The UDP socket is bound to all addresses.
    pub wildcard: bool,
    /// The process may open some files.
    pub opens_files: bool,
    /// The process gets sockets from a broker.
    pub brokered: bool,
    /// The process has the filter of seccomp, which hides the other walls.
    pub seccomp: bool,
    /// A thread runs the case that was there before the process entered the jail.
    pub second_thread: bool,
    /// Root runs the case, and the process becomes another user.
    pub as_root: bool,
    /// The process enters the jail.
    pub jailed: bool,
}

/// The options of sockets that a process with a broker may set.
const OPTIONS: &[(i32, i32)] =
    &[(libc::SOL_SOCKET, libc::SO_LINGER), (libc::IPPROTO_TCP, libc::TCP_NODELAY)];

/// The user that a process of root becomes.
pub const NOBODY: u32 = 65_534;

pub(super) const REQUEST: Setup = Setup {
    role: Role::Request,
    transports: Transports::Streams,
    request: Some(RequestKind::Connection),
    socket: -1,
    unix_sockets: false,
    wildcard: false,
    opens_files: false,
    brokered: false,
    seccomp: true,
    second_thread: false,
    as_root: false,
    jailed: true,
};
pub(super) const WORKER: Setup = Setup { role: Role::Worker, request: None, ..REQUEST };
pub(super) const COMPILER: Setup = Setup { role: Role::Compiler, request: None, ..REQUEST };
/// The threads that compile beside the first.
pub(super) const COMPILER_THREAD: Setup = Setup { second_thread: true, ..COMPILER };
pub(super) const DATAGRAM: Setup =
    Setup { transports: Transports::Datagrams, request: Some(RequestKind::UdpDatagram), ..REQUEST };
/// The children of a server with both transports.
pub(super) const MIXED_DATAGRAM: Setup = Setup { transports: Transports::Both, ..DATAGRAM };
pub(super) const MIXED_STREAM: Setup = Setup { transports: Transports::Both, ..REQUEST };
/// The same, and they may open files.
pub(super) const OPENS: Setup = Setup { opens_files: true, ..REQUEST };
pub(super) const OPENS_DATAGRAM: Setup = Setup { opens_files: true, ..DATAGRAM };
pub(super) const OPENS_MIXED_DATAGRAM: Setup = Setup { opens_files: true, ..MIXED_DATAGRAM };
/// A process that runs the preflight of a handler.
pub(super) const NO_REQUEST: Setup = Setup { request: None, ..DATAGRAM };
/// The UDP socket is bound to all addresses.
pub(super) const DATAGRAM_ON_ALL: Setup = Setup { wildcard: true, ..DATAGRAM };
pub(super) const WORKER_ON_ALL: Setup =
    Setup { role: Role::Worker, request: None, ..DATAGRAM_ON_ALL };
/// The server has such a UDP socket, and Unix sockets.
pub(super) const UDP_BESIDE_UNIX: Setup =
    Setup { unix_sockets: true, wildcard: true, ..MIXED_DATAGRAM };
pub(super) const UNIX_DATAGRAM_BESIDE_UDP: Setup =
    Setup { request: Some(RequestKind::UnixDatagram), ..UDP_BESIDE_UNIX };
pub(super) const UNIX_STREAM_BESIDE_UDP: Setup =
    Setup { request: Some(RequestKind::Connection), ..UDP_BESIDE_UNIX };
pub(super) const WORKER_UNIX_AND_UDP: Setup =
    Setup { role: Role::Worker, request: None, ..UDP_BESIDE_UNIX };
/// The process gets sockets from a broker.
pub(super) const BROKERED: Setup = Setup { brokered: true, ..REQUEST };
pub(super) const BROKERED_WORKER: Setup = Setup { brokered: true, ..WORKER };
pub(super) const BROKERED_WITH_UNIX: Setup = Setup { unix_sockets: true, ..BROKERED };
/// The same for a process that has the socket of all datagrams, too.
pub(super) const BROKERED_DATAGRAM: Setup = Setup { brokered: true, ..DATAGRAM };
pub(super) const BROKERED_UDP_ON_ALL: Setup = Setup { brokered: true, ..DATAGRAM_ON_ALL };
pub(super) const BROKERED_UDP_BESIDE_UNIX: Setup = Setup { brokered: true, ..UDP_BESIDE_UNIX };
pub(super) const BROKERED_UNIX_DATAGRAM: Setup =
    Setup { brokered: true, ..UNIX_DATAGRAM_BESIDE_UDP };
pub(super) const BROKERED_DATAGRAM_WITH_FILES: Setup =
    Setup { opens_files: true, ..BROKERED_DATAGRAM };
/// The broker itself.
pub(super) const BROKER: Setup = Setup { role: Role::Broker, request: None, ..REQUEST };
/// Without seccomp.
pub(super) const OTHER_WALLS: Setup = Setup { seccomp: false, ..REQUEST };
/// The same for a worker, which may have more descriptors.
pub(super) const WORKER_WALLS: Setup = Setup { seccomp: false, ..WORKER };
pub(super) const USER: Setup = Setup { as_root: true, ..OTHER_WALLS };
pub(super) const USER_SECCOMP: Setup = Setup { as_root: true, ..REQUEST };

impl Setup {
    pub fn name(self) -> String {
        let transports = match (self.transports, self.request) {
            (_, None) if self.role == Role::Request => "_none",
            (Transports::Both, Some(RequestKind::UdpDatagram)) => "_mixed_datagram",
            (Transports::Both, Some(RequestKind::UnixDatagram)) => "_mixed_unix_datagram",
            (Transports::Both, _) => "_mixed_stream",
            (Transports::Datagrams, _) => "_datagram",
            (Transports::Streams, _) => "",
        };
        let suffix = |has: bool, suffix| if has { suffix } else { "" };
        [
            &format!("{:?}", self.role).to_lowercase(),
            transports,
            suffix(self.unix_sockets, "_with_unix"),
            suffix(self.wildcard, "_on_all"),
            suffix(self.opens_files, "_with_files"),
            suffix(self.brokered, "_with_broker"),
            suffix(self.second_thread, "_thread"),
            suffix(!self.seccomp, "_without_seccomp"),
            suffix(self.as_root, "_as_nobody"),
            suffix(!self.jailed, "_free"),
        ]
        .concat()
    }

    /// Returns the same for a process whose request has this socket.
    pub fn of(self, socket: &impl AsRawFd) -> Setup {
        Setup { socket: socket.as_raw_fd(), ..self }
    }

    pub fn served(self) -> Option<ServedRequest> {
        self.request.map(|kind| ServedRequest { kind, socket: self.socket })
    }

    pub fn jail(self) -> Jail {
        let mode = if self.jailed { JailMode::Require } else { JailMode::Off };
        Jail {
            user: self.as_root.then_some((NOBODY, NOBODY)),
            transports: self.transports,
            unix_sockets: self.unix_sockets,
            receives_credentials: self.transports != Transports::Streams && !self.wildcard,
            packet_info: self.wildcard,
            brokered: self.brokered.then_some(BrokeredSockets { options: OPTIONS }),
            read_only: if self.opens_files { vec!["/dev/null".into()] } else { vec![] },
            ..Jail::new(mode)
        }
    }

    pub fn enter(self) -> Report {
        self.enter_as(&self.jail(), &Descriptors::All)
    }

    pub fn enter_keeping(self, keep: &[RawFd]) -> Report {
        self.enter_as(&self.jail(), &Descriptors::Only(keep))
    }

    pub fn enter_as(self, jail: &Jail, descriptors: &Descriptors<'_>) -> Report {
        // Its descriptors are closed before it could be dropped.
        let prepared: &'static Prepared = Box::leak(Box::new(jail.prepare(self.role).unwrap()));
        if self.role == Role::Request && self.jailed {
            if self.seccomp {
                prepared.restrict_parent().unwrap();
            } else {
                prepared.restrict_parent_without_seccomp().unwrap();
            }
            fork_for_a_request();
        }
        let entered = if self.second_thread {
            prepared.enter_thread().unwrap();
            first_thread::enter(prepared, descriptors)
        } else if self.seccomp {
            prepared.enter(self.served(), descriptors)
        } else {
            prepared.enter_without_seccomp(descriptors)
        };
        entered.unwrap()
    }
}
