//! C, C++ and Zig, with the compiler of Zig.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use socketserver_guest_compilers::c::{self, CppSdk, World, ZIG, Zig};
use socketserver_guest_compilers::component;

use super::kept::Copied;
use super::{Room, Source, Work};
use crate::values::language::Language;
use crate::work::{create_private, program_in_path, python_package, run};

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
    Copied::new(source, room, &tool, None)
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
