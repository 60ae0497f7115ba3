//! The versions of interfaces.

use semver::Version;

/// Returns `true` if two interface names, with their versions, stand for the same interface.
///
/// The rule is Cargo's, and the linker's: versions are compatible if their first number that
/// is not zero is the same, and a pre-release is compatible with nothing.
pub(crate) fn is_compatible(ours: &str, theirs: &str) -> bool {
    significant(ours).is_some_and(|ours| significant(theirs) == Some(ours))
}

/// Returns the interface, and the numbers of the version that are significant.
fn significant(name: &str) -> Option<(&str, [u64; 3])> {
    let (interface, version) = name.split_once('@')?;
    let Version { major, minor, patch, pre, build } = Version::parse(version).ok()?;
    if !pre.is_empty() || !build.is_empty() {
        return None;
    }
    let numbers = match (major, minor) {
        (0, 0) => [0, 0, patch],
        (0, _) => [0, minor, 0],
        _ => [major, 0, 0],
    };
    Some((interface, numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_that_is_not_zero_is_significant() {
        for (ours, theirs, same) in [
            ("1.2.3", "1.0.9", true),
            ("1.2.3", "2.2.3", false),
            ("0.2.0", "0.2.9", true),
            ("0.2.0", "0.20.0", false),
            ("0.0.1", "0.0.1", true),
            ("0.0.1", "0.0.2", false),
        ] {
            assert_eq!(is_compatible(&format!("a:b/c@{ours}"), &format!("a:b/c@{theirs}")), same);
        }
        assert!(!is_compatible("a:b/c", "a:b/c"));
    }
}
