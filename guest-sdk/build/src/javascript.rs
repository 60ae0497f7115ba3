//! Builds guests in JavaScript, on `QuickJS`.

use crate::guest::Guest;
use crate::language::Language;
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

/// The module of the SDK that every guest has.
const GLOBALS: &str = "globals.js";

/// The package that a guest may import, and its files.
const PACKAGE: &str = "node_modules/socketserver";
const PACKAGE_FILES: [&str; 4] = ["package.json", "socketserver.js", "network.js", "sendfile.js"];

/// What a guest imports only if its source names one of these modules.
const OPTIONAL: [([&str; 2], &str); 2] = [
    (["socketserver/network.js", "socketserver:handler/network@"], "import network; "),
    (
        ["socketserver/sendfile.js", "socketserver:handler/sendfile@"],
        "import sendfile; import sock:filesystem/preopens@0.2.6; ",
    ),
];

/// The package of files of WASI in the contract, and the one of the same length that stands for
/// it while the compiler runs: see `guest-sdk/javascript/sendfile/filesystem.wit`.
const FILES: (&str, &str) = ("wasi:filesystem/", "sock:filesystem/");
const FILES_VERSIONS: (&str, &str) = ("@0.2.12.", "@0.2.6.");

/// The world of a guest, and the interface that each export of a guest needs.
const WORLD: &str = "javascript-handler";
const EXPORTS: [(&str, &str); 2] =
    [("streamRequest", "stream-request"), ("datagramRequest", "datagram-request")];

const HINT: &str = "install Node.js 20 or later with npm";

/// Builds a guest and returns the component.
pub fn build(workspace: &Workspace, guest: &Guest, log: &Log) -> Result<Vec<u8>> {
    let modules = install(workspace, log)?;
    let source = fs::read_to_string(&guest.source)?;
    // The compiler takes one folder of interfaces, and one of modules.
    let folder = workspace.out("javascript").join(&guest.name);
    let sdk = workspace.sdk(Language::JavaScript.folder());
    let (wit, module) = (folder.join("wit"), folder.join("entry.js"));
    workspace::copy(&workspace.wit(), &wit)?;
    workspace::copy(&sdk.join("wit"), &wit)?;
    workspace::copy(&sdk.join("sendfile"), &wit.join("deps/sendfile"))?;
    let sendfile = fs::read_to_string(wit.join("sendfile.wit"))?;
    let sendfile = sendfile.replace(FILES.0, FILES.1).replace(FILES_VERSIONS.0, FILES_VERSIONS.1);
    workspace::replace(&wit.join("sendfile.wit"), sendfile.as_bytes())?;
    workspace::replace(&wit.join("javascript.wit"), world(&source).as_bytes())?;
    if let Some(own) = guest.source.parent().filter(|_| guest.owns_folder) {
        workspace::copy(own, &folder.join("handler"))?;
    }
    let handler = format!("handler/{}.js", guest.name);
    workspace::replace(&folder.join(&handler), source.as_bytes())?;
    workspace::replace(&folder.join(GLOBALS), &fs::read(sdk.join(GLOBALS))?)?;
    for file in PACKAGE_FILES {
        workspace::replace(&folder.join(PACKAGE).join(file), &fs::read(sdk.join(file))?)?;
    }
    let entry = format!("import './{GLOBALS}';\nexport * from './{handler}';\n");
    workspace::replace(&module, entry.as_bytes())?;

    let output = folder.with_extension("new");
    let mut componentize = Command::new(modules.join(".bin/componentize-qjs"));
    componentize
        .arg("--wit")
        .arg(&wit)
        .args(["--world", WORLD, "--sync", "--module-root"])
        .arg(&folder)
        .arg("--js")
        .arg(&module)
        .arg("--output")
        .arg(&output);
    log.run(&mut componentize, HINT)?;
    Ok(with_files_of_wasi(workspace::take(&output)?))
}

/// Gives the files of the contract their name in the imports of a component.
fn with_files_of_wasi(mut component: Vec<u8>) -> Vec<u8> {
    let (name, standing_in) = (FILES.0.as_bytes(), FILES.1.as_bytes());
    for start in 0..component.len().saturating_sub(name.len()) {
        if component[start..].starts_with(standing_in) {
            component[start..start + name.len()].copy_from_slice(name);
        }
    }
    component
}

/// Returns the world of a guest: it exports what the guest exports, and has optional imports
/// only if the guest does, because the compiler imports the whole world.
fn world(source: &str) -> String {
    let is_imported =
        |(modules, _): &&([&str; 2], &str)| modules.iter().any(|module| source.contains(module));
    let optional: String = OPTIONAL.iter().filter(is_imported).map(|(_, import)| *import).collect();
    let is_exported = |(name, _): &&(&str, &str)| source.contains(name);
    let exports = EXPORTS.iter().filter(is_exported);
    let exports: Vec<_> = exports.map(|(_, interface)| format!("export {interface};")).collect();
    let exports = exports.join(" ");
    format!(
        "package socketserver:handler@0.1.0;\n\nworld {WORLD} {{\n  import sockets; {optional}\
         import server; import log;\n  import wasi:random/random@0.2.0;\n  {exports}\n}}\n"
    )
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
