//! Landlock: no files except the granted ones, no TCP, no signals to processes outside.
//! See `landlock(7)`.

use std::fmt::Display;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, Ruleset as Builder, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, Scope,
};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;

use crate::config::{Jail, Role};
use crate::error::{JailError, Wall};
use crate::sys;

pub(crate) use crate::sys::landlock_abi as abi;

/// The rights that the jail refuses. A kernel with an older ABI refuses fewer: it has TCP
/// from ABI 4 on, and scopes from ABI 6 on. seccomp refuses the same calls anyway.
const KNOWN: ABI = ABI::V7;

/// A ruleset, ready to be enforced.
pub(crate) struct Ruleset {
    /// The ABI of this kernel.
    abi: u32,
    rules: OwnedFd,
}

impl Ruleset {
    /// Returns the ruleset of a jail, on a kernel with this ABI.
    ///
    /// # Errors
    ///
    /// A granted path cannot be opened, or Landlock fails.
    pub(crate) fn new(abi: u32, jail: &Jail, role: Role) -> Result<Self, JailError> {
        // Replies to Unix datagrams go to sockets of other processes, most of which have
        // abstract names. So may the sockets be that a broker connects to.
        let is_broker = role == Role::Broker;
        let scope = if jail.transports.has_datagrams() || is_broker {
            Scope::Signal.into()
        } else {
            Scope::from_all(KNOWN)
        };
        let network = |rules: Builder| {
            if is_broker { Ok(rules) } else { rules.handle_access(AccessNet::from_all(KNOWN)) }
        };
        let mut rules = Builder::default()
            .handle_access(AccessFs::from_all(KNOWN))
            .and_then(network)
            .and_then(|rules| rules.scope::<BitFlags<Scope>>(scope))
            .and_then(Builder::create)
            .map_err(failed)?;
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        let write = AccessFs::from_all(KNOWN) & !AccessFs::Execute & !AccessFs::IoctlDev;
        let grants = (jail.read_only.iter().map(|path| (path, read)))
            .chain(jail.read_write.iter().map(|path| (path, write)))
            .chain(jail.socket_directories.iter().map(|path| (path, AccessFs::MakeSock.into())));
        for (path, access) in grants {
            rules = grant(rules, path, access)?;
        }
        let rules: Option<OwnedFd> = rules.into();
        let rules = rules.ok_or_else(|| failed("the kernel does not enforce it"))?;
        Ok(Ruleset { abi, rules })
    }

    /// Returns the ABI of this kernel.
    pub(crate) fn abi(&self) -> u32 {
        self.abi
    }

    /// Enforces the rules for this thread and the threads that it starts. The thread must
    /// have `no_new_privs`.
    pub(crate) fn restrict(&self) -> Result<(), JailError> {
        sys::landlock_restrict_self(self.rules.as_fd()).map_err(JailError::failed(Wall::Landlock))
    }

    /// Returns the descriptor of the ruleset.
    pub(crate) fn as_raw_fd(&self) -> RawFd {
        self.rules.as_raw_fd()
    }
}

fn grant(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, JailError> {
    let failed_path = |why: Errno| JailError::Path { path: path.to_owned(), why: why.into() };
    let granted = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(failed_path)?;
    let mode = fstat(&granted).map_err(failed_path)?.st_mode;
    // The kernel refuses rights on directory entries for anything else.
    let access = match FileType::from_raw_mode(mode) {
        FileType::Directory => access,
        _ => access & AccessFs::from_file(KNOWN),
    };
    rules.add_rule(PathBeneath::new(granted, access)).map_err(failed)
}

/// Converts the error to text: errors of the crate `landlock` print their causes and
/// return them as sources, too.
fn failed(error: impl Display) -> JailError {
    JailError::Failed { wall: Wall::Landlock, why: io::Error::other(error.to_string()) }
}
