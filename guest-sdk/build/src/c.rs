//! Guests in C: clang as the Python package `ziglang` brings it, on the
//! bindings in `guest-sdk/c`.

use crate::component;
use crate::guest::Guest;
use crate::language::Language;
use crate::python;
use crate::tool::Log;
use crate::workspace::{self, Workspace};
use anyhow::Result;
use std::fs;
use std::process::Command;

/// How C guests are built; see [`Language::recipe`].
pub const RECIPE: &str = include_str!("c.rs");

const COMPILER: (&str, &str) = ("ziglang", "0.17.0");

/// The world of the guests: the bindings of this name are linked in.
const WORLD: &str = "stream_handler";

/// Builds a guest and returns the component.
pub fn build(workspace: &Workspace, guest: &Guest, log: &Log) -> Result<Vec<u8>> {
    let venv = python::install(workspace, COMPILER, log)?;
    let bindings = workspace.sdk(Language::C.folder());
    let module = workspace.out("c").join(&guest.name).with_extension("module");
    fs::create_dir_all(workspace.out("c"))?;

    // A library, called over and over: no `main`, and no WASI as long as the
    // guest calls nothing that needs it. Zig's stack would be 16 MiB, a quarter
    // of what a request may use; this is Rust's.
    let mut compiler = Command::new(venv.join("bin/python"));
    compiler
        .args(["-m", "ziglang", "cc", "-target", "wasm32-wasi", "-mexec-model=reactor"])
        .args(["-std=c17", "-Wall", "-Wextra", "-Os", "-s"])
        .args(["-Wl,-z,stack-size=1048576", "-I"])
        .arg(&bindings)
        .arg(&guest.source)
        .arg(bindings.join(WORLD).with_extension("c"))
        .arg(bindings.join(format!("{WORLD}_component_type.o")))
        .arg("-o")
        .arg(&module)
        .env("ZIG_GLOBAL_CACHE_DIR", workspace.out("zig"))
        .env("ZIG_LOCAL_CACHE_DIR", workspace.out("zig"));
    log.run(&mut compiler, "remove target/guests/venv and try again")?;
    component::encode(&workspace::take(&module)?)
}
