//! Builds guests in C with the clang of the Python package `ziglang`, on the bindings in
//! `guest-sdk/c`.

use crate::guest::Guest;
use crate::language::Language;
use crate::python;
use crate::tool::Log;
use crate::workspace::{self, Workspace};
use anyhow::{Context, Result};
use socketserver_guest_compilers::c::{World, ZIG, Zig, c_handler};
use socketserver_guest_compilers::component;
use std::fs;
use std::path::PathBuf;

/// The recipe of C guests, see [`Language::recipe`].
pub const RECIPE: &str = concat!(include_str!("c.rs"), include_str!("../../compilers/src/c.rs"));

/// Advice for a failure of the compiler that the guest does not explain.
pub const HINT: &str = "remove target/guests/venv and try again";

/// Builds a guest and returns the component.
pub fn build(workspace: &Workspace, guest: &Guest, log: &Log) -> Result<Vec<u8>> {
    let module = workspace.out("c").join(&guest.name).with_extension("module");
    fs::create_dir_all(workspace.out("c"))?;
    let zig = zig(workspace, log)?;
    let sdk = workspace.sdk(Language::C.folder());
    let sources = [guest.source.clone()];
    log.run(&mut c_handler(&zig, world(guest)?, &sdk, &sources, &module), HINT)?;
    let module = workspace::take(&module)?;
    // The functions of the C library that the guest calls may import WASI.
    component::encode_with_wasi(&module)
}

/// Returns the compiler.
pub fn zig(workspace: &Workspace, log: &Log) -> Result<Zig> {
    let venv = python::install(workspace, ZIG, log)?;
    Ok(Zig::from_python(&venv.join("bin/python"), workspace.out("zig")))
}

/// Returns the bindings that a guest is linked with.
pub fn world(guest: &Guest) -> Result<World> {
    World::find(&fs::read_to_string(&guest.source)?).context("it includes no header of the SDK")
}

/// Returns the files of the SDK for C, which handlers in C++ are built from too.
pub fn shared_with_cpp(workspace: &Workspace) -> Vec<PathBuf> {
    let files = fs::read_dir(workspace.sdk(Language::C.folder())).into_iter().flatten().flatten();
    files.map(|file| file.path()).filter(|path| path.extension() != Some("md".as_ref())).collect()
}
