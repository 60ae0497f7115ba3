//! The component into which programs are loaded: CPython with the modules of the guest, and no
//! program. It is made once, and kept in the cache directory of the user.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use socketserver_guest_compilers::python::COMPONENTIZE;

use super::cache::hex;
use super::{support, tool};
use crate::work::{Progress, announce, create_private, prune, run};

/// The number of these components that are kept.
const MAX_ENTRIES: usize = 3;

/// The folder of the component.
pub struct Base {
    folder: PathBuf,
}

impl Base {
    /// Returns the component, and makes it if there is none for this version of the guest and of
    /// the tool.
    ///
    /// # Errors
    ///
    /// The tool is missing and cannot be installed, or fails.
    pub fn find_or_make(cache: &Path) -> Result<Base> {
        let bases = create_private(cache, "python-base")?;
        let mut digest = Sha256::new_with_prefix(COMPONENTIZE.folder());
        support::add_to(&mut digest);
        let folder = bases.join(hex(digest));
        let base = Base { folder };
        if base.component().exists() {
            return Ok(base);
        }
        let tool = tool::find_or_install(cache)?;
        // Of two processes that make it at the same time, one waits for the other.
        let lock = File::create(create_private(cache, "tools")?.join("python-base.lock"))?;
        lock.lock()?;
        if !base.component().exists() {
            announce("preparing CPython, once", |progress| base.make(&bases, &tool, progress))?;
            prune(&bases, MAX_ENTRIES);
        }
        Ok(base)
    }

    /// Returns the path of the component.
    pub fn component(&self) -> PathBuf {
        self.folder.join("component.wasm")
    }

    /// Returns the folder of CPython's library.
    pub fn library(&self) -> PathBuf {
        self.folder.join("library")
    }

    fn make(&self, bases: &Path, tool: &Path, progress: &mut Progress) -> Result<()> {
        let room = tempfile::Builder::new().prefix("new-").tempdir_in(bases)?;
        let path = |name: &str| room.path().join(name);
        // The component sees these folders as /0 and /1.
        fs::create_dir(path("0"))?;
        support::write_to(&path("1"))?;
        // Otherwise programs could import what happens to be installed on this machine.
        fs::create_dir_all(path("none/lib/site-packages"))?;
        fs::create_dir(path("made"))?;
        let mut command = Command::new(tool);
        command
            .arg("--wit-path")
            .arg(path("1/wit"))
            .args(["--world", support::WORLD, "componentize", support::ENTRY, "--python-path"])
            .arg(path("0"))
            .arg("--python-path")
            .arg(path("1"))
            .arg("--output")
            .arg(path("made/component.wasm"))
            .env("VIRTUAL_ENV", path("none"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env_remove("PYTHONPATH")
            .env_remove("PYTHONHOME")
            .env_remove("RUST_BACKTRACE");
        run(&mut command, progress)?;
        fs::rename(path("1/library"), path("made/library"))
            .context("the build made no copy of CPython's library")?;
        // A job without a program compiles the library. The component that this makes is not
        // kept, but its functions are.
        fs::write(path("1/job.json"), "{}")?;
        let mut command = load(&path("made/component.wasm"), &path("1/discarded.wasm"));
        command.arg("--folder").arg(folder(&path("made/library"), "python"));
        command.arg("--folder").arg(folder(&path("1"), "1"));
        run(&mut command, progress)?;
        fs::rename(path("made"), &self.folder).context("cannot keep the component")
    }
}

/// Returns the command that runs `component` and writes it with the memory that this leaves.
pub fn load(component: &Path, output: &Path) -> Command {
    // This path leads to this program also if its file has been replaced.
    let mut command = Command::new("/proc/self/exe");
    command.args(["snapshot", "--component"]).arg(component).arg("--output").arg(output);
    command
}

/// Returns the command that puts the component of a program into the cache, compiled.
pub fn precompile(component: &Path) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(["precompile", "--component"]).arg(component);
    command
}

/// Returns the argument for a folder that such a component sees as `/name`.
pub fn folder(path: &Path, name: &str) -> OsString {
    let mut argument = path.as_os_str().to_owned();
    argument.push("=/");
    argument.push(name);
    argument
}
