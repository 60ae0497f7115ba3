//! The packages of npm that a handler in JavaScript or TypeScript imports.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use socketserver_guest_compilers::javascript;
use socketserver_guest_compilers::npm::{BUNDLE, imports, name};

use super::Source;
use super::kept::Copied;
use crate::report::printable_path;

/// The files by which npm, pnpm and yarn note what is installed in a `node_modules`.
const LOCKS: [&str; 3] = [".package-lock.json", ".modules.yaml", ".yarn-integrity"];
/// The number of files of packages that are looked at.
const MAX_FILES: usize = 20_000;
/// The number of folders that may stand in each other.
const MAX_DEPTH: usize = 32;
/// The number of packages that a hint names.
const MAX_NAMES: usize = 5;

/// The file of a project that names its packages.
const MANIFEST: &str = "package.json";

/// The part of [`MANIFEST`] that matters here.
#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    dependencies: serde_json::Map<String, serde_json::Value>,
}

/// The packages that the modules of a handler import.
#[derive(Debug, Default)]
pub struct Packages {
    /// The imports of packages that are installed, and their folders.
    pub installed: BTreeMap<String, PathBuf>,
    /// The names of packages that are not installed. Some may only look like imports.
    missing: Vec<String>,
}

impl Packages {
    /// Finds the packages as Node.js does: in `node_modules` of the folder of the source, and of the
    /// folders above it.
    ///
    /// # Errors
    ///
    /// A module cannot be read.
    pub fn find(source: &Source, copied: &Copied) -> Result<Packages> {
        let text = javascript::text(&copied.folder)?;
        let mut packages = Packages::default();
        for specifier in imports(&text) {
            let name = name(specifier);
            let folders = source.folder().ancestors();
            let mut folders = folders.map(|folder| folder.join("node_modules").join(name));
            match folders.find(|folder| folder.is_dir()) {
                Some(folder) => {
                    packages.installed.insert(specifier.to_owned(), folder);
                }
                None if !packages.missing.iter().any(|it| it == name) => {
                    packages.missing.push(name.to_owned());
                }
                None => {}
            }
        }
        Ok(packages)
    }

    /// Returns the folder whose `package.json` names a package that is not installed: the first one
    /// with that file, from the folder of the source upwards.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is not JSON.
    pub fn to_install<'a>(&self, source: &'a Source) -> Result<Option<&'a Path>> {
        if self.missing.is_empty() {
            return Ok(None);
        }
        let mut folders = source.folder().ancestors();
        let Some(folder) = folders.find(|folder| folder.join(MANIFEST).is_file()) else {
            return Ok(None);
        };
        let path = folder.join(MANIFEST);
        let cannot = || format!("cannot read `{}`", printable_path(&path));
        let manifest: Manifest =
            serde_json::from_slice(&fs::read(&path).with_context(cannot)?).with_context(cannot)?;
        let is_named = self.missing.iter().any(|name| manifest.dependencies.contains_key(name));
        Ok(is_named.then_some(folder))
    }

    /// Returns what changes when the packages do: the files of those that are imported, and the
    /// notes of the package manager about all others.
    ///
    /// # Errors
    ///
    /// The packages have too many files, or a file cannot be read.
    pub fn fingerprint(&self) -> Result<Vec<u8>> {
        let mut found = BUNDLE.folder().into_bytes();
        let mut left = MAX_FILES;
        for (specifier, folder) in &self.installed {
            found.extend(specifier.bytes());
            // A package may be a link to another project.
            add_files(&folder.canonicalize()?, &mut found, &mut left, 0)?;
            let modules = folder.ancestors().find(|folder| folder.ends_with("node_modules"));
            for lock in LOCKS {
                let lock = modules.map(|modules| fs::read(modules.join(lock)));
                found.extend(lock.and_then(Result::ok).unwrap_or_default());
            }
        }
        Ok(found)
    }

    /// Returns what to do about imports that the compiler does not find.
    pub fn hint(&self) -> Option<String> {
        let names: Vec<_> = self.missing.iter().take(MAX_NAMES).map(String::as_str).collect();
        (!names.is_empty()).then(|| {
            format!(
                "no `node_modules` here has `{}`: run `npm install {}` in the folder of the handler. Modules of Node.js itself, such as `fs`, are not there",
                names.join("`, `"),
                names.join(" ")
            )
        })
    }
}

/// Adds the paths, sizes and times of the files of a package.
fn add_files(folder: &Path, found: &mut Vec<u8>, left: &mut usize, depth: usize) -> Result<()> {
    if depth > MAX_DEPTH {
        return Ok(());
    }
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let Some(rest) = left.checked_sub(1) else {
            bail!(
                "the packages in `{}` have more than {MAX_FILES} files: bundle the handler into one file with esbuild, and build that",
                printable_path(folder)
            );
        };
        *left = rest;
        if entry.file_type()?.is_dir() {
            add_files(&entry.path(), found, left, depth + 1)?;
            continue;
        }
        let metadata = entry.metadata()?;
        let time = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        found.extend(entry.path().as_os_str().as_encoded_bytes());
        found.extend(format!(" {} {}\n", metadata.len(), time.as_nanos()).bytes());
    }
    Ok(())
}
