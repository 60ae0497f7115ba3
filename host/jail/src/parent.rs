//! The walls around the process that forks one for each request.
//!
//! Whatever is put up here holds for its children too, and costs none of them
//! anything. What only a child must do without is taken from it when it enters.

use std::fs::File;
use std::sync::OnceLock;

use rustix::thread::CapabilitySet;
use seccompiler::sock_filter;

use crate::calls;
use crate::error::{JailError, Wall};
use crate::files::Files;
use crate::filter;
use crate::jail::{Jail, Request, give_up_rights, put_in_place};
use crate::limits::Limits;
use crate::sys;
use crate::user;

/// What is to stand around it, and what stands.
pub(crate) struct Parent {
    becomes_user: bool,
    /// Which children need a filter of their own, as far as that is known before it is
    /// put up.
    own_filter: OwnFilter,
    /// The filter, in the order of [`OwnFilter`].
    filters: Option<[Vec<sock_filter>; 3]>,
    around: OnceLock<Around>,
}

/// Which of the children have a filter of their own, as the one that they share with
/// their parent cannot keep from them all that it must.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OwnFilter {
    /// None.
    None,
    /// Those for datagrams: they share the socket that their parent receives from.
    Datagrams,
    /// All of them.
    All,
}

impl OwnFilter {
    const EACH: [OwnFilter; 3] = [OwnFilter::None, OwnFilter::Datagrams, OwnFilter::All];

    /// What the children of this jail need.
    fn of(jail: &Jail) -> Self {
        // A process that can open files can have a descriptor of its parent, to which it
        // could send what its parent may send to it.
        match (jail.serves.streams(), jail.serves.datagrams()) {
            _ if jail.opens() => OwnFilter::All,
            (true, false) => OwnFilter::None,
            (true, true) => OwnFilter::Datagrams,
            (false, _) => OwnFilter::All,
        }
    }

    /// Whether a child for that request, or for none, has one.
    pub(crate) fn is_for(self, request: Option<Request>) -> bool {
        self == OwnFilter::All || request == Some(Request::Datagram)
    }
}

/// What stands, as far as a child has to know.
pub(crate) struct Around {
    /// Where no process can be made, for root.
    pub namespace: Option<File>,
    /// Whether a child has capabilities to give up.
    pub has_capabilities: bool,
    /// Whether the rules of Landlock stand. Without seccomp they are left to each
    /// child, for they keep it from its parent and siblings only if these are not
    /// within the same rules.
    pub landlock: bool,
    /// Which children have a filter of their own.
    pub own_filter: OwnFilter,
}

impl Parent {
    /// Makes ready what can be. Without an architecture there are no filters.
    pub(crate) fn new(jail: &Jail, arch: Option<u32>) -> Self {
        let filters = arch.map(|arch| {
            OwnFilter::EACH.map(|own| filter::compile_once(arch, &calls::shared(jail, own)))
        });
        let (becomes_user, own_filter) = (jail.user.is_some(), OwnFilter::of(jail));
        Parent { becomes_user, own_filter, filters, around: OnceLock::new() }
    }

    /// What stands; `None` if that is nothing.
    pub(crate) fn around(&self) -> Option<&Around> {
        self.around.get()
    }

    /// Puts the walls up.
    pub(crate) fn put_up(
        &self,
        limits: &Limits,
        files: Option<&Files>,
        seccomp: bool,
    ) -> Result<(), JailError> {
        if self.around().is_some() {
            return Ok(());
        }
        // That it may have no processes does not hold for root.
        let root = !self.becomes_user && user::is_root();
        let namespace = if root { sys::dead_namespace() } else { Ok(None) };
        let namespace = namespace.map_err(JailError::failed(Wall::Processes))?;
        let mut keep = CapabilitySet::empty();
        if self.becomes_user {
            // The last is for the signal that the children get at its end, or theirs.
            keep |= CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::KILL;
        }
        if namespace.is_some() {
            keep |= CapabilitySet::SYS_ADMIN;
        }
        let kept = give_up_rights(keep)?;
        limits.set_shared().map_err(JailError::failed(Wall::Limits))?;
        let everybody = root && namespace.is_none();
        let own_filter = if everybody { OwnFilter::All } else { self.own_filter };
        let filters = self.filters.as_ref().filter(|_| seccomp);
        let files = files.filter(|_| filters.is_some());
        files.map_or(Ok(()), Files::restrict)?;
        if let Some(filters) = filters {
            put_in_place(&filters[own_filter as usize])?;
        }
        let (has_capabilities, landlock) = (!kept.is_empty(), files.is_some());
        let around = Around { namespace, has_capabilities, landlock, own_filter };
        // Nobody else has put any up: there is one thread.
        let _ = self.around.set(around);
        Ok(())
    }
}
