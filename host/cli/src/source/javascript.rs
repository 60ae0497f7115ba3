//! JavaScript and TypeScript, on `QuickJS`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use socketserver_guest_compilers::Package;
use socketserver_guest_compilers::javascript::{self, COMPONENTIZE, Folders, HANDLER, STRIP};
use socketserver_guest_compilers::npm::{self, BUNDLE};

use super::kept::Copied;
use super::npm::Packages;
use super::{Room, Source, Work};
use crate::values::language::Language;
use crate::work::{npm_dependencies, npm_package, npm_tool, program_in_path, run};

/// The files in which npm notes what it has installed. The packages themselves are compared.
const NOTES: [&str; 2] = ["package-lock.json", "npm-shrinkwrap.json"];

/// Returns true for a file that a module can import: a module, or one in JSON.
fn may_be_imported(path: &Path) -> bool {
    let is_json = path.extension().is_some_and(|end| end == "json");
    let is_note = path.file_name().is_some_and(|name| NOTES.iter().any(|note| name == *note));
    javascript::is_module(path) || (is_json && !is_note)
}

/// Returns a copy of the modules of a project, or of those beside a file, which it may import.
///
/// # Errors
///
/// The folder has too much in it, or a file cannot be read.
pub fn copy(source: &Source, room: &Room<'_>) -> Result<Copied> {
    let tools = match source.language {
        Language::TypeScript => format!("{} {}", COMPONENTIZE.folder(), STRIP.folder()),
        _ => COMPONENTIZE.folder(),
    };
    let mut copied = Copied::new(source, room, &tools, may_be_imported, source.is_folder)?;
    let mut packages = Packages::find(source, &copied)?;
    if let Some(folder) = packages.to_install(source)? {
        npm_dependencies(folder)?;
        packages = Packages::find(source, &copied)?;
    }
    if !packages.installed.is_empty() {
        copied.add(&packages.fingerprint()?);
    }
    Ok(copied)
}

/// Returns the build of a module.
///
/// # Errors
///
/// The compiler is missing and cannot be installed, or a file cannot be read.
pub fn prepare<'a>(source: &'a Source, copied: &'a Copied, room: &'a Room<'a>) -> Result<Work<'a>> {
    let tool = find_or_install(room.base)?;
    let amaro = match source.language {
        Language::TypeScript => Some(find_or_install_beside(room.base, &tool, STRIP)?),
        _ => None,
    };
    let packages = Packages::find(source, copied)?;
    let esbuild = if packages.installed.is_empty() {
        None
    } else {
        Some(find_or_install_beside(room.base, &tool, BUNDLE)?)
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
        if let Some(esbuild) = esbuild {
            let imports: Vec<_> = packages.installed.keys().cloned().collect();
            run(&mut npm::bundle(&esbuild, folders, source.folder(), &imports), progress)?;
        }
        let compiled = run(&mut javascript::handler(&tool, folders, main, &output)?, progress);
        match packages.hint() {
            Some(hint) => compiled.context(hint)?,
            None => compiled?,
        }
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

/// Returns the folder of a package: the one beside the compiler, if it has the version, or else that
/// of the cache.
fn find_or_install_beside(base: &Path, compiler: &Path, package: Package) -> Result<PathBuf> {
    let compiler = compiler.canonicalize()?;
    let beside = compiler.ancestors().find(|folder| folder.ends_with("node_modules"));
    let beside = beside.map(|modules| modules.join(package.name));
    match beside.filter(|folder| version_of(folder).is_some_and(|it| it == package.version)) {
        Some(folder) => Ok(folder),
        None => Ok(npm_package(base, package)?.join(package.name)),
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
