//! The walls that stand.

use std::fmt;

/// The walls of a jail that stand, or that the kernel offers. `Display` prints one line,
/// such as `jail: no_new_privs, rlimits, landlock 7, seccomp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// The user and group that the process has become.
    pub user: Option<(u32, u32)>,
    /// `no_new_privs`, and no debugging.
    pub no_new_privs: bool,
    /// Limits of resources.
    pub rlimits: bool,
    /// Landlock, with the ABI of this kernel.
    pub landlock: Option<u32>,
    /// A filter of system calls.
    pub seccomp: bool,
}

impl Report {
    /// Returns whether no wall is missing.
    pub fn is_complete(&self) -> bool {
        self.no_new_privs && self.rlimits && self.landlock.is_some() && self.seccomp
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let landlock = self.landlock.map(|abi| format!("landlock {abi}"));
        let user = self.user.map(|(user, group)| format!("user {user}:{group}"));
        let walls = [
            (self.no_new_privs, "no_new_privs"),
            (self.rlimits, "rlimits"),
            (self.landlock.is_some(), landlock.as_deref().unwrap_or("landlock")),
            (self.seccomp, "seccomp"),
        ];
        let names = |stands: bool| {
            let matching = walls.iter().filter(move |(wall, _)| *wall == stands);
            matching.map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
        };
        match (names(true), names(false)) {
            (none, _) if none.is_empty() => return f.write_str("jail: none"),
            (all, none) if none.is_empty() => write!(f, "jail: {all}")?,
            (some, missing) => write!(f, "jail: {some}; without {missing}")?,
        }
        user.map_or(Ok(()), |user| write!(f, "; {user}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_prints_as_one_line() {
        let whole = Report {
            user: None,
            no_new_privs: true,
            rlimits: true,
            landlock: Some(7),
            seccomp: true,
        };
        let line = |report: Report| report.to_string();
        assert_eq!(line(whole), "jail: no_new_privs, rlimits, landlock 7, seccomp");
        assert_eq!(
            line(Report { landlock: None, user: Some((5, 6)), ..whole }),
            "jail: no_new_privs, rlimits, seccomp; without landlock; user 5:6"
        );
        assert_eq!(line(Report::default()), "jail: none");
        assert!(whole.is_complete() && !Report { seccomp: false, ..whole }.is_complete());
    }
}
