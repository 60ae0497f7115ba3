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
use std::path::PathBuf;
use std::process::Command;

/// How C guests are built; see [`Language::recipe`].
pub const RECIPE: &str = include_str!("c.rs");

/// What to do when the compiler fails for no reason in the guest.
pub const HINT: &str = "remove target/guests/venv and try again";

const COMPILER: (&str, &str) = ("ziglang", "0.17.0");

/// A library, called over and over: no `main`, and no WASI as long as the guest
/// calls nothing that needs it. Zig's stack would be 16 MiB, a quarter of what a
/// request may use; this is Rust's.
pub const LINK: [&str; 3] = ["-mexec-model=reactor", "-s", "-Wl,-z,stack-size=1048576"];

/// The world of the guests: the bindings of this name are linked in.
const WORLD: &str = "stream_handler";

/// Builds a guest and returns the component.
pub fn build(workspace: &Workspace, guest: &Guest, log: &Log) -> Result<Vec<u8>> {
    let module = workspace.out("c").join(&guest.name).with_extension("module");
    fs::create_dir_all(workspace.out("c"))?;

    let mut compiler = compiler(workspace, "cc", log)?;
    compiler
        .arg("-std=c17")
        .args(LINK)
        .arg(&guest.source)
        .arg(bindings(workspace))
        .arg(component_type(workspace))
        .arg("-o")
        .arg(&module);
    log.run(&mut compiler, HINT)?;
    let module = workspace::take(&module)?;
    // What the guest uses of the C library decides whether it imports WASI.
    component::encode_with_wasi(&module)
}

/// The compiler, `cc` or `c++`, told what is the same for both.
pub fn compiler(workspace: &Workspace, driver: &str, log: &Log) -> Result<Command> {
    let venv = python::install(workspace, COMPILER, log)?;
    let mut compiler = Command::new(venv.join("bin/python"));
    compiler
        .args(["-m", "ziglang", driver, "-target", "wasm32-wasi", "-Wall", "-Wextra", "-Os", "-I"])
        .arg(workspace.sdk(Language::C.folder()))
        .env("ZIG_GLOBAL_CACHE_DIR", workspace.out("zig"))
        .env("ZIG_LOCAL_CACHE_DIR", workspace.out("zig"));
    Ok(compiler)
}

/// The bindings, to be compiled as C.
pub fn bindings(workspace: &Workspace) -> PathBuf {
    sdk(workspace, ".c")
}

/// What they declare, and how they call a handler.
pub fn headers(workspace: &Workspace) -> [PathBuf; 2] {
    [sdk(workspace, ".h"), workspace.sdk(Language::C.folder()).join("exit.h")]
}

/// The object that tells which world the module is for.
pub fn component_type(workspace: &Workspace) -> PathBuf {
    sdk(workspace, "_component_type.o")
}

fn sdk(workspace: &Workspace, end: &str) -> PathBuf {
    workspace.sdk(Language::C.folder()).join(format!("{WORLD}{end}"))
}
