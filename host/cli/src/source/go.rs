//! Go, with its standard compiler: handlers on the package, and programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use socketserver_guest_compilers::component;
use socketserver_guest_compilers::go::{self, Folders, GO, Go, Sources};

use super::{Room, Source, Work};
use crate::work::{create_private, program_in_path, python_package, run, say};

/// Returns the build of a file or a module.
///
/// # Errors
///
/// The compiler is missing and cannot be installed, or a file cannot be read.
pub fn prepare<'a>(source: &'a Source, room: &'a Room<'a>) -> Result<Work<'a>> {
    let worlds = go::worlds(&source.text()?);
    let go = find_or_install(room.base)?;
    let (sdk, wit) = (room.sdk.join("go"), room.sdk.join("wit"));
    let bindings = room.folder.join("bindings");
    let module = room.folder.join("module.wasm");
    let is_module = source.is_folder && go::module_root(&source.path).is_some();
    Ok(Box::new(move |progress| {
        let sources =
            if is_module { Sources::Module(&source.path) } else { Sources::Files(&source.files) };
        let folders = Folders { sdk: &sdk, wit: &wit, bindings: &bindings };
        let _ = fs::remove_file(&module);
        let mut command = if worlds.is_empty() {
            go::program(&go, sources, &module)
        } else {
            go::handler(&go, folders, &worlds, sources, &module)?
        };
        run(&mut command, progress)?;
        let bytes = fs::read(&module).context("the compiler wrote no module")?;
        if worlds.is_empty() {
            Ok(bytes)
        } else {
            component::encode_for_worlds(&wit, &worlds, bytes)
        }
    }))
}

/// Returns the compiler: that in `PATH`, if it is new enough, or else that of the package.
fn find_or_install(base: &Path) -> Result<Go> {
    if let Some(program) = program_in_path("go") {
        let version = version(&program);
        if version.as_deref().is_some_and(is_new_enough) {
            return Ok(Go::from_program(&program));
        }
        if let Some(version) = version {
            say(&format!("{version} in PATH is too old: 1.{} is needed\n", go::MINOR));
        }
    }
    let python: PathBuf = python_package(base, GO)?.join("bin/python");
    Ok(Go::from_python(&python, create_private(base, "gocache")?))
}

/// Returns the version of Go, such as `go1.27.3`.
fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).args(["env", "GOVERSION"]).output().ok()?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    version.starts_with("go").then_some(version)
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.trim_start_matches("go").split('.');
    let major = numbers.next().and_then(|number| number.parse().ok());
    let digits = |part: &str| part.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    let minor: Option<u32> = numbers.next().and_then(digits);
    major > Some(1_u32) || (major == Some(1) && minor >= Some(go::MINOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_go_are_compared_as_numbers() {
        for version in ["go1.25", "go1.27.3", "go1.100.0", "go2.0", "go1.26rc1"] {
            assert!(is_new_enough(version), "{version}");
        }
        for version in ["go1.9", "go1.24.13", "go", "", "devel"] {
            assert!(!is_new_enough(version), "{version}");
        }
    }
}
