//! Where things are.

use crate::guest::Guest;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The paths of the repository that the builds read and write.
pub struct Workspace {
    root: PathBuf,
    out: PathBuf,
}

impl Workspace {
    /// Finds the repository that Cargo runs this program in, which is not the one that it
    /// was built in if that was moved or copied.
    pub fn find() -> Result<Self> {
        let compiled_in = Path::new(env!("CARGO_MANIFEST_DIR"));
        let here = std::env::var_os("CARGO_MANIFEST_DIR");
        let here = here.map_or_else(|| compiled_in.to_owned(), PathBuf::from);
        let root = here.ancestors().nth(2).context("the crate is not in guest-sdk/build")?;
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(target) => std::path::absolute(target)?,
            None => root.join("target"),
        };
        Ok(Self { root: root.to_owned(), out: target.join("guests") })
    }

    /// `wit/`, the contract.
    pub fn wit(&self) -> PathBuf {
        self.root.join("wit")
    }

    /// `guests/`, the samples and the Cargo package of those in Rust.
    pub fn guests(&self) -> PathBuf {
        self.root.join("guests")
    }

    /// `tests/guests/`, the handlers that only the tests use.
    pub fn test_guests(&self) -> PathBuf {
        self.root.join("tests/guests")
    }

    /// `guest-sdk/LANGUAGE/`.
    pub fn sdk(&self, language: &str) -> PathBuf {
        self.root.join("guest-sdk").join(language)
    }

    /// A path inside `target/guests/`, where everything is written.
    pub fn out(&self, path: &str) -> PathBuf {
        self.out.join(path)
    }

    /// The component of a guest.
    pub fn output(&self, guest: &Guest) -> PathBuf {
        self.out.join(guest.label()).with_extension("wasm")
    }

    /// The path as it is from the root of the repository, for messages.
    pub fn show<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }

    /// Waits until no other build runs in `target/guests/`, and keeps others
    /// from starting while the returned file is open.
    pub fn lock(&self) -> Result<File> {
        fs::create_dir_all(&self.out)
            .with_context(|| format!("cannot create {}", self.out.display()))?;
        let file = File::create(self.out.join(".lock"))?;
        file.lock()?;
        Ok(file)
    }
}

/// Reads a file that a tool has left, and removes it.
pub fn take(path: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    fs::remove_file(path)?;
    Ok(bytes)
}

/// Writes a file in one step, so that nobody reads half of it.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let new = path.with_added_extension("new");
        fs::write(&new, bytes)?;
        fs::rename(&new, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
