//! The steps by which the process that forks for each request restricts itself.
//!
//! Its children inherit these walls at no cost. What only a child must lose, the child
//! gives up when it enters.

use rustix::thread::CapabilitySet;

use crate::error::{JailError, Wall};
use crate::prepare::{Prepared, RestrictedParent};
use crate::sys;
use crate::walls::landlock::Ruleset;
use crate::walls::seccomp::ChildFilters;
use crate::walls::{privileges, user};

impl Prepared {
    /// Puts up the walls that are the same for all children around this process, for good.
    ///
    /// The process that forks for each request calls it once, when its sockets are bound.
    /// It must have one thread. Afterwards it can accept connections and receive
    /// datagrams, read, write and wait on the descriptors that it has, fork, wait for its
    /// children, and kill them. It can open nothing, and do nothing else that a child may
    /// not do. Does nothing for roles other than
    /// [`Role::Request`](crate::Role::Request), and with
    /// [`JailMode::Off`](crate::JailMode::Off).
    ///
    /// # Errors
    ///
    /// A wall could not be put up. Others may stand already, so the process must end.
    pub fn restrict_parent(&self) -> Result<(), JailError> {
        self.restrict_parent_with(true)
    }

    /// Puts up all walls except seccomp, which hides the others. For tests.
    #[doc(hidden)]
    pub fn restrict_parent_without_seccomp(&self) -> Result<(), JailError> {
        self.restrict_parent_with(false)
    }

    fn restrict_parent_with(&self, seccomp: bool) -> Result<(), JailError> {
        let Some(walls) = &self.walls else { return Ok(()) };
        let Some(parent) = &walls.parent else { return Ok(()) };
        if parent.restricted.get().is_some() {
            return Ok(());
        }
        let changes_user = walls.user.is_some();
        let stays_root = !changes_user && user::is_root();
        let filters = parent.filters.as_ref().filter(|_| seccomp);
        let ruleset = walls.landlock.as_ref().filter(|_| filters.is_some());

        // 1. A namespace without processes. RLIMIT_NPROC does not apply to root.
        let dead_namespace = if stays_root { sys::dead_namespace() } else { Ok(None) };
        let dead_namespace = dead_namespace.map_err(JailError::failed(Wall::Processes))?;

        // 2. The capabilities that the children do not need in order to enter.
        let mut keep = CapabilitySet::empty();
        if changes_user {
            // KILL is for the parent's signals to children that are another user.
            keep |= CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::KILL;
        }
        if dead_namespace.is_some() {
            keep |= CapabilitySet::SYS_ADMIN;
        }
        let kept = privileges::drop_all_except(keep)?;

        // 3. The limits that the parent can do without, too.
        walls.rlimits.set_shared().map_err(JailError::failed(Wall::Rlimits))?;

        // 4. Files.
        ruleset.map_or(Ok(()), Ruleset::restrict)?;

        // 5. System calls. Without the namespace only a filter of its own keeps a child of
        // root from forking.
        let root_can_fork = stays_root && dead_namespace.is_none();
        let least = if root_can_fork { ChildFilters::All } else { ChildFilters::None };
        let child_filters = match filters {
            Some(filters) => filters.install(least)?,
            None => ChildFilters::All,
        };

        let restricted = RestrictedParent {
            dead_namespace,
            has_capabilities: !kept.is_empty(),
            landlock: ruleset.is_some(),
            shared_filter: filters.is_some(),
            child_filters,
        };
        // The process has one thread, so no other has set it meanwhile.
        let _ = parent.restricted.set(restricted);
        Ok(())
    }
}
