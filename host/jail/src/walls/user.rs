//! The user and the capabilities of the process: `setresuid(2)`, `capabilities(7)`.

use std::io;

use nix::unistd::{Gid, Uid, getgroups, getresgid, getresuid, setgroups, setresgid, setresuid};
use rustix::process::{getppid, parent_process_death_signal, set_parent_process_death_signal};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities,
};

use crate::error::{JailError, Wall};

/// Checks that this process can become the user and the group, without supplementary
/// groups, or already is them.
///
/// # Errors
///
/// The user is root, or this process is not root and differs from the user.
pub fn check_user(user: u32, group: u32) -> Result<(), JailError> {
    if user == 0 {
        return Err(JailError::Root);
    }
    if Uid::effective().is_root() {
        return Ok(());
    }
    if !has_ids(user, group) {
        return Err(JailError::NotRoot { user, group });
    }
    let groups = getgroups().map_err(io::Error::from).map_err(JailError::failed(Wall::User))?;
    let has_no_others = groups.iter().all(|other| other.as_raw() == group);
    if has_no_others { Ok(()) } else { Err(JailError::OtherGroups { user }) }
}

/// Becomes the user, with the group and no supplementary groups, for good. Works without
/// a jail, too.
///
/// A change of user makes the kernel forget the signal that the process gets when its
/// parent ends (`PR_SET_PDEATHSIG(2const)`). This function sets the signal again.
///
/// # Errors
///
/// This process is not root, the user is root, or the kernel refuses. The process may have
/// lost some rights already, so it must end.
pub fn become_user(user: u32, group: u32) -> Result<(), JailError> {
    check_user(user, group)?;
    if Uid::effective().is_root() {
        change_user(user, group).map_err(JailError::failed(Wall::User))?;
    }
    Ok(())
}

fn change_user(user: u32, group: u32) -> io::Result<()> {
    let (parent, signal) = (getppid(), parent_process_death_signal()?);
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(group));
    setgroups(&[])?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    if !has_ids(user, group) || !getgroups()?.is_empty() {
        return Err(io::Error::other("the kernel has not changed the user"));
    }
    let root = Uid::from_raw(0);
    if setresuid(root, root, root).is_ok() {
        return Err(io::Error::other("the process could become root again"));
    }
    set_parent_process_death_signal(signal)?;
    if signal.is_some() && getppid() != parent {
        return Err(io::Error::other("the parent process has ended"));
    }
    Ok(())
}

/// Returns whether all user and group ids of the process are these.
fn has_ids(user: u32, group: u32) -> bool {
    let users = getresuid()
        .is_ok_and(|ids| [ids.real, ids.effective, ids.saved].iter().all(|id| id.as_raw() == user));
    let groups = getresgid().is_ok_and(|ids| {
        [ids.real, ids.effective, ids.saved].iter().all(|id| id.as_raw() == group)
    });
    users && groups
}

/// Drops all capabilities except these. Returns the ones that the process keeps.
pub(crate) fn keep_capabilities(keep: CapabilitySet) -> io::Result<CapabilitySet> {
    let kept = capabilities(None)?.permitted & keep;
    clear_ambient_capability_set()?;
    let inheritable = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable })?;
    Ok(kept)
}

/// Drops all capabilities, if there are any. A change of user has usually done so, and
/// asking is cheaper.
pub(crate) fn drop_capabilities() -> io::Result<()> {
    let none = CapabilitySet::empty();
    if capabilities(None)?.permitted == none {
        return Ok(());
    }
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(())
}

/// Returns whether `RLIMIT_NPROC` does not apply to this process, even without
/// capabilities: `getrlimit(2)`.
pub(crate) fn is_root() -> bool {
    Uid::current().is_root() || Uid::effective().is_root()
}
