//! Errors of the jail.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// A part of the jail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wall {
    /// Another user and group, and no capabilities.
    User,
    /// `no_new_privs`, and no debugging or dumping.
    NoNewPrivs,
    /// Limits of resources.
    Rlimits,
    /// No new processes for root, to which `RLIMIT_NPROC` does not apply.
    Processes,
    /// Landlock: no files, no TCP.
    Landlock,
    /// Closing the descriptors that the process does not need.
    Descriptors,
    /// seccomp: no system calls except those that serving needs.
    Seccomp,
}

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wall::User => "change of user",
            Wall::NoNewPrivs => "no_new_privs",
            Wall::Rlimits => "rlimits",
            Wall::Processes => "PID namespace",
            Wall::Landlock => "landlock",
            Wall::Descriptors => "closing of descriptors",
            Wall::Seccomp => "seccomp",
        })
    }
}

/// An error that prevents the jail. `Display` prints it without its cause, which is its
/// [`source`](std::error::Error::source).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JailError {
    /// The kernel does not offer a wall.
    #[error("this machine has no {wall} for the jail (`--jail try` does without)")]
    Missing {
        /// The wall.
        wall: Wall,
        /// The error of the kernel.
        #[source]
        why: io::Error,
    },
    /// The kernel offers a wall, and putting it up failed.
    #[error("cannot enter the jail: {wall} failed")]
    Failed {
        /// The wall.
        wall: Wall,
        /// The error of the kernel.
        #[source]
        why: io::Error,
    },
    /// A path that the jail grants cannot be opened.
    #[error("cannot open `{}` for the jail", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// The error of the kernel.
        #[source]
        why: io::Error,
    },
    /// The process is not root and cannot become another user.
    #[error("only root can become user {user} and group {group}")]
    NotRoot {
        /// The user.
        user: u32,
        /// The group.
        group: u32,
    },
    /// The process already is the user, but has supplementary groups.
    #[error("only root can give up the other groups of user {user}")]
    OtherGroups {
        /// The user.
        user: u32,
    },
    /// The user of the jail is root.
    #[error("the user of the jail is root: name another")]
    Root,
}

impl JailError {
    /// Returns a function for `map_err` that reports the failure of this wall.
    pub(crate) fn failed<E: Into<io::Error>>(wall: Wall) -> impl Fn(E) -> JailError {
        move |why| JailError::Failed { wall, why: why.into() }
    }
}

/// A name that is no [`JailMode`](crate::JailMode).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the mode of the jail is require, try or off")]
pub struct UnknownMode;

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn an_error_prints_without_its_cause() {
        let why = || io::Error::from(io::ErrorKind::Unsupported);
        for error in [
            JailError::Missing { wall: Wall::Landlock, why: why() },
            JailError::Failed { wall: Wall::Rlimits, why: why() },
            JailError::Path { path: "/nowhere".into(), why: why() },
        ] {
            let cause = error.source().unwrap().to_string();
            assert_eq!(cause, why().to_string());
            assert!(!error.to_string().contains(&cause), "{error}");
        }
    }
}
