//! JavaScript, on `QuickJS`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use socketserver_guest_compilers::javascript::{self, COMPONENTIZE, Folders, HANDLER};

use super::kept::Copied;
use super::{Room, Source, Work};
use crate::work::{npm_tool, program_in_path, run};

/// Returns a copy of the folder of a project, or of the modules beside a file, which it may import.
///
/// # Errors
///
/// The folder has too much in it, or a file cannot be read.
pub fn copy(source: &Source, room: &Room<'_>) -> Result<Copied> {
    let is_module = |path: &Path| {
        path.extension().is_some_and(|end| ["js", "mjs", "json"].iter().any(|each| end == *each))
    };
    Copied::new(source, room, &COMPONENTIZE.folder(), Some(is_module))
}

/// Returns the build of a module.
///
/// # Errors
///
/// The compiler is missing and cannot be installed, or a file cannot be read.
pub fn prepare<'a>(copied: &'a Copied, room: &'a Room<'a>) -> Result<Work<'a>> {
    let tool = find_or_install(room.base)?;
    let build = room.folder.join("javascript");
    if build.exists() {
        fs::remove_dir_all(&build)?;
    }
    fs::create_dir(&build)?;
    fs::rename(&copied.folder, build.join(HANDLER))?;
    let main = copied.main.to_str().context("its path is not UTF-8")?;
    let (sdk, wit) = (room.sdk.join("javascript"), room.sdk.join("wit"));
    let output = build.join("component.wasm");
    let folders = Folders { sdk: &sdk, wit: &wit, build: &build };
    let mut command = javascript::handler(&tool, folders, main, &output)?;
    Ok(Box::new(move |progress| {
        run(&mut command, progress)?;
        let component = fs::read(&output).context("the compiler wrote no component")?;
        Ok(javascript::finish(component))
    }))
}

/// Returns the compiler: that of the cache, or that of the same version in `PATH`. If there is
/// none, installs it in the cache.
fn find_or_install(base: &Path) -> Result<PathBuf> {
    let is_in_cache = base.join("tools").join(COMPONENTIZE.folder()).join("installed").exists();
    let in_path = program_in_path(COMPONENTIZE.name).filter(|program| has_version(program));
    match in_path.filter(|_| !is_in_cache) {
        Some(program) => Ok(program),
        None => npm_tool(base, COMPONENTIZE),
    }
}

/// Returns true if a program belongs to a package of npm in the right version.
fn has_version(program: &Path) -> bool {
    let version = || {
        let program = program.canonicalize().ok()?;
        let manifest = program
            .ancestors()
            .map(|folder| folder.join("package.json"))
            .find(|path| path.is_file())?;
        let manifest: serde_json::Value = serde_json::from_slice(&fs::read(manifest).ok()?).ok()?;
        Some(manifest["version"].as_str()?.to_owned())
    };
    version().is_some_and(|version| version == COMPONENTIZE.version)
}
