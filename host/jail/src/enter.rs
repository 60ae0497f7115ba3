//! The steps by which a process enters the jail.

use crate::config::{Descriptors, ServedRequest};
use crate::error::{JailError, Wall};
use crate::prepare::{Prepared, Walls};
use crate::report::Report;
use crate::sys;
use crate::walls::landlock::Ruleset;
use crate::walls::{descriptors, privileges, user};

/// One step of entering.
type Step = fn(&Walls, &Descriptors<'_>) -> Result<(), JailError>;

/// The steps, in this order. The filter of system calls comes after them, because it forbids
/// calls that they make.
const STEPS: [Step; 6] = [
    // `setns(2)` needs CAP_SYS_ADMIN, which the third step drops.
    Walls::forbid_processes,
    // Needs CAP_SETUID and CAP_SETGID.
    Walls::become_user,
    // Landlock and seccomp need `no_new_privs`.
    Walls::drop_privileges,
    Walls::restrict_files,
    // Also closes the ruleset of Landlock.
    Walls::close_descriptors,
    // Forbids new descriptors.
    Walls::set_rlimits,
];

impl Prepared {
    /// Puts up the walls around this process, for good.
    ///
    /// The walls apply to this thread and to those that it starts later. Threads that the process
    /// has already must [enter](Self::enter_thread) before.
    ///
    /// `request` is the request that a process with [`Role::Request`](crate::Role::Request)
    /// serves; its transport must be one of [`Jail::transports`](crate::Jail::transports). `None` is for a process that serves
    /// no request, or many.
    ///
    /// # Errors
    ///
    /// A wall could not be put up. Others may stand already, so the process must end.
    pub fn enter(
        &self,
        request: Option<ServedRequest>,
        descriptors: &Descriptors<'_>,
    ) -> Result<Report, JailError> {
        let mut report = self.enter_without_seccomp(descriptors)?;
        let Some(walls) = &self.walls else { return Ok(report) };
        walls.filter_calls(request)?;
        report.seccomp = walls.seccomp.is_some();
        Ok(report)
    }

    /// Puts up the walls of a thread around this one: its privileges, Landlock and seccomp.
    ///
    /// A process that has several threads calls this in each but one, and then
    /// [`enter`](Self::enter) in that one, which puts up the walls of the process: its user,
    /// its limits and its descriptors. It is not for processes that serve one request.
    ///
    /// # Errors
    ///
    /// A wall could not be put up. Others may stand already, so the process must end.
    pub fn enter_thread(&self) -> Result<(), JailError> {
        let Some(walls) = &self.walls else { return Ok(()) };
        walls.drop_privileges(&Descriptors::All)?;
        walls.restrict_files(&Descriptors::All)?;
        walls.filter_calls(None)
    }

    /// Puts up all walls except seccomp, which hides the others. For tests.
    #[doc(hidden)]
    pub fn enter_without_seccomp(
        &self,
        descriptors: &Descriptors<'_>,
    ) -> Result<Report, JailError> {
        let Some(walls) = &self.walls else { return Ok(Report::default()) };
        STEPS.iter().try_for_each(|step| step(walls, descriptors))?;
        let landlock = walls.landlock.as_ref().map(Ruleset::abi);
        Ok(Report { user: walls.user, no_new_privs: true, rlimits: true, landlock, seccomp: false })
    }
}

impl Walls {
    /// Makes the children of this process members of a dead namespace, if the parent made
    /// one: root ignores `RLIMIT_NPROC`.
    fn forbid_processes(&self, _: &Descriptors<'_>) -> Result<(), JailError> {
        let namespace = self.inherited_walls().and_then(|walls| walls.dead_namespace.as_ref());
        namespace.map_or(Ok(()), sys::enter_namespace).map_err(JailError::failed(Wall::Processes))
    }

    fn become_user(&self, _: &Descriptors<'_>) -> Result<(), JailError> {
        self.user.map_or(Ok(()), |(user, group)| user::become_user(user, group))
    }

    fn drop_privileges(&self, _: &Descriptors<'_>) -> Result<(), JailError> {
        match self.inherited_walls() {
            None => privileges::drop_all_except(self.keeps).map(drop),
            Some(parent) if parent.has_capabilities => {
                user::drop_capabilities().map_err(JailError::failed(Wall::User))
            }
            Some(_) => Ok(()),
        }
    }

    fn restrict_files(&self, _: &Descriptors<'_>) -> Result<(), JailError> {
        match &self.landlock {
            Some(ruleset) if !self.inherited_walls().is_some_and(|parent| parent.landlock) => {
                ruleset.restrict()
            }
            _ => Ok(()),
        }
    }

    fn close_descriptors(&self, descriptors: &Descriptors<'_>) -> Result<(), JailError> {
        let ruleset = self.landlock.as_ref().map(Ruleset::as_raw_fd);
        let unneeded = self.inherited.iter().copied().chain(ruleset);
        descriptors::close(descriptors, unneeded).map_err(JailError::failed(Wall::Descriptors))
    }

    fn set_rlimits(&self, _: &Descriptors<'_>) -> Result<(), JailError> {
        let shared = match self.inherited_walls() {
            None => self.rlimits.set_shared(),
            Some(_) => Ok(()),
        };
        shared.and_then(|()| self.rlimits.set_own()).map_err(JailError::failed(Wall::Rlimits))
    }

    fn filter_calls(&self, request: Option<ServedRequest>) -> Result<(), JailError> {
        let Some(filters) = &self.seccomp else { return Ok(()) };
        let Some(parent) = self.inherited_walls() else { return filters.install(request) };
        if !parent.child_filters.includes(request.map(|one| one.kind)) {
            return Ok(());
        }
        let shared = self.parent.as_ref().and_then(|parent| parent.filters.as_ref());
        match shared.filter(|_| parent.shared_filter) {
            Some(shared) => shared.install_in_child(request),
            None => filters.install(request),
        }
    }
}
