//! Builds guests in C with the clang of the Python package `ziglang`, on the bindings in
//! `guest-sdk/c`.

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

/// The recipe of C guests, see [`Language::recipe`].
pub const RECIPE: &str = include_str!("c.rs");

/// Advice for a failure of the compiler that the guest does not explain.
pub const HINT: &str = "remove target/guests/venv and try again";

const COMPILER: (&str, &str) = ("ziglang", "0.17.0");

/// Links a library without `main`, which imports WASI only if the guest calls a function
/// that needs it. The stack is as large as Rust's: Zig's default of 16 MiB is a quarter of
/// the memory that a request may use.
pub const LINK: [&str; 3] = ["-mexec-model=reactor", "-s", "-Wl,-z,stack-size=1048576"];

/// The world of the guests, and the name of the bindings that they are linked with.
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
    // The functions of the C library that the guest calls may import WASI.
    component::encode_with_wasi(&module)
}

/// Returns the compiler, `cc` or `c++`, with the arguments that both share.
pub fn compiler(workspace: &Workspace, driver: &str, log: &Log) -> Result<Command> {
    let mut compiler = zig(workspace, driver, log)?;
    compiler.args(["-Wall", "-Wextra", "-Os", "-I"]).arg(workspace.sdk(Language::C.folder()));
    Ok(compiler)
}

/// Returns a command of Zig, for WASI.
pub fn zig(workspace: &Workspace, command: &str, log: &Log) -> Result<Command> {
    let venv = python::install(workspace, COMPILER, log)?;
    let mut zig = Command::new(venv.join("bin/python"));
    zig.args(["-m", "ziglang", command, "-target", "wasm32-wasi"])
        .env("ZIG_GLOBAL_CACHE_DIR", workspace.out("zig"))
        .env("ZIG_LOCAL_CACHE_DIR", workspace.out("zig"));
    Ok(zig)
}

/// Returns the source of the bindings, which is compiled as C.
pub fn bindings(workspace: &Workspace) -> PathBuf {
    sdk(workspace, ".c")
}

/// Returns the headers that handlers in C++ include too.
pub fn headers(workspace: &Workspace) -> [PathBuf; 3] {
    let folder = workspace.sdk(Language::C.folder());
    [sdk(workspace, ".h"), folder.join("exit.h"), folder.join("constants.h")]
}

/// Returns the object file that names the world of the module.
pub fn component_type(workspace: &Workspace) -> PathBuf {
    sdk(workspace, "_component_type.o")
}

fn sdk(workspace: &Workspace, end: &str) -> PathBuf {
    workspace.sdk(Language::C.folder()).join(format!("{WORLD}{end}"))
}
