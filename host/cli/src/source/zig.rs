//! C, C++ and Zig, with the compiler of Zig.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use socketserver_guest_compilers::c::{self, CppSdk, World, ZIG, Zig};
use socketserver_guest_compilers::component;

use super::kept::{Copied, may_be_read};
use super::{Room, Source, Work};
use crate::report::printable_path;
use crate::values::language::Language;
use crate::work::{create_private, program_in_path, python_package, run};

/// The number of programs that an error names.
const MAX_NAMES: usize = 5;

/// Returns a copy of the folder of a program in Zig, or of the folder of its file.
///
/// # Errors
///
/// The folder has too much in it, or a file cannot be read.
pub fn copy(source: &Source, room: &Room<'_>) -> Result<Copied> {
    let tool = match program_in_path("zig") {
        Some(program) => {
            let metadata = fs::metadata(&program)?;
            let (size, modified) = (metadata.len(), metadata.modified()?);
            format!("{} {size} {modified:?}", program.canonicalize()?.display())
        }
        None => ZIG.folder(),
    };
    Copied::new(source, room, &tool, may_be_read, true)
}

/// Returns the build of a program in Zig.
///
/// # Errors
///
/// The compiler is missing and cannot be installed.
pub fn prepare_zig<'a>(copied: &'a Copied, room: &'a Room<'a>) -> Result<Work<'a>> {
    let zig = find_or_install(room.base, true)?;
    let module = room.folder.join("module.wasm");
    Ok(Box::new(move |progress| {
        let _ = fs::remove_file(&module);
        let mut command = c::zig_program(&zig, &copied.main, &module);
        run(command.current_dir(&copied.folder), progress)?;
        fs::read(&module).context("the compiler wrote no module")
    }))
}

/// Returns the build of a project in Zig: a folder with a `build.zig`, which the build runs where it
/// is. The compiler finds out itself what has changed.
///
/// # Errors
///
/// The compiler is missing and cannot be installed.
pub fn prepare_project<'a>(source: &'a Source, room: &'a Room<'a>) -> Result<Work<'a>> {
    let zig = find_or_install(room.base, true)?;
    let prefix = room.folder.join("zig-out");
    Ok(Box::new(move |progress| {
        if prefix.exists() {
            fs::remove_dir_all(&prefix)?;
        }
        let mut command = c::zig_project(&zig, &prefix);
        run(command.current_dir(&source.path), progress).context(
            "its build.zig is run for WASI: it takes the target from `b.standardTargetOptions(.{})`",
        )?;
        let program = installed_program(&prefix.join("bin"))?;
        fs::read(&program).with_context(|| format!("cannot read `{}`", printable_path(&program)))
    }))
}

/// Returns the one program for WASI in a folder.
fn installed_program(folder: &Path) -> Result<PathBuf> {
    let mut programs = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "wasm") {
            programs.push(path);
        }
    }
    programs.sort();
    match programs.as_slice() {
        [program] => Ok(program.clone()),
        [] => bail!(
            "its build.zig installed no program for WASI: it needs `b.installArtifact(exe)`, where `exe` is made by `b.addExecutable` for the target of `b.standardTargetOptions(.{{}})`"
        ),
        several => {
            let names = several.iter().filter_map(|path| path.file_name());
            let names: Vec<_> =
                names.take(MAX_NAMES).map(|it| printable_path(it.as_ref())).collect();
            bail!(
                "its build.zig installed several programs, {}: a handler is one program, so install one",
                names.join(" and ")
            )
        }
    }
}

/// Returns the build of a source in C or C++.
///
/// # Errors
///
/// The compiler is missing and cannot be installed, or a file cannot be read.
pub fn prepare<'a>(source: &'a Source, room: &'a Room<'a>) -> Result<Work<'a>> {
    let world = World::find(&source.text()?);
    let zig = find_or_install(room.base, false)?;
    let sources = &source.files;
    let module = room.folder.join("module.wasm");
    let (c_sdk, cpp_sdk) = (room.sdk.join("c"), room.sdk.join("cpp"));
    Ok(Box::new(move |progress| {
        let sdk = CppSdk { c: &c_sdk, cpp: &cpp_sdk };
        let mut command = match (source.language, world) {
            (Language::Cpp, Some(world)) => {
                let object = room.folder.join("bindings.o");
                run(&mut c::cpp_bindings(&zig, world, sdk, &object), progress)?;
                c::cpp_handler(&zig, world, sdk, sources, &object, &module)
            }
            (Language::Cpp, None) => c::cpp_program(&zig, sources, &module),
            (_, Some(world)) => c::c_handler(&zig, world, &c_sdk, sources, &module),
            (_, None) => c::c_program(&zig, sources, &module),
        };
        // What an earlier build left must not pass for the result of this one.
        let _ = fs::remove_file(&module);
        run(command.current_dir(source.folder()), progress)?;
        let bytes = fs::read(&module).context("the compiler wrote no module")?;
        // The functions of the library that a handler calls may import WASI.
        if world.is_some() { component::encode_with_wasi(&bytes) } else { Ok(bytes) }
    }))
}

/// Returns the compiler. A program in Zig is for the author's own, if there is one. C and C++ are
/// compiled with the version of [`ZIG`].
fn find_or_install(base: &Path, any_version: bool) -> Result<Zig> {
    let cache = create_private(base, "zig")?;
    if any_version && let Some(zig) = program_in_path("zig") {
        return Ok(Zig::from_program(&zig, cache));
    }
    let is_in_cache = base.join("tools").join(ZIG.folder()).join("installed").exists();
    if !is_in_cache && let Some(python) = python_with_zig() {
        return Ok(Zig::from_python(&python, cache));
    }
    let python = python_package(base, ZIG)?.join("bin/python");
    Ok(Zig::from_python(&python, cache))
}

/// Returns the Python interpreter in `PATH` if it has the compiler.
fn python_with_zig() -> Option<PathBuf> {
    let python = program_in_path("python3")?;
    let output = Command::new(&python).args(["-m", ZIG.name, "version"]).output().ok()?;
    let version = String::from_utf8_lossy(&output.stdout);
    (output.status.success() && version.trim() == ZIG.version).then_some(python)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_zig_installs_one_program() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("bin");
        let error = |folder: &Path| installed_program(folder).unwrap_err().to_string();
        assert!(error(&folder).contains("installed no program for WASI"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("native"), "").unwrap();
        assert!(error(&folder).contains("installed no program for WASI"));
        fs::write(folder.join("shout.wasm"), "").unwrap();
        assert_eq!(installed_program(&folder).unwrap(), folder.join("shout.wasm"));
        fs::write(folder.join("second.wasm"), "").unwrap();
        assert!(error(&folder).contains("several programs, second.wasm and shout.wasm"));
    }
}
