//! Digests of the inputs of guests, which show that a guest is up to date.

use crate::guest::Guest;
use crate::program;
use crate::workspace::{self, Workspace};
use anyhow::{Context, Result};
use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// The digest of all inputs of a guest, and the file with the digest of its last build.
pub struct Stamp {
    digest: String,
    path: PathBuf,
}

impl Stamp {
    /// Computes the digest of the inputs of `guest`: its source, its SDK, the contract and
    /// the code that builds its language.
    pub fn compute(workspace: &Workspace, guest: &Guest) -> Result<Self> {
        let language = guest.language;
        let mut inputs = vec![guest.source.clone()];
        inputs.extend(language.shared_inputs(workspace));
        collect(&workspace.wit(), &mut inputs)?;
        let sdk = workspace.sdk(language.sdk());
        if sdk.exists() {
            collect(&sdk, &mut inputs)?;
        }
        if let Some(folder) = guest.source.parent().filter(|_| guest.owns_folder) {
            let mut own = Vec::new();
            collect(folder, &mut own)?;
            let extensions = [language.extension(), "h", "hpp", "json", "toml"];
            inputs.extend(own.into_iter().filter(|path| {
                extensions.iter().any(|extension| path.extension() == Some(OsStr::new(extension)))
            }));
        }
        if let Some(package) = &guest.package {
            collect(package, &mut inputs)?;
        }
        inputs.sort();
        inputs.dedup();

        let mut hasher = DefaultHasher::new();
        language.recipe().hash(&mut hasher);
        guest.is_program.then_some(program::RECIPE).hash(&mut hasher);
        for input in inputs {
            let content =
                fs::read(&input).with_context(|| format!("cannot read {}", input.display()))?;
            (input, content).hash(&mut hasher);
        }
        let path = workspace.out("stamp").join(guest.label().replace('/', "-"));
        Ok(Self { digest: format!("{:016x}", hasher.finish()), path })
    }

    /// Returns true if the last build had the same inputs.
    pub fn is_current(&self) -> bool {
        fs::read_to_string(&self.path).is_ok_and(|digest| digest == self.digest)
    }

    /// Records that a build with these inputs succeeded.
    pub fn write(&self) -> Result<()> {
        workspace::replace(&self.path, self.digest.as_bytes())
    }
}

/// Adds the files in `folder` and its subfolders, except documents and the output of
/// builds.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_file() && path.extension() != Some(OsStr::new("md")) {
            files.push(path);
        } else if path.is_dir() && !path.ends_with("target") && !path.ends_with("__pycache__") {
            collect(&path, files)?;
        }
    }
    Ok(())
}
