//! Builds guests in JavaScript, on `QuickJS`.

use crate::guest::Guest;
use crate::language::Language;
use crate::tool::{Log, announce};
use crate::workspace::{self, Workspace};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The recipe of JavaScript guests, see
/// [`Language::recipe`](crate::language::Language::recipe).
pub const RECIPE: &str = include_str!("javascript.rs");

const COMPONENTIZE: &str = "componentize-qjs@0.4.5";

/// The module of the SDK that every guest has.
const GLOBALS: &str = "globals.js";

const HINT: &str = "install Node.js 20 or later with npm";

/// Builds a guest and returns the component.
pub fn build(workspace: &Workspace, guest: &Guest, log: &Log) -> Result<Vec<u8>> {
    let modules = install(workspace, log)?;
    let source = fs::read_to_string(&guest.source)?;
    let world = match (source.contains("streamRequest"), source.contains("datagramRequest")) {
        (true, true) => "javascript-handler",
        (false, true) => "javascript-datagram-handler",
        _ => "javascript-stream-handler",
    };
    // The compiler takes one folder of interfaces, and one of modules.
    let folder = workspace.out("javascript").join(&guest.name);
    let sdk = workspace.sdk(Language::JavaScript.folder());
    let (wit, module) = (folder.join("wit"), folder.join("entry.js"));
    copy(&workspace.wit(), &wit)?;
    copy(&sdk.join("wit"), &wit)?;
    if let Some(own) = guest.source.parent().filter(|_| guest.owns_folder) {
        copy(own, &folder.join("handler"))?;
    }
    let handler = format!("handler/{}.js", guest.name);
    workspace::replace(&folder.join(&handler), source.as_bytes())?;
    workspace::replace(&folder.join(GLOBALS), &fs::read(sdk.join(GLOBALS))?)?;
    let entry = format!("import './{GLOBALS}';\nexport * from './{handler}';\n");
    workspace::replace(&module, entry.as_bytes())?;

    let output = folder.with_extension("new");
    let mut componentize = Command::new(modules.join(".bin/componentize-qjs"));
    componentize
        .arg("--wit")
        .arg(&wit)
        .args(["--world", world, "--sync", "--module-root"])
        .arg(&folder)
        .arg("--js")
        .arg(&module)
        .arg("--output")
        .arg(&output);
    log.run(&mut componentize, HINT)?;
    workspace::take(&output)
}

/// Copies the files of a folder and of its subfolders.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let path = entry?.path();
        let to = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &to)?;
        } else {
            fs::copy(&path, &to).with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    Ok(())
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
