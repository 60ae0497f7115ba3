//! Building every wall ahead of time, so that entering is cheap.

use std::fs::File;
use std::os::fd::RawFd;
use std::sync::OnceLock;

use rustix::thread::CapabilitySet;

use crate::config::{Jail, JailMode, Role};
use crate::error::{JailError, Wall};
use crate::report::Report;
use crate::walls::landlock::Ruleset;
use crate::walls::rlimits::Rlimits;
use crate::walls::seccomp::{self, ChildFilters, Filters, ParentFilters};
use crate::walls::{descriptors, landlock, user};

/// A jail that this process and each of its children can enter.
pub struct Prepared {
    /// `None` with [`JailMode::Off`].
    pub(crate) walls: Option<Walls>,
}

/// The walls, ready to be put up.
pub(crate) struct Walls {
    pub(crate) user: Option<(u32, u32)>,
    pub(crate) rlimits: Rlimits,
    /// The capabilities that the process keeps if it has them.
    pub(crate) keeps: CapabilitySet,
    /// The descriptors that the program was started with, beyond the standard streams.
    pub(crate) inherited: Vec<RawFd>,
    pub(crate) landlock: Option<Ruleset>,
    pub(crate) seccomp: Option<Filters>,
    /// The walls of the process that forks; `None` if the processes that enter do not each
    /// serve one request.
    pub(crate) parent: Option<Parent>,
}

/// The walls of the process that forks. Its children inherit them at no cost.
pub(crate) struct Parent {
    pub(crate) filters: Option<ParentFilters>,
    /// Set by [`Prepared::restrict_parent`].
    pub(crate) restricted: OnceLock<RestrictedParent>,
}

/// The walls that a child has inherited.
pub(crate) struct RestrictedParent {
    /// A namespace in which no process can be made, for root.
    pub(crate) dead_namespace: Option<File>,
    /// Set if the child has capabilities to drop.
    pub(crate) has_capabilities: bool,
    /// Set if Landlock restricts the parent. Without seccomp each child restricts
    /// itself instead: Landlock then separates the child from its parent and siblings,
    /// which it does not do for processes in the same ruleset.
    pub(crate) landlock: bool,
    /// Set if the child has inherited a filter of system calls.
    pub(crate) shared_filter: bool,
    /// The children that install a filter of their own.
    pub(crate) child_filters: ChildFilters,
}

impl Walls {
    /// Returns what this process inherited from a restricted parent, if it did.
    pub(crate) fn inherited_walls(&self) -> Option<&RestrictedParent> {
        self.parent.as_ref()?.restricted.get()
    }
}

impl Jail {
    /// Returns the walls that this kernel offers. Puts up none.
    pub fn probe() -> Report {
        Report {
            user: None,
            no_new_privs: rustix::thread::no_new_privs().is_ok(),
            rlimits: true,
            landlock: landlock::abi().ok(),
            seccomp: seccomp::architecture().is_ok(),
        }
    }

    /// Returns the capabilities for what the kernel otherwise refuses: ports below 1024, and raw
    /// sockets.
    fn kept_capabilities(&self, role: Role) -> CapabilitySet {
        match role {
            Role::Broker if self.raw_sockets => {
                CapabilitySet::NET_BIND_SERVICE | CapabilitySet::NET_RAW
            }
            Role::Broker => CapabilitySet::NET_BIND_SERVICE,
            Role::Request | Role::Worker | Role::Compiler => CapabilitySet::empty(),
        }
    }

    /// Builds the walls for processes with this role. The process that forks calls it
    /// once, before it forks.
    ///
    /// # Errors
    ///
    /// - [`JailMode::Require`]: the kernel does not offer a wall.
    /// - [`JailMode::Require`] and [`JailMode::Try`]: a granted path cannot be opened, the
    ///   process may not become the user, or `/proc` is missing.
    pub fn prepare(&self, role: Role) -> Result<Prepared, JailError> {
        let missing = |wall| {
            move |why| match self.mode {
                JailMode::Require => Err(JailError::Missing { wall, why }),
                JailMode::Try | JailMode::Off => Ok(None),
            }
        };
        if self.mode == JailMode::Off {
            return Ok(Prepared { walls: None });
        }
        if let Some((user, group)) = self.user {
            user::check_user(user, group)?;
        }
        let abi = landlock::abi().map(Some).or_else(missing(Wall::Landlock))?;
        let arch = seccomp::architecture().map(Some).or_else(missing(Wall::Seccomp))?;
        let parent = (role == Role::Request).then(|| Parent {
            filters: arch.map(|arch| ParentFilters::new(arch, self)),
            restricted: OnceLock::new(),
        });
        let walls = Walls {
            user: self.user,
            rlimits: Rlimits::new(self, role),
            keeps: self.kept_capabilities(role),
            inherited: descriptors::inherited().map_err(JailError::failed(Wall::Descriptors))?,
            landlock: abi.map(|abi| Ruleset::new(abi, self, role)).transpose()?,
            seccomp: arch.map(|arch| Filters::new(arch, self, role)),
            parent,
        };
        Ok(Prepared { walls: Some(walls) })
    }
}
