//! The component that was last built from a source, for languages whose compilers keep nothing
//! themselves.
//!
//! The build works on a copy of the files, and reaches no others. So the component is the same
//! as long as the files of the copy, the SDKs and the tools are.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Room, Source, hex};
use crate::copy::{Budget, copy_folder};

/// The name of the file with the facts about the component.
const FACTS: &str = "build.json";

/// A copy of the files of a source, in the folder of its build. It is removed in the end.
pub struct Copied {
    /// The folder of the copy.
    pub folder: PathBuf,
    /// The main file, as a path in the folder.
    pub main: PathBuf,
    inputs: String,
}

/// The facts about the component of a folder.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Facts {
    /// The digest of all that the component was built from.
    inputs: String,
    /// The digest of the component.
    component: String,
}

impl Copied {
    /// Copies the files of a source that are `wanted`, which `tool` in its version compiles: those
    /// of its folder, and those of the folders in it if `is_deep`.
    ///
    /// # Errors
    ///
    /// There is too much to copy, or a file cannot be read or written.
    pub fn new(
        source: &Source,
        room: &Room<'_>,
        tool: &str,
        wanted: fn(&Path) -> bool,
        is_deep: bool,
    ) -> Result<Copied> {
        let main = source.main()?.strip_prefix(source.folder())?.to_owned();
        let folder = room.folder.join("copy");
        // An interrupted build may have left one.
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut copied = Copied { folder, main, inputs: String::new() };
        let Copied { folder, main, .. } = &copied;
        let mut budget = Budget::default();
        if is_deep {
            copy_folder(source.folder(), folder, wanted, &mut budget)?;
        } else {
            fs::create_dir(folder)?;
            for entry in fs::read_dir(source.folder())? {
                let path = entry?.path();
                if wanted(&path) && path.is_file() {
                    let name = path.file_name().unwrap_or_default();
                    budget.copy_file(&path, &folder.join(name))?;
                }
            }
        }
        // It may be larger, or have another name, than files that are copied.
        if !folder.join(main).exists() {
            fs::copy(source.main()?, folder.join(main))?;
        }
        let mut digest = Sha256::new();
        add(&mut digest, env!("CARGO_PKG_VERSION").as_bytes());
        // The name of this folder is the digest of the SDKs.
        add(&mut digest, room.sdk.as_os_str().as_encoded_bytes());
        add(&mut digest, tool.as_bytes());
        add(&mut digest, main.as_os_str().as_encoded_bytes());
        add_folder(&mut digest, folder, Path::new(""))?;
        copied.inputs = hex(digest);
        Ok(copied)
    }

    /// Adds what the component is built from beside the files of the copy.
    pub fn add(&mut self, inputs: &[u8]) {
        let mut digest = Sha256::new_with_prefix(&self.inputs);
        add(&mut digest, inputs);
        self.inputs = hex(digest);
    }

    /// Returns true if `component`, in the folder of a build, was built from these files.
    pub fn is_source_of(&self, room: &Room<'_>, component: &Path) -> bool {
        let facts = || {
            let facts: Facts =
                serde_json::from_slice(&fs::read(room.folder.join(FACTS)).ok()?).ok()?;
            Some(facts == self.facts(&fs::read(component).ok()?))
        };
        let is_current = facts().unwrap_or(false);
        if is_current {
            // The time of the folder is that of its last use.
            let folder = File::open(&room.folder);
            let _ = folder.and_then(|folder| folder.set_modified(SystemTime::now()));
        }
        is_current
    }

    /// Notes that a component was built from these files.
    ///
    /// # Errors
    ///
    /// The note cannot be written.
    pub fn note(&self, room: &Room<'_>, component: &[u8]) -> Result<()> {
        let facts = serde_json::to_vec(&self.facts(component))?;
        fs::write(room.folder.join(FACTS), facts).context("cannot keep the component")
    }

    fn facts(&self, component: &[u8]) -> Facts {
        let component = hex(Sha256::new_with_prefix(component));
        Facts { inputs: self.inputs.clone(), component }
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Returns true for a file that a build may read. Logs and components appear beside a source while
/// it is built and served.
pub fn may_be_read(path: &Path) -> bool {
    path.extension().is_none_or(|end| end != "log" && end != "wasm")
}

/// Adds the paths and the contents of the files in a folder and its subfolders. Folders without
/// files do not count.
fn add_folder(digest: &mut Sha256, folder: &Path, below: &Path) -> io::Result<()> {
    let entries: io::Result<Vec<_>> = fs::read_dir(folder.join(below))?.collect();
    let mut entries = entries?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            add_folder(digest, folder, &path)?;
        } else {
            add(digest, path.as_os_str().as_encoded_bytes());
            add(digest, &fs::read(entry.path())?);
        }
    }
    Ok(())
}

/// Adds bytes with their number, so that no others have the same digest.
fn add(digest: &mut Sha256, bytes: &[u8]) {
    digest.update((bytes.len() as u64).to_le_bytes());
    digest.update(bytes);
}
