//! Folders that no other user can write to. A build runs a tool that is installed in one.

use std::env;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use socketserver_sandbox::Cache;

use crate::report::printable_path;

/// Returns the cache directory of this program: in `$XDG_CACHE_HOME`, or else in `~/.cache`.
/// Creates it if it does not exist.
///
/// # Errors
///
/// There is no such directory, or other users can write to it.
pub fn cache_directory() -> Result<PathBuf> {
    let variable = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = variable("XDG_CACHE_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".cache")))
        .context("there is no directory for the cache: set HOME or XDG_CACHE_HOME")?;
    let directory = base.join("wasm-socketserver");
    Cache::open(&directory)?;
    Ok(directory)
}

/// Returns the folder `name` in the cache directory, and creates it if it does not exist.
///
/// # Errors
///
/// It cannot be created, or other users can write to it.
pub fn create_private(base: &Path, name: &str) -> Result<PathBuf> {
    let folder = base.join(name);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .with_context(|| format!("cannot create `{}`", printable_path(&folder)))?;
    Cache::open(&folder)?;
    Ok(folder)
}

/// Removes the entries of a folder that were changed first, until `most` are left.
pub fn prune(folder: &Path, most: usize) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut entries: Vec<(SystemTime, PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
        })
        .collect();
    entries.sort();
    for (_, path) in entries.iter().take(entries.len().saturating_sub(most)) {
        let _ = fs::remove_dir_all(path);
    }
}
