//! The restrictions of the processes that serve: the jail, and another user.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use socketserver::{
    Address, AddressFamily, ConcurrencyKind, Endpoint, HandlerError, Reason, Request,
    SETTABLE_OPTIONS, SocketType, kernel_refuses_descriptors,
};
use socketserver_jail::{
    BrokeredSockets, Descriptors, Jail, JailError, JailMode, Prepared, RequestKind, Role,
    ServedRequest, Transports, become_user, check_user,
};
use socketserver_sandbox::{Broker, Dir, HandlerDescriptors, ProcessKind};

use super::process_limits::ProcessLimits;
use crate::settings::Settings;
use crate::values::owner::Identity;

/// The restrictions of the processes that serve. Clones share them.
#[derive(Clone)]
pub struct Restrictions {
    jail: Option<Arc<Prepared>>,
    user: Option<Identity>,
    forks: bool,
    /// The descriptors that a process in the jail keeps for its handler.
    descriptors: HandlerDescriptors,
    /// The process that opens sockets for handlers in the jail.
    broker: Option<Arc<Broker>>,
}

impl Restrictions {
    /// Prepares the restrictions, once and before the first fork. `descriptors` are those that
    /// the handler holds. If it is `brokered`, processes in the jail get sockets from a
    /// [broker](Self::with_broker).
    ///
    /// # Errors
    ///
    /// All walls of the jail are required and this machine lacks one, or this process may not
    /// become the user.
    pub fn prepare(
        settings: &Settings,
        endpoints: &[Endpoint],
        descriptors: HandlerDescriptors,
        limits: ProcessLimits,
        brokered: bool,
    ) -> Result<Self> {
        let (user, kind) = (settings.user, settings.concurrency.kind());
        if let Some(Identity { user, group }) = user {
            check_user(user, group).context("--user")?;
        }
        let forks = kind.forks();
        let unjailed = Restrictions { jail: None, user, forks, descriptors, broker: None };
        if settings.jail == JailMode::Off {
            return Ok(unjailed);
        }
        // A worker serves until the server ends.
        let (role, cpu_seconds) = match kind {
            ConcurrencyKind::Forking => (Role::Request, Some(limits.cpu_seconds)),
            _ => (Role::Worker, None),
        };
        let (read_only, read_write) = paths(&settings.policy.dirs);
        let is_unix = |end: &Endpoint| end.address().family() == AddressFamily::Unix;
        let is_datagram = |end: &Endpoint| end.socket_type() == SocketType::Dgram;
        let unix_sockets = endpoints.iter().any(is_unix);
        let jail = Jail {
            user: user.map(|Identity { user, group }| (user, group)),
            transports: transports(endpoints),
            unix_sockets,
            receives_credentials: endpoints.iter().any(|end| is_unix(end) && is_datagram(end)),
            receives_descriptors: unix_sockets && !kernel_refuses_descriptors(),
            brokered: brokered.then_some(BrokeredSockets { options: SETTABLE_OPTIONS }),
            packet_info: endpoints.iter().any(Endpoint::has_packet_info),
            read_only,
            read_write,
            cpu_seconds,
            ..Jail::new(settings.jail)
        };
        if jail.packet_info && !jail.sets_source_address(role) {
            tracing::warn!(
                "the kernel chooses the source address of replies over UDP, because jailed \
                 workers that have Unix sockets cannot set it: serve the Unix sockets in another \
                 process, or bind each UDP address"
            );
        }
        Ok(Restrictions { jail: Some(Arc::new(jail.prepare(role)?)), ..unjailed })
    }

    /// Connects processes that are forked from now on to a broker.
    pub fn with_broker(self, broker: Arc<Broker>) -> Self {
        Restrictions { broker: Some(broker), ..self }
    }

    /// Logs which walls the jail has.
    pub fn log_walls(&self) {
        if self.jail.is_none() {
            return;
        }
        let report = Jail::probe();
        if report.is_complete() {
            tracing::info!("{report}");
        } else {
            tracing::warn!("this machine has not all walls of the jail: {report}");
        }
    }

    /// Applies the restrictions to this process, whose sockets are bound. A process that forks
    /// gives up what none of its children needs; a process that serves itself becomes the
    /// user.
    ///
    /// # Errors
    ///
    /// A restriction cannot be applied. The process has to end.
    pub fn apply_to_server(&self) -> Result<(), JailError> {
        match (&self.jail, self.user) {
            (Some(jail), _) => jail.restrict_parent(),
            (None, Some(Identity { user, group })) if !self.forks => become_user(user, group),
            (None, _) => Ok(()),
        }
    }

    /// Applies the restrictions to a forked process. A process for one request keeps the
    /// descriptor `keep`; a worker closes `unneeded`.
    ///
    /// # Errors
    ///
    /// A restriction cannot be applied. The process has to end.
    pub fn apply_to_child(
        &self,
        request: Option<RequestKind>,
        keep: Option<BorrowedFd<'_>>,
        unneeded: &[RawFd],
    ) -> Result<(), HandlerError> {
        let failed = |error| HandlerError::new(Reason::Jail, error);
        let Some(jail) = &self.jail else {
            return self.user.map_or(Ok(()), |Identity { user, group }| {
                become_user(user, group).map_err(failed)
            });
        };
        let entered = if let Some(keep) = keep {
            let brokered = self.connect(ProcessKind::Request);
            let brokered = brokered.and_then(Broker::descriptors_of_request).into_iter().flatten();
            let socket = keep.as_raw_fd();
            let only = std::iter::once(socket).chain(self.descriptors.iter());
            let request = request.map(|kind| ServedRequest { kind, socket });
            jail.enter(request, &Descriptors::Only(&only.chain(brokered).collect::<Vec<_>>()))
        } else {
            let broker = self.connect(ProcessKind::Worker);
            let brokered = broker.map(Broker::descriptors_of_server).into_iter().flatten();
            let unneeded: Vec<_> = unneeded.iter().copied().chain(brokered).collect();
            jail.enter(None, &Descriptors::Except(&unneeded))
        };
        entered.map(drop).map_err(failed)
    }

    /// Connects this process to the broker, if there is one, and returns it.
    fn connect(&self, kind: ProcessKind) -> Option<&Broker> {
        let broker = self.broker.as_deref()?;
        if let Err(error) = broker.connect(kind) {
            tracing::error!("cannot reach the broker, so that handlers open no sockets: {error}");
        }
        Some(broker)
    }
}

/// Puts the process of `inspect` in a jail with the walls that this machine offers. `dirs`
/// stay within reach.
///
/// # Errors
///
/// A directory cannot be opened, or a wall failed. The process has to end.
pub fn enter_to_inspect(dirs: &[Dir], cpu_seconds: u64) -> Result<(), JailError> {
    let (read_only, read_write) = paths(dirs);
    let cpu_seconds = Some(cpu_seconds);
    let jail = Jail { read_only, read_write, cpu_seconds, ..Jail::new(JailMode::Try) };
    jail.prepare(Role::Worker)?.enter(None, &Descriptors::All).map(drop)
}

/// Returns the kind of a request, on which the filter of its process depends.
pub fn request_kind(request: &Request) -> RequestKind {
    if request.socket_type() == SocketType::Stream {
        return RequestKind::Connection;
    }
    match request.getsockname().as_ref().map(Address::family) {
        Ok(AddressFamily::Inet | AddressFamily::Inet6) => RequestKind::UdpDatagram,
        // The stricter filter, also if the kernel does not report the address.
        Ok(AddressFamily::Unix) | Err(_) => RequestKind::UnixDatagram,
    }
}

fn transports(endpoints: &[Endpoint]) -> Transports {
    let serves = |socket_type| endpoints.iter().any(|end| end.socket_type() == socket_type);
    match (serves(SocketType::Stream), serves(SocketType::Dgram)) {
        (true, true) => Transports::Both,
        (false, true) => Transports::Datagrams,
        _ => Transports::Streams,
    }
}

/// Returns the paths of directories that may be read, and of those that may be changed too.
fn paths(dirs: &[Dir]) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let paths = |writable| {
        let dirs = dirs.iter().filter(move |dir| dir.writable == writable);
        dirs.map(|dir| dir.host.clone()).collect()
    };
    (paths(false), paths(true))
}
