//! Builds guests in C++ with the compiler and the bindings of C and the header in
//! `guest-sdk/cpp`.

use crate::c::{self, HINT, LINK};
use crate::component;
use crate::guest::Guest;
use crate::language::Language;
use crate::tool::Log;
use crate::workspace::{self, Workspace};
use anyhow::Result;
use std::fs;

/// The recipe of C++ guests, see [`Language::recipe`].
pub const RECIPE: &str = concat!(include_str!("cpp.rs"), include_str!("c.rs"));

/// Builds a guest and returns the component.
pub fn build(workspace: &Workspace, guest: &Guest, log: &Log) -> Result<Vec<u8>> {
    let module = workspace.out("cpp").join(&guest.name).with_extension("module");
    let bindings = module.with_extension("o");
    let world = c::world(guest)?;
    fs::create_dir_all(workspace.out("cpp"))?;

    let mut compiler = c::compiler(workspace, "cc", log)?;
    compiler.args(["-std=gnu17", "-c"]).arg(c::bindings(workspace, world)).arg("-o").arg(&bindings);
    log.run(&mut compiler, HINT)?;

    // Exceptions need a WebAssembly proposal that the host has switched off.
    let mut compiler = c::compiler(workspace, "c++", log)?;
    compiler
        .args(["-std=c++23", "-fno-exceptions", "-I"])
        .arg(workspace.sdk(Language::Cpp.folder()))
        .args(LINK)
        .arg(&guest.source)
        .arg(&bindings)
        .arg(c::component_type(workspace, world))
        .arg("-o")
        .arg(&module);
    log.run(&mut compiler, HINT)?;
    fs::remove_file(&bindings)?;
    component::encode_with_wasi(&workspace::take(&module)?)
}
