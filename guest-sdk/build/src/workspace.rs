//! The paths of the repository.

use crate::guest::Guest;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The paths that the builds read and write.
pub struct Workspace {
    root: PathBuf,
    out: PathBuf,
}

impl Workspace {
    /// Finds the repository that Cargo runs this program in. It differs from the repository
    /// that the program was built in if that was moved or copied.
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

    /// Returns `wit/`, the contract.
    pub fn wit(&self) -> PathBuf {
        self.root.join("wit")
    }

    /// Returns `guests/`, the samples and the Cargo package of the Rust samples.
    pub fn guests(&self) -> PathBuf {
        self.root.join("guests")
    }

    /// Returns `tests/guests/`, the handlers for tests only.
    pub fn test_guests(&self) -> PathBuf {
        self.root.join("tests/guests")
    }

    /// Returns `tests/programs/`, the programs for tests only.
    pub fn programs(&self) -> PathBuf {
        self.root.join("tests/programs")
    }

    /// Returns `guest-sdk/LANGUAGE/`.
    pub fn sdk(&self, language: &str) -> PathBuf {
        self.root.join("guest-sdk").join(language)
    }

    /// Returns a path inside `target/guests/`, the folder of all output.
    pub fn out(&self, path: &str) -> PathBuf {
        self.out.join(path)
    }

    /// Returns the path of a guest's component.
    pub fn output(&self, guest: &Guest) -> PathBuf {
        self.out.join(guest.label()).with_extension("wasm")
    }

    /// Returns the path relative to the root of the repository, for messages.
    pub fn show<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }

    /// Waits until no other build runs in `target/guests/`. Other builds wait while the
    /// returned file is open.
    pub fn lock(&self) -> Result<File> {
        fs::create_dir_all(&self.out)
            .with_context(|| format!("cannot create {}", self.out.display()))?;
        let file = File::create(self.out.join(".lock"))?;
        file.lock()?;
        Ok(file)
    }
}

/// Reads the output file of a tool, and removes it.
pub fn take(path: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    fs::remove_file(path)?;
    Ok(bytes)
}

/// Writes a file atomically: a reader sees the old or the new content.
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
