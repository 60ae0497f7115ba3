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

/// The names of the bindings for each world.
const STREAM: &str = "stream_handler";
const DATAGRAM: &str = "datagram_handler";

/// The headers for handlers of datagrams: a guest that includes one targets that world.
const DATAGRAM_HEADERS: [&str; 3] =
    ["#include \"datagram.h\"", "#include \"datagram.hpp\"", "#include \"datagram_handler.h\""];

/// Builds a guest and returns the component.
pub fn build(workspace: &Workspace, guest: &Guest, log: &Log) -> Result<Vec<u8>> {
    let module = workspace.out("c").join(&guest.name).with_extension("module");
    fs::create_dir_all(workspace.out("c"))?;

    let mut compiler = compiler(workspace, "cc", log)?;
    compiler
        .arg("-std=gnu17")
        .args(LINK)
        .arg(&guest.source)
        .arg(bindings(workspace, world(guest)?))
        .arg(component_type(workspace, world(guest)?))
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

/// Returns the name of the bindings that a guest is linked with.
pub fn world(guest: &Guest) -> Result<&'static str> {
    let source = fs::read_to_string(&guest.source)?;
    let is_datagram = DATAGRAM_HEADERS.iter().any(|header| source.contains(header));
    Ok(if is_datagram { DATAGRAM } else { STREAM })
}

/// Returns the source of the bindings for a world, which is compiled as C.
pub fn bindings(workspace: &Workspace, world: &str) -> PathBuf {
    sdk(workspace, world, ".c")
}

/// Returns the object file that names the world of the module.
pub fn component_type(workspace: &Workspace, world: &str) -> PathBuf {
    sdk(workspace, world, "_component_type.o")
}

/// Returns the files here that handlers in C++ are built from too.
pub fn shared_with_cpp(workspace: &Workspace) -> Vec<PathBuf> {
    let folder = workspace.sdk(Language::C.folder());
    let ends = [".h", ".c", "_component_type.o"];
    let generated = [STREAM, DATAGRAM].map(|world| ends.map(|end| sdk(workspace, world, end)));
    let written = ["bindings.h", "constants.h", "exit.h"].map(|file| folder.join(file));
    generated.into_iter().flatten().chain(written).collect()
}

fn sdk(workspace: &Workspace, world: &str, end: &str) -> PathBuf {
    workspace.sdk(Language::C.folder()).join(format!("{world}{end}"))
}
