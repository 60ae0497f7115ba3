//! Copies of folders, with a limit.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::report::printable_path;

/// The number of files that a copy may have.
const MAX_FILES: usize = 20_000;
/// The bytes that a copy may have.
const MAX_BYTES: u64 = 256 << 20;
/// The size beyond which a file is left out, in bytes.
const MAX_FILE: u64 = 16 << 20;
/// The number of folders that may stand in each other.
const MAX_DEPTH: usize = 32;
/// Folders that no program needs to run.
const LEFT_OUT: [&str; 3] = ["__pycache__", "node_modules", "target"];

/// The room that is left for copies.
#[derive(Debug)]
pub struct Budget {
    files: usize,
    bytes: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { files: MAX_FILES, bytes: MAX_BYTES }
    }
}

impl Budget {
    /// Copies a file, if it can be read.
    ///
    /// # Errors
    ///
    /// No room is left.
    pub fn copy_file(&mut self, from: &Path, to: &Path) -> Result<()> {
        let size = fs::metadata(from).map_or(0, |metadata| metadata.len());
        let left = self.files.checked_sub(1).zip(self.bytes.checked_sub(size));
        let Some((files, bytes)) = left else {
            bail!(
                "a build has a copy of the folder of the file, and this one has more than {MAX_FILES} files or {} MiB: move the file to a folder with what it needs",
                MAX_BYTES >> 20
            )
        };
        *self = Budget { files, bytes };
        // The kernel copies the content only if it has to.
        let _ = fs::copy(from, to);
        Ok(())
    }
}

/// Copies the files of a folder that are `wanted` for a build, which may change the copy. Hidden
/// files, virtual environments, very large files and what is no file are left out.
///
/// # Errors
///
/// The folder has too much in it, or cannot be read.
pub fn copy_folder(
    from: &Path,
    to: &Path,
    wanted: fn(&Path) -> bool,
    budget: &mut Budget,
) -> Result<()> {
    copy(from, to, wanted, budget, 0)
        .with_context(|| format!("cannot copy `{}`", printable_path(from)))
}

fn copy(
    from: &Path,
    to: &Path,
    wanted: fn(&Path) -> bool,
    budget: &mut Budget,
    depth: usize,
) -> Result<()> {
    if depth > MAX_DEPTH || (depth > 0 && from.join("pyvenv.cfg").exists()) {
        return Ok(());
    }
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_hidden = name.as_encoded_bytes().starts_with(b".");
        if is_hidden || LEFT_OUT.iter().any(|each| name == *each) {
            continue;
        }
        let (from, to) = (entry.path(), to.join(&name));
        // A link to a folder could lead to a folder above.
        if entry.file_type()?.is_dir() {
            // A folder that may not be read is not there for the program, as for CPython.
            if fs::read_dir(&from).is_ok() {
                copy(&from, &to, wanted, budget, depth + 1)?;
            }
            continue;
        }
        let Ok(metadata) = fs::metadata(&from) else { continue };
        if !metadata.is_file() || metadata.len() > MAX_FILE || !wanted(&from) {
            continue;
        }
        budget.copy_file(&from, &to)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_no_log(path: &Path) -> bool {
        path.extension().is_none_or(|end| end != "log")
    }

    #[test]
    fn a_copy_has_what_a_program_needs_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        for path in ["a/b", "__pycache__", ".git", "env", "node_modules"] {
            fs::create_dir_all(from.join(path)).unwrap();
        }
        let kept = ["server.py", "a/b/data", "a/empty"];
        let left_out =
            ["__pycache__/x.pyc", ".git/HEAD", ".env", "env/pyvenv.cfg", "env/x", "a/server.log"];
        for path in kept.iter().chain(&left_out) {
            fs::write(from.join(path), path).unwrap();
        }
        std::os::unix::fs::symlink("..", from.join("a/up")).unwrap();
        copy_folder(&from, &to, is_no_log, &mut Budget::default()).unwrap();
        for path in kept {
            assert_eq!(fs::read_to_string(to.join(path)).unwrap(), path);
        }
        for path in left_out.iter().chain(&["a/up"]) {
            assert!(!to.join(path).exists(), "{path}");
        }
    }

    #[test]
    fn a_folder_with_too_much_in_it_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        fs::create_dir(&from).unwrap();
        for name in ["a", "b", "c"] {
            fs::write(from.join(name), name).unwrap();
        }
        for (place, files, bytes) in [("files", 2, 100), ("bytes", 100, 2)] {
            let mut budget = Budget { files, bytes };
            let to = folder.path().join(place);
            let error = copy_folder(&from, &to, |_| true, &mut budget).unwrap_err();
            assert!(format!("{error:#}").contains("move the file to a folder"), "{error:#}");
        }
    }
}
