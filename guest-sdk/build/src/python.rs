//! Builds guests in Python, with the modules in `guest-sdk/python`, and installs tools from
//! `PyPI` in a virtual environment.

use crate::guest::Guest;
use crate::language::Language;
use crate::tool::{Log, announce};
use crate::workspace::{self, Workspace};
use anyhow::{Context, Result};
use socketserver_guest_compilers::Package;
use socketserver_guest_compilers::python::{self, COMPONENTIZE, Folders};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The recipe of Python guests, see
/// [`Language::recipe`](crate::language::Language::recipe).
pub const RECIPE: &str = concat!(
    include_str!("python.rs"),
    include_str!("../../compilers/src/python/mod.rs"),
    include_str!("../../compilers/src/python/immortal.rs")
);

const HINT: &str = "install Python 3.10 or later with its `venv` module";

/// Builds a guest and returns the component.
pub fn build(workspace: &Workspace, guest: &Guest, log: &Log) -> Result<Vec<u8>> {
    let venv = install(workspace, COMPONENTIZE, log)?;
    let build = workspace.out("python").join(&guest.name);
    fs::create_dir_all(&build)?;
    let output = build.with_extension("new");
    let (sdk, wit) = (workspace.sdk(Language::Python.folder()), workspace.wit());
    let folders = Folders { sdk: &sdk, wit: &wit, build: &build };
    let tool = venv.join("bin").join(COMPONENTIZE.name);
    let mut componentize = python::handler(&tool, folders, &guest.source, &output)?;
    log.run(&mut componentize, "remove target/guests/venv and try again")?;
    python::finish(workspace::take(&output)?, &build)
}

/// Installs a package from `PyPI` unless it is installed, and returns the virtual environment that
/// contains it.
pub fn install(workspace: &Workspace, package: Package, log: &Log) -> Result<PathBuf> {
    let requirement = format!("{}=={}", package.name, package.version);
    let venv = workspace.out("venv");
    let installed = venv.join(format!("{requirement}.installed"));
    if installed.exists() {
        return Ok(venv);
    }
    announce(&requirement);
    if !venv.join("bin/pip").exists() {
        let mut create = Command::new("python3");
        create.args(["-m", "venv"]).arg(&venv);
        log.run(&mut create, HINT).context(HINT)?;
    }
    // The script `pip` of a copied folder would install into the original folder.
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", &requirement]);
    log.run(&mut pip, HINT).with_context(|| format!("cannot install {requirement} from PyPI"))?;
    workspace::replace(&installed, b"")?;
    Ok(venv)
}
