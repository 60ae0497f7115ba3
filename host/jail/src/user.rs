//! Becoming another user, for good: `setresuid(2)`, `capabilities(7)`.

use std::io;

use nix::unistd::{Gid, Uid, getgroups, getresgid, getresuid, setgroups, setresgid, setresuid};
use rustix::process::{getppid, parent_process_death_signal, set_parent_process_death_signal};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities,
};

use crate::error::{JailError, Wall};

/// Whether this process can become that user and group, with no other groups, or is
/// them.
///
/// Errors: it is not root; or that user is.
pub fn check_user(user: u32, group: u32) -> Result<(), JailError> {
    if user == 0 {
        return Err(JailError::Root);
    }
    if Uid::effective().is_root() {
        return Ok(());
    }
    if !is(user, group) {
        return Err(JailError::NotRoot { user, group });
    }
    let groups = getgroups().map_err(io::Error::from).map_err(JailError::failed(Wall::User))?;
    let only_that = groups.iter().all(|other| other.as_raw() == group);
    if only_that { Ok(()) } else { Err(JailError::OtherGroups { user }) }
}

/// Becomes that user, with that group and no other, for good, also where there is
/// no jail.
///
/// A change of user makes the kernel forget the signal that this process gets
/// when its parent ends (`PR_SET_PDEATHSIG(2const)`): it is set again.
///
/// Errors: it is not root, or that user is; the kernel refuses. Something may
/// have been given up then: the process has to end.
pub fn become_user(user: u32, group: u32) -> Result<(), JailError> {
    check_user(user, group)?;
    if Uid::effective().is_root() {
        change(user, group).map_err(JailError::failed(Wall::User))?;
    }
    Ok(())
}

fn change(user: u32, group: u32) -> io::Result<()> {
    let (parent, signal) = (getppid(), parent_process_death_signal()?);
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(group));
    setgroups(&[])?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    if !is(user, group) || !getgroups()?.is_empty() {
        return Err(io::Error::other("the kernel has not changed the user"));
    }
    let root = Uid::from_raw(0);
    if setresuid(root, root, root).is_ok() {
        return Err(io::Error::other("it could become root again"));
    }
    set_parent_process_death_signal(signal)?;
    if signal.is_some() && getppid() != parent {
        return Err(io::Error::other("the parent process is gone"));
    }
    Ok(())
}

fn is(user: u32, group: u32) -> bool {
    let users = getresuid()
        .is_ok_and(|ids| [ids.real, ids.effective, ids.saved].iter().all(|id| id.as_raw() == user));
    let groups = getresgid().is_ok_and(|ids| {
        [ids.real, ids.effective, ids.saved].iter().all(|id| id.as_raw() == group)
    });
    users && groups
}

/// Gives up all capabilities but these: what makes root more than another user.
/// Returns those that it has of them.
pub(crate) fn keep_capabilities(keep: CapabilitySet) -> io::Result<CapabilitySet> {
    let kept = capabilities(None)?.permitted & keep;
    clear_ambient_capability_set()?;
    let inheritable = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable })?;
    Ok(kept)
}

/// Gives up all capabilities, if there are some: becoming another user mostly has
/// done that already, and asking is cheaper.
pub(crate) fn drop_capabilities() -> io::Result<()> {
    let none = CapabilitySet::empty();
    if capabilities(None)?.permitted == none {
        return Ok(());
    }
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(())
}

/// Whether `RLIMIT_NPROC` does not hold for this process, whatever it gives up:
/// `getrlimit(2)`.
pub(crate) fn is_root() -> bool {
    Uid::current().is_root() || Uid::effective().is_root()
}
