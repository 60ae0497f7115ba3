//! JavaScript and TypeScript, on `QuickJS`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use socketserver_guest_compilers::javascript::{self, COMPONENTIZE, Folders, HANDLER, STRIP};

use super::kept::Copied;
use super::{Room, Source, Work};
use crate::values::language::Language;
use crate::work::{npm_package, npm_tool, program_in_path, run};

/// Returns a copy of the folder of a project, or of the modules beside a file, which it may import.
///
/// # Errors
///
/// The folder has too much in it, or a file cannot be read.
pub fn copy(source: &Source, room: &Room<'_>) -> Result<Copied> {
    let is_wanted = |path: &Path| {
        javascript::is_module(path) || path.extension().is_some_and(|end| end == "json")
    };
    let tools = match source.language {
        Language::TypeScript => format!("{} {}", COMPONENTIZE.folder(), STRIP.folder()),
        _ => COMPONENTIZE.folder(),
    };
    Copied::new(source, room, &tools, Some(is_wanted))
}

/// Returns the build of a module.
///
/// # Errors
///
/// The compiler is missing and cannot be installed, or a file cannot be read.
pub fn prepare<'a>(source: &'a Source, copied: &'a Copied, room: &'a Room<'a>) -> Result<Work<'a>> {
    let tool = find_or_install(room.base)?;
    let amaro = match source.language {
        Language::TypeScript => Some(find_or_install_amaro(room.base, &tool)?),
        _ => None,
    };
    let build = room.folder.join("javascript");
    if build.exists() {
        fs::remove_dir_all(&build)?;
    }
    fs::create_dir(&build)?;
    fs::rename(&copied.folder, build.join(HANDLER))?;
    let main = copied.main.to_str().context("its path is not UTF-8")?;
    let (sdk, wit) = (room.sdk.join("javascript"), room.sdk.join("wit"));
    let output = build.join("component.wasm");
    Ok(Box::new(move |progress| {
        let folders = Folders { sdk: &sdk, wit: &wit, build: &build };
        if let Some(amaro) = amaro {
            run(&mut javascript::strip_types(&amaro, folders), progress)?;
        }
        run(&mut javascript::handler(&tool, folders, main, &output)?, progress)?;
        let component = fs::read(&output).context("the compiler wrote no component")?;
        Ok(javascript::finish(component))
    }))
}

/// Returns the compiler: that of the cache, or that of the same version in `PATH`. If there is
/// none, installs it in the cache.
fn find_or_install(base: &Path) -> Result<PathBuf> {
    let is_in_cache = base.join("tools").join(COMPONENTIZE.folder()).join("installed").exists();
    let in_path = program_in_path(COMPONENTIZE.name)
        .filter(|program| version_of(program).is_some_and(|it| it == COMPONENTIZE.version));
    match in_path.filter(|_| !is_in_cache) {
        Some(program) => Ok(program),
        None => npm_tool(base, COMPONENTIZE),
    }
}

/// Returns the folder of the package that strips types: the one beside the compiler, if it has the
/// version, or else that of the cache.
fn find_or_install_amaro(base: &Path, compiler: &Path) -> Result<PathBuf> {
    let compiler = compiler.canonicalize()?;
    let beside = compiler.ancestors().find(|folder| folder.ends_with("node_modules"));
    let beside = beside.map(|modules| modules.join(STRIP.name));
    match beside.filter(|folder| version_of(folder).is_some_and(|it| it == STRIP.version)) {
        Some(folder) => Ok(folder),
        None => Ok(npm_package(base, STRIP)?.join(STRIP.name)),
    }
}

/// Returns the version of the package of npm that a file or a folder belongs to.
fn version_of(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let manifest =
        path.ancestors().map(|folder| folder.join("package.json")).find(|path| path.is_file())?;
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(manifest).ok()?).ok()?;
    Some(manifest["version"].as_str()?.to_owned())
}
