//! Landlock: no files but those that are granted, no TCP, nothing of processes
//! outside. See `landlock(7)`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, Scope,
};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;

use crate::error::{JailError, Wall};
use crate::jail::Jail;
use crate::sys;

/// What is refused. A kernel with an older ABI refuses less: TCP from the fourth
/// on, what is outside from the sixth. seccomp refuses all of it anyway.
const KNOWN: ABI = ABI::V7;

/// Rules that are ready to be put in force.
pub(crate) struct Files(OwnedFd);

impl Files {
    /// What a jail asks for.
    ///
    /// Errors: a path that is granted cannot be opened, or Landlock fails.
    pub(crate) fn new(jail: &Jail) -> Result<Self, JailError> {
        // Whoever answers Unix datagrams sends them to sockets of others, which
        // mostly have abstract names.
        let scope =
            if jail.serves.datagrams() { Scope::Signal.into() } else { Scope::from_all(KNOWN) };
        let rules = Ruleset::default()
            .handle_access(AccessFs::from_all(KNOWN))
            .and_then(|rules| rules.handle_access(AccessNet::from_all(KNOWN)))
            .and_then(|rules| rules.scope::<BitFlags<Scope>>(scope))
            .and_then(Ruleset::create)
            .map_err(failed)?;
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        let write = AccessFs::from_all(KNOWN) & !AccessFs::Execute & !AccessFs::IoctlDev;
        let grants = (jail.read_only.iter().map(|path| (path, read)))
            .chain(jail.read_write.iter().map(|path| (path, write)));
        let mut rules = rules;
        for (path, access) in grants {
            rules = Self::grant(rules, path, access)?;
        }
        let rules: Option<OwnedFd> = rules.into();
        rules.map(Files).ok_or_else(|| failed("the kernel does not enforce it"))
    }

    fn grant(
        rules: RulesetCreated,
        path: &Path,
        access: BitFlags<AccessFs>,
    ) -> Result<RulesetCreated, JailError> {
        let no_path = |why: Errno| JailError::Path { path: path.to_owned(), why: why.into() };
        let granted = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(no_path)?;
        let mode = fstat(&granted).map_err(no_path)?.st_mode;
        // A file has no entries.
        let access = match FileType::from_raw_mode(mode) {
            FileType::Directory => access,
            _ => access & AccessFs::from_file(KNOWN),
        };
        rules.add_rule(PathBeneath::new(granted, access)).map_err(failed)
    }

    /// Puts the rules in force for this thread, and those that it starts. It must
    /// have no way to get new privileges.
    pub(crate) fn restrict(&self) -> Result<(), JailError> {
        sys::landlock_restrict_self(self.0.as_fd()).map_err(JailError::failed(Wall::Landlock))
    }

    /// The descriptor of the rules.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// As text: errors of the library print their causes, and have them as sources too.
fn failed(error: impl std::fmt::Display) -> JailError {
    JailError::Failed { wall: Wall::Landlock, why: io::Error::other(error.to_string()) }
}
