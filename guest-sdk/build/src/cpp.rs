//! Builds guests in C++ with the compiler and the bindings of C and the header in
//! `guest-sdk/cpp`.

use crate::c::{self, HINT};
use crate::guest::Guest;
use crate::language::Language;
use crate::tool::Log;
use crate::workspace::{self, Workspace};
use anyhow::Result;
use socketserver_guest_compilers::c::{CppSdk, cpp_bindings, cpp_handler};
use socketserver_guest_compilers::component;
use std::fs;

/// The recipe of C++ guests, see [`Language::recipe`].
pub const RECIPE: &str = concat!(include_str!("cpp.rs"), include_str!("../../compilers/src/c.rs"));

/// Builds a guest and returns the component.
pub fn build(workspace: &Workspace, guest: &Guest, log: &Log) -> Result<Vec<u8>> {
    let module = workspace.out("cpp").join(&guest.name).with_extension("module");
    let bindings = module.with_extension("o");
    let world = c::world(guest)?;
    fs::create_dir_all(workspace.out("cpp"))?;
    let zig = c::zig(workspace, log)?;
    let (c, cpp) = (workspace.sdk(Language::C.folder()), workspace.sdk(Language::Cpp.folder()));
    let sdk = CppSdk { c: &c, cpp: &cpp };
    log.run(&mut cpp_bindings(&zig, world, sdk, &bindings), HINT)?;
    let sources = [guest.source.clone()];
    log.run(&mut cpp_handler(&zig, world, sdk, &sources, &bindings, &module), HINT)?;
    fs::remove_file(&bindings)?;
    component::encode_with_wasi(&workspace::take(&module)?)
}
