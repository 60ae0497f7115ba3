//! What a process gives up before it serves: the jail, and the user that it is.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use socketserver::{
    Address, AddressFamily, Endpoint, HandlerError, Reason, Request, SocketType,
    kernel_refuses_descriptors,
};
use socketserver_jail::{
    Descriptors, Jail, JailError, JailMode, Prepared, RequestKind, Role, Transports, become_user,
    check_user,
};
use socketserver_sandbox::{Dir, HandlerDescriptors};

use crate::args::ServeOptions;
use crate::mode::Mode;
use crate::overtime::Overtime;
use crate::owner::Identity;

/// What the processes that serve give up; clones are of the same.
#[derive(Clone)]
pub struct GivenUp {
    jail: Option<Arc<Prepared>>,
    user: Option<Identity>,
    forks: bool,
    /// What a jailed process must not close.
    descriptors: HandlerDescriptors,
}

/// Makes ready what can be, once; with what the handler holds open in the jail.
///
/// Errors: the jail must have all of its walls, and this machine has not; this
/// process may not become the user.
pub fn prepare(
    options: &ServeOptions,
    mode: Mode,
    endpoints: &[Endpoint],
    descriptors: HandlerDescriptors,
    overtime: Overtime,
) -> Result<GivenUp> {
    let (user, forks) = (options.user, mode.forks());
    if let Some(Identity { user, group }) = user {
        check_user(user, group).context("--user")?;
    }
    let jail_mode = options.loading.profile.jail(options.jail, mode);
    if jail_mode == JailMode::Off {
        return Ok(GivenUp { jail: None, user, forks, descriptors });
    }
    let serves = |socket_type| endpoints.iter().any(|end| end.socket_type() == socket_type);
    let transports = match (serves(SocketType::Stream), serves(SocketType::Dgram)) {
        (true, true) => Transports::Both,
        (false, true) => Transports::Datagrams,
        _ => Transports::Streams,
    };
    // A worker lives on.
    let (role, cpu_seconds) = match mode {
        Mode::Forking => (Role::Request, Some(overtime.cpu_seconds)),
        _ => (Role::Worker, None),
    };
    let becomes = user.map(|Identity { user, group }| (user, group));
    let (read_only, read_write) = granted(&options.grants.dir);
    let is_unix = |end: &&Endpoint| end.address().family() == AddressFamily::Unix;
    let unix_sockets = endpoints.iter().any(|end| is_unix(&end));
    let jail = Jail {
        user: becomes,
        transports,
        unix_sockets,
        receives_credentials: (endpoints.iter().filter(is_unix))
            .any(|end| end.socket_type() == SocketType::Dgram),
        receives_descriptors: unix_sockets && !kernel_refuses_descriptors(),
        packet_info: endpoints.iter().any(Endpoint::has_packet_info),
        read_only,
        read_write,
        cpu_seconds,
        ..Jail::new(jail_mode)
    };
    if jail.packet_info && !jail.sets_source_address(role) {
        tracing::warn!(
            "the kernel chooses the source address of replies over UDP, because jailed workers \
             that have Unix sockets cannot set it: serve the Unix sockets in another process, or \
             bind each UDP address"
        );
    }
    let jail = jail.prepare(role)?;
    Ok(GivenUp { jail: Some(Arc::new(jail)), user, forks, descriptors })
}

/// Puts `inspect` in a jail as far as there is one, with so much CPU time; these directories
/// stay within reach.
///
/// Errors: a directory cannot be opened. The process has to end where a wall could not
/// be put up.
pub fn enter_to_inspect(dirs: &[Dir], cpu_seconds: u64) -> Result<(), JailError> {
    let (read_only, read_write) = granted(dirs);
    let cpu_seconds = Some(cpu_seconds);
    let jail = Jail { read_only, read_write, cpu_seconds, ..Jail::new(JailMode::Try) };
    jail.prepare(Role::Worker)?.enter(None, &Descriptors::All).map(drop)
}

/// The paths of directories that may be read, and of those that may be changed too.
fn granted(dirs: &[Dir]) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let paths = |writable| {
        let dirs = dirs.iter().filter(move |dir| dir.writable == writable);
        dirs.map(|dir| dir.host.clone()).collect()
    };
    (paths(false), paths(true))
}

impl GivenUp {
    /// Says which walls there are.
    pub fn report(&self) {
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

    /// What this process gives up, whose sockets are bound: all that it can where
    /// it forks a process for each request, its user where it serves itself.
    ///
    /// Errors: it cannot be given up. The process has to end.
    pub fn by_this_process(&self) -> Result<(), JailError> {
        match (&self.jail, self.user) {
            (Some(jail), _) => jail.restrict_parent(),
            (None, Some(Identity { user, group })) if !self.forks => become_user(user, group),
            (None, _) => Ok(()),
        }
    }

    /// What a forked process gives up: one for a request, whose socket it is to `keep`,
    /// or for none, or a worker (`None`). The latter does not need `unneeded`.
    ///
    /// Errors: it cannot be given up. The process has to end.
    pub fn in_child(
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
        let entered = match keep {
            Some(keep) => {
                let only = std::iter::once(keep.as_raw_fd()).chain(self.descriptors.iter());
                jail.enter(request, &Descriptors::Only(&only.collect::<Vec<_>>()))
            }
            None => jail.enter(request, &Descriptors::Except(unneeded)),
        };
        entered.map(drop).map_err(failed)
    }
}

/// Returns the kind of a request, on which the filter of its process depends.
pub fn kind_of(request: &Request) -> RequestKind {
    if request.socket_type() == SocketType::Stream {
        return RequestKind::Connection;
    }
    match request.getsockname().as_ref().map(Address::family) {
        Ok(AddressFamily::Inet | AddressFamily::Inet6) => RequestKind::UdpDatagram,
        // The stricter filter, also if the kernel does not tell the address.
        Ok(AddressFamily::Unix) | Err(_) => RequestKind::UnixDatagram,
    }
}
