//! The files that `include` names.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::report::printable_path;

/// The most files that one pattern includes.
const MAX_FILES: usize = 256;

/// Returns the files that a pattern names, sorted by name. In the last part of the path, `*`
/// stands for any characters.
///
/// # Errors
///
/// The folder cannot be read, or has too many such files.
pub fn find(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>> {
    let path = folder.join(pattern);
    let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|it| it.contains('*'))
    else {
        return Ok(vec![path]);
    };
    let folder = path.parent().unwrap_or(folder);
    let shown = || format!("cannot read the folder `{}`", printable_path(folder));
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(shown)? {
        let entry = entry.with_context(shown)?;
        // A file whose name begins with a dot is being written.
        let other = entry.file_name();
        let is_named =
            other.to_str().is_some_and(|other| !other.starts_with('.') && matches(name, other));
        if is_named && !entry.path().is_dir() {
            ensure!(found.len() < MAX_FILES, "`{pattern}` names more than {MAX_FILES} files");
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Returns true if a name fits the pattern.
fn matches(pattern: &str, name: &str) -> bool {
    let parts: Vec<_> = pattern.split('*').collect();
    let [first, middle @ .., last] = &parts[..] else { return pattern == name };
    let Some(rest) = name.strip_prefix(first) else { return false };
    let Some(mut rest) = rest.strip_suffix(last) else { return false };
    // The earliest place of each part leaves most for the others.
    middle.iter().all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name, fits) in [
            ("*.toml", "a.toml", true),
            ("*.toml", ".toml", true),
            ("*.toml", "a.toml~", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "axbxbc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
