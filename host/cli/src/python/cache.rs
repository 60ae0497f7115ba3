//! The components that were built before.
//!
//! An entry is a folder with a component and the files that its program opened. It holds as
//! long as these files have not changed. A component from here is as little trusted as any.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::program::Program;
use super::{Built, PythonBuild, room, support};
use crate::work::{create_private, prune};
use socketserver_guest_compilers::python::COMPONENTIZE as TOOL;

/// The number of entries that are kept. The oldest are removed first.
const MAX_ENTRIES: usize = 30;
/// The name of the file with the facts about an entry.
const FACTS: &str = "build.json";

/// In place of the digest of a file that changed while the program was built.
const CHANGED: &str = "changed";

/// The folder with the entries.
pub struct BuildCache {
    folder: PathBuf,
}

/// The identity of a build, except for the files that the program opens.
pub struct Key(String);

/// The facts about an entry.
#[derive(Serialize, Deserialize)]
struct Facts {
    program: Program,
    /// The files that the program opened, as it sees them, with their digests; without one if
    /// there was no such file.
    files: Vec<(String, Option<String>)>,
}

impl Key {
    /// Returns the key of a build.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn new(build: &PythonBuild) -> Result<Key> {
        let mut digest = Sha256::new();
        support::add_to(&mut digest);
        let facts = ((TOOL.name, TOOL.version), &build.arguments, &build.env, build.packages.len());
        digest.update(serde_json::to_vec(&facts)?);
        digest.update(build.file.file_name().unwrap_or_default().as_encoded_bytes());
        digest.update(fs::read(&build.file)?);
        Ok(Key(hex(digest)))
    }
}

impl BuildCache {
    /// Opens the cache, and creates it if it does not exist.
    ///
    /// # Errors
    ///
    /// It cannot be created, or other users can write to it.
    pub fn open(base: &Path) -> Result<Self> {
        Ok(BuildCache { folder: create_private(base, "python")? })
    }

    /// Returns the component of a build, if nothing has changed since.
    pub fn get(&self, key: &Key, build: &PythonBuild) -> Option<Built> {
        let entry = self.folder.join(&key.0);
        let facts = fs::read(entry.join(FACTS)).ok()?;
        let Facts { program, files } = serde_json::from_slice(&facts).ok()?;
        let is_current = |(path, digest): &(String, Option<String>)| {
            on_this_machine(path, build).is_some_and(|path| digest_of(&path) == *digest)
        };
        let component = component_in(&entry, build);
        (files.iter().all(is_current) && component.is_file())
            .then_some(Built { component, program })
    }

    /// Keeps a component.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn put(&self, key: &Key, build: &PythonBuild, made: room::Built) -> Result<Built> {
        let room::Built { component, program, report, begun } = made;
        let files = report.files.into_iter().filter_map(|path| {
            let here = on_this_machine(&path, build)?;
            let modified = fs::metadata(&here).and_then(|metadata| metadata.modified());
            // The build may have read what the file had before.
            let is_newer = modified.is_ok_and(|modified| modified >= begun);
            let digest = if is_newer { Some(CHANGED.to_owned()) } else { digest_of(&here) };
            Some((path, digest))
        });
        let facts = Facts { program, files: files.collect() };
        let new = tempfile::Builder::new().prefix("new-").tempdir_in(&self.folder)?;
        fs::write(component_in(new.path(), build), component)?;
        fs::write(new.path().join(FACTS), serde_json::to_vec(&facts)?)?;
        let entry = self.folder.join(&key.0);
        if entry.exists() {
            fs::remove_dir_all(&entry).context("cannot replace the last build")?;
        }
        fs::rename(new.keep(), &entry).context("cannot keep the component")?;
        prune(&self.folder, MAX_ENTRIES);
        Ok(Built { component: component_in(&entry, build), program: facts.program })
    }
}

/// Returns the path of the component in an entry. The log has its name.
fn component_in(entry: &Path, build: &PythonBuild) -> PathBuf {
    entry.join(build.file.file_stem().unwrap_or_default()).with_extension("wasm")
}

/// Returns the path of a file that the program sees as `path`.
fn on_this_machine(path: &str, build: &PythonBuild) -> Option<PathBuf> {
    let (number, rest) = path.strip_prefix('/')?.split_once('/')?;
    let folder = match number.parse().ok()? {
        0 => build.folder(),
        1 => return None,
        number => build.packages.get(number - 2_usize)?,
    };
    Some(folder.join(rest))
}

fn digest_of(path: &Path) -> Option<String> {
    let content = fs::read(path).ok()?;
    Some(hex(Sha256::new_with_prefix(content)))
}

/// Returns a digest as text.
pub fn hex(digest: Sha256) -> String {
    digest.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
