//! Builds guests in JavaScript and TypeScript, on `QuickJS`.

use crate::guest::Guest;
use crate::language::Language;
use crate::tool::{Log, announce};
use crate::workspace::{self, Workspace};
use anyhow::{Context, Result};
use socketserver_guest_compilers::Package;
use socketserver_guest_compilers::javascript::{self, COMPONENTIZE, Folders, HANDLER, STRIP};
use socketserver_guest_compilers::npm::BUNDLE;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The recipe of JavaScript guests, see
/// [`Language::recipe`](crate::language::Language::recipe).
pub const RECIPE: &str =
    concat!(include_str!("javascript.rs"), include_str!("../../compilers/src/javascript.rs"));

const HINT: &str = "install Node.js 20 or later with npm";

/// Builds a guest and returns the component.
pub fn build(workspace: &Workspace, guest: &Guest, log: &Log) -> Result<Vec<u8>> {
    let modules = install(workspace, COMPONENTIZE, log)?;
    // For tests: no guest here imports a package.
    install(workspace, BUNDLE, log)?;
    let folder = workspace.out(guest.language.folder()).join(&guest.name);
    let handler = folder.join(HANDLER);
    if let Some(own) = guest.source.parent().filter(|_| guest.owns_folder) {
        javascript::copy(own, &handler)?;
    }
    let main = format!("{}.{}", guest.name, guest.language.extension());
    workspace::replace(&handler.join(&main), &fs::read(&guest.source)?)?;
    let (sdk, wit) = (workspace.sdk(Language::JavaScript.folder()), workspace.wit());
    let folders = Folders { sdk: &sdk, wit: &wit, build: &folder };
    let output = folder.with_extension("new");
    if guest.language == Language::TypeScript {
        let amaro = install(workspace, STRIP, log)?.join(STRIP.name);
        log.run(&mut javascript::strip_types(&amaro, folders), HINT)?;
    }
    let tool = modules.join(".bin").join(COMPONENTIZE.name);
    log.run(&mut javascript::handler(&tool, folders, &main, &output)?, HINT)?;
    Ok(javascript::finish(workspace::take(&output)?))
}

/// Installs a package from npm unless it is installed, and returns the folder of modules that
/// contains it.
fn install(workspace: &Workspace, package: Package, log: &Log) -> Result<PathBuf> {
    let node = workspace.out("node");
    let package = format!("{}@{}", package.name, package.version);
    let installed = node.join(format!("{package}.installed"));
    if !installed.exists() {
        announce(&package);
        fs::create_dir_all(&node)?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"])
            .arg(&node)
            .arg(&package);
        log.run(&mut npm, HINT).with_context(|| format!("cannot install {package} from npm"))?;
        workspace::replace(&installed, b"")?;
    }
    Ok(node.join("node_modules"))
}
