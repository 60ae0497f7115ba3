//! seccomp: the system calls that a process may make. See `seccomp(2)`.

mod policy;
mod program;
mod rules;

use std::io;

use rustix::process::getpid;
use rustix::thread::secure_computing_mode;
use seccompiler::{apply_filter, sock_filter};

pub(crate) use self::policy::ChildFilters;
use crate::config::{Jail, RequestKind, Role, ServedRequest};
use crate::error::{JailError, Wall};

/// Returns the architecture of this process, as `AUDIT_ARCH_*` in `linux/audit.h` numbers it.
///
/// # Errors
///
/// The kernel has no seccomp, or the tables here do not cover the architecture.
pub(crate) fn architecture() -> io::Result<u32> {
    secure_computing_mode()?;
    rules::ARCH.ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// The filters that a process with a role may install when it enters.
pub(crate) struct Filters {
    no_request: Vec<sock_filter>,
    /// In the order of [`RequestKind::ALL`].
    requests: [Vec<sock_filter>; 3],
}

impl Filters {
    pub(crate) fn new(arch: u32, jail: &Jail, role: Role) -> Self {
        Filters::compiled(|request| {
            program::compile(arch, &policy::for_process(jail, role, request))
        })
    }

    /// Returns the filters of children on top of the one that they share with their parent.
    fn on_top_of_shared(arch: u32, jail: &Jail) -> Self {
        Filters::compiled(|request| {
            program::compile_on_top(arch, &policy::on_top_of_shared(jail, request))
        })
    }

    fn compiled(compile: impl Fn(Option<RequestKind>) -> Vec<sock_filter>) -> Self {
        Filters {
            no_request: compile(None),
            requests: RequestKind::ALL.map(|kind| compile(Some(kind))),
        }
    }

    /// Installs the filter for this process, which serves this request.
    pub(crate) fn install(&self, request: Option<ServedRequest>) -> Result<(), JailError> {
        let [connection, udp, unix] = &self.requests;
        let program = match request.map(|request| request.kind) {
            None => &self.no_request,
            Some(RequestKind::Connection) => connection,
            Some(RequestKind::UdpDatagram) => udp,
            Some(RequestKind::UnixDatagram) => unix,
        };
        install(&program::for_process(program, getpid(), request.map(|request| request.socket)))
    }
}

/// The filters that the process that forks may install, for itself and its children.
pub(crate) struct ParentFilters {
    /// The children that need a filter of their own.
    needed: ChildFilters,
    filter: Vec<sock_filter>,
    /// The filter if all children install one of their own.
    filter_for_all: Vec<sock_filter>,
    /// Filters that children install on top of either.
    children: Filters,
}

impl ParentFilters {
    pub(crate) fn new(arch: u32, jail: &Jail) -> Self {
        let needed = ChildFilters::needed(jail);
        let compile =
            |children| program::compile(arch, &policy::for_parent_and_children(jail, children));
        ParentFilters {
            needed,
            filter: compile(needed),
            filter_for_all: compile(ChildFilters::All),
            children: Filters::on_top_of_shared(arch, jail),
        }
    }

    /// Installs the filter. At `least` these children, and those that need it, install a
    /// filter of their own. Returns which children do.
    pub(crate) fn install(&self, least: ChildFilters) -> Result<ChildFilters, JailError> {
        let children = self.needed.max(least);
        install(if children == self.needed { &self.filter } else { &self.filter_for_all })?;
        Ok(children)
    }

    /// Installs the filter of a child, in which the shared one stands already.
    pub(crate) fn install_in_child(&self, request: Option<ServedRequest>) -> Result<(), JailError> {
        self.children.install(request)
    }
}

/// Installs a program as a filter of this thread.
fn install(program: &[sock_filter]) -> Result<(), JailError> {
    apply_filter(program)
        .map_err(|error| JailError::failed(Wall::Seccomp)(io::Error::other(error.to_string())))
}

#[cfg(test)]
mod tests;
