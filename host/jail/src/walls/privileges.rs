//! Capabilities, `no_new_privs`, and protection from debuggers.

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{CapabilitySet, set_no_new_privs};

use super::user;
use crate::error::{JailError, Wall};

/// Drops all capabilities except these, and forbids new privileges and debugging. Returns
/// the capabilities that the process keeps.
pub(crate) fn drop_all_except(keep: CapabilitySet) -> Result<CapabilitySet, JailError> {
    let kept = user::keep_capabilities(keep).map_err(JailError::failed(Wall::User))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .and_then(|()| set_no_new_privs(true))
        .map_err(JailError::failed(Wall::NoNewPrivs))?;
    Ok(kept)
}
