//! Builds guests in JavaScript, on `QuickJS`.

use crate::guest::Guest;
use crate::tool::{Log, announce};
use crate::workspace::{self, Workspace};
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The recipe of JavaScript guests, see
/// [`Language::recipe`](crate::language::Language::recipe).
pub const RECIPE: &str = include_str!("javascript.rs");

const COMPONENTIZE: &str = "componentize-qjs@0.4.5";

const WORLD: &str = "stream-handler";

const HINT: &str = "install Node.js 20 or later with npm";

/// Builds a guest and returns the component.
pub fn build(workspace: &Workspace, guest: &Guest, log: &Log) -> Result<Vec<u8>> {
    let modules = install(workspace, log)?;
    let output = workspace.out("javascript").join(&guest.name).with_extension("new");
    fs::create_dir_all(workspace.out("javascript"))?;

    let mut componentize = Command::new(modules.join(".bin/componentize-qjs"));
    componentize
        .arg("--wit")
        .arg(workspace.wit())
        .args(["--world", WORLD, "--sync", "--stub-wasi", "--js"])
        .arg(&guest.source)
        .arg("--output")
        .arg(&output);
    log.run(&mut componentize, HINT)?;
    workspace::take(&output)
}

/// Installs the compiler from npm unless it is installed, and returns the folder of
/// modules that contains it.
fn install(workspace: &Workspace, log: &Log) -> Result<PathBuf> {
    let node = workspace.out("node");
    let installed = node.join(format!("{COMPONENTIZE}.installed"));
    if !installed.exists() {
        announce(COMPONENTIZE);
        fs::create_dir_all(&node)?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(&node).arg(COMPONENTIZE);
        log.run(&mut npm, HINT)
            .with_context(|| format!("cannot install {COMPONENTIZE} from npm"))?;
        workspace::replace(&installed, b"")?;
    }
    Ok(node.join("node_modules"))
}
