//! What can go wrong.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// What a jail is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wall {
    /// Another user and group, and no capabilities.
    User,
    /// `no_new_privs`, and not being debugged or dumped.
    NoNewPrivs,
    /// Limits of resources.
    Limits,
    /// No new processes, for root, whom limits do not concern.
    Processes,
    /// Landlock: no files, no TCP.
    Landlock,
    /// No descriptors but those that are needed.
    Descriptors,
    /// seccomp: no system calls but those that serving needs.
    Seccomp,
}

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wall::User => "another user",
            Wall::NoNewPrivs => "no_new_privs",
            Wall::Limits => "rlimits",
            Wall::Processes => "no new processes",
            Wall::Landlock => "landlock",
            Wall::Descriptors => "closed descriptors",
            Wall::Seccomp => "seccomp",
        })
    }
}

/// Why there is no jail. It prints without its cause, which is its
/// [`source`](std::error::Error::source).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JailError {
    /// This kernel does not offer one of the walls.
    #[error("this machine has no {wall} for the jail (`--jail try` does without)")]
    Missing {
        /// Which one.
        wall: Wall,
        /// What the kernel says.
        #[source]
        why: io::Error,
    },
    /// A wall that there is could not be put up.
    #[error("cannot enter the jail: {wall}")]
    Failed {
        /// Which one.
        wall: Wall,
        /// What the kernel says.
        #[source]
        why: io::Error,
    },
    /// A path that is to be open in the jail is not there.
    #[error("cannot open `{}` for the jail", path.display())]
    Path {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        why: io::Error,
    },
    /// Another user was asked for, and only root can become one.
    #[error("only root can become user {user} and group {group}")]
    NotRoot {
        /// The user.
        user: u32,
        /// The group.
        group: u32,
    },
    /// This process is the user that was asked for, and has other groups beside.
    #[error("only root can give up the other groups of user {user}")]
    OtherGroups {
        /// The user.
        user: u32,
    },
    /// The user that was asked for is root.
    #[error("the user of the jail is root: name another")]
    Root,
}

impl JailError {
    /// For `map_err`: this wall could not be put up.
    pub(crate) fn failed<E: Into<io::Error>>(wall: Wall) -> impl Fn(E) -> JailError {
        move |why| JailError::Failed { wall, why: why.into() }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn an_error_prints_without_its_cause() {
        let why = || io::Error::from(io::ErrorKind::Unsupported);
        for error in [
            JailError::Missing { wall: Wall::Landlock, why: why() },
            JailError::Failed { wall: Wall::Limits, why: why() },
            JailError::Path { path: "/nowhere".into(), why: why() },
        ] {
            let cause = error.source().unwrap().to_string();
            assert_eq!(cause, why().to_string());
            assert!(!error.to_string().contains(&cause), "{error}");
        }
    }
}
