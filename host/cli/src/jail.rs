//! What a process gives up before it serves: the jail, and the user that it is.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use socketserver::{
    AddressFamily, Endpoint, HandlerError, Reason, SocketType, kernel_refuses_descriptors,
};
use socketserver_jail::{
    Descriptors, Jail, JailError, Kind, Mode as Walls, Prepared, Request as OneRequest, Serves,
    become_user, check_user,
};
use socketserver_sandbox::{Dir, HandlerDescriptors};

use crate::args::{JailMode, ServeOptions};
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
    let walls = match options.loading.profile.jail(options.jail, mode) {
        JailMode::Require => Walls::Require,
        JailMode::Try => Walls::Try,
        JailMode::Off => Walls::Off,
    };
    if walls == Walls::Off {
        return Ok(GivenUp { jail: None, user, forks, descriptors });
    }
    let serves = |socket_type| endpoints.iter().any(|end| end.socket_type() == socket_type);
    let serves = match (serves(SocketType::Stream), serves(SocketType::Dgram)) {
        (true, true) => Serves::Both,
        (false, true) => Serves::Datagrams,
        _ => Serves::Streams,
    };
    // A worker lives on.
    let (kind, cpu_seconds) = match mode {
        Mode::Forking => (Kind::Request, Some(overtime.cpu_seconds)),
        _ => (Kind::Worker, None),
    };
    let becomes = user.map(|Identity { user, group }| (user, group));
    let (read_only, read_write) = granted(&options.grants.dir);
    let unix = |end: &&Endpoint| end.address().family() == AddressFamily::Unix;
    let senders = endpoints.iter().filter(unix).any(|end| end.socket_type() == SocketType::Dgram);
    let packet_info = endpoints.iter().any(Endpoint::has_packet_info);
    let user_and_files =
        Jail { user: becomes, read_only, read_write, cpu_seconds, ..Jail::new(walls) };
    let has_unix = endpoints.iter().any(|end| unix(&end));
    let names_source = packet_info && !has_unix;
    if packet_info && has_unix {
        tracing::warn!(
            "UDP answers leave from an address that the kernel chooses, as there are Unix sockets \
             in the jail too: serve them in a process of their own, or bind the addresses one by one"
        );
    }
    let takes_descriptors = has_unix && !kernel_refuses_descriptors();
    let jail =
        Jail { serves, senders, takes_descriptors, packet_info, names_source, ..user_and_files };
    let jail = jail.prepare(kind)?;
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
    let jail = Jail { read_only, read_write, cpu_seconds, ..Jail::new(Walls::Try) };
    jail.prepare(Kind::Worker)?.enter(None, &Descriptors::All).map(drop)
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
        if report.is_whole() {
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
            (Some(jail), _) => jail.surround(),
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
        request: Option<SocketType>,
        keep: Option<BorrowedFd<'_>>,
        unneeded: &[RawFd],
    ) -> Result<(), HandlerError> {
        let failed = |error| HandlerError::new(Reason::Jail, error);
        let Some(jail) = &self.jail else {
            return self.user.map_or(Ok(()), |Identity { user, group }| {
                become_user(user, group).map_err(failed)
            });
        };
        let request = request.map(|request| match request {
            SocketType::Stream => OneRequest::Connection,
            SocketType::Dgram => OneRequest::Datagram,
        });
        let entered = match keep {
            Some(keep) => {
                let only = std::iter::once(keep.as_raw_fd()).chain(self.descriptors.iter());
                jail.enter(request, &Descriptors::Only(&only.collect::<Vec<_>>()))
            }
            None => jail.enter(request, &Descriptors::AllBut(unneeded)),
        };
        entered.map(drop).map_err(failed)
    }
}
