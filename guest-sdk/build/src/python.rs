//! Builds guests in Python, with the module in `guest-sdk/python`, and installs tools from
//! `PyPI` in a virtual environment.

use crate::guest::Guest;
use crate::language::Language;
use crate::tool::{Log, announce};
use crate::workspace::{self, Workspace};
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The recipe of Python guests, see
/// [`Language::recipe`](crate::language::Language::recipe).
pub const RECIPE: &str = include_str!("python.rs");

const COMPONENTIZE: (&str, &str) = ("componentize-py", "0.25.1");

/// The world of a guest, and the classes by which a guest exports each interface.
const WORLD: &str = "python-handler";
const EXPORTS: [(&str, &str); 2] =
    [("StreamRequest", "stream-request"), ("DatagramRequest", "datagram-request")];

/// The modules that need the interface `network`.
const NETWORK: [&str; 2] = ["socketserver_network", "import network"];

const HINT: &str = "install Python 3.10 or later with its `venv` module";

/// Builds a guest and returns the component.
pub fn build(workspace: &Workspace, guest: &Guest, log: &Log) -> Result<Vec<u8>> {
    let venv = install(workspace, COMPONENTIZE, log)?;
    let folder = guest.source.parent().context("the guest is in no folder")?;
    let output = workspace.out("python").join(&guest.name).with_extension("new");
    // Otherwise a guest could import what happens to be installed for this machine's Python.
    let packages = workspace.out("python").join("no-packages");
    fs::create_dir_all(packages.join("lib/site-packages"))?;

    let source = fs::read_to_string(&guest.source)?;
    let wit = workspace.out("python").join(&guest.name).with_extension("wit");
    workspace::copy(&workspace.wit(), &wit)?;
    workspace::replace(&wit.join("python.wit"), world(&source).as_bytes())?;
    let mut componentize = Command::new(venv.join("bin/componentize-py"));
    componentize
        .arg("--wit-path")
        .arg(&wit)
        .args(["--world", WORLD])
        .args(["componentize", &guest.name, "--python-path"])
        .arg(folder)
        .arg("--python-path")
        .arg(workspace.sdk(Language::Python.folder()))
        .arg("--output")
        .arg(&output)
        .env("VIRTUAL_ENV", &packages)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    log.run(&mut componentize, "remove target/guests/venv and try again")?;
    workspace::take(&output)
}

/// Returns the world of a guest: it exports what the guest exports, and imports `network` only
/// if the guest does, because the compiler imports the whole world.
fn world(source: &str) -> String {
    let network = NETWORK.iter().any(|module| source.contains(module));
    let network = if network { "import network; " } else { "" };
    let is_exported = |(class, _): &&(&str, &str)| source.contains(class);
    let exports = EXPORTS.iter().filter(is_exported);
    let exports: Vec<_> = exports.map(|(_, interface)| format!("export {interface};")).collect();
    let exports = exports.join(" ");
    format!(
        "package socketserver:handler@0.1.0;\n\nworld {WORLD} {{\n  import sockets; {network}\
         import server; import log;\n  {exports}\n}}\n"
    )
}

/// Installs one version of a package from `PyPI` unless it is installed, and returns the
/// virtual environment that contains it.
pub fn install(workspace: &Workspace, package: (&str, &str), log: &Log) -> Result<PathBuf> {
    let requirement = format!("{}=={}", package.0, package.1);
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
