//! JavaScript and TypeScript, on `QuickJS`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::Package;

/// The package of npm with the compiler, whose program has the same name.
pub const COMPONENTIZE: Package = Package { name: "componentize-qjs", version: "0.4.5" };

/// The package of npm that makes JavaScript of TypeScript, with which Node.js does that, too. It
/// replaces types by blanks, so that errors have the lines and columns of the source.
pub const STRIP: Package = Package { name: "amaro", version: "1.2.1" };

/// The folder of the handler's own files, in the folder of a build.
pub const HANDLER: &str = "handler";

/// The module of the SDK that every handler has.
const GLOBALS: &str = "globals.js";

/// The package that a handler may import, and its files.
const PACKAGE: &str = "node_modules/socketserver";
const PACKAGE_FILES: [&str; 9] = [
    "package.json",
    "socketserver.js",
    "errors.js",
    "files.js",
    "net.js",
    "network.js",
    "sendfile.js",
    "texts.js",
    "tls.js",
];

/// The imports of a handler whose source names one of these modules. Others have none of them.
const OPTIONAL: [([&str; 2], &str); 3] = [
    (["socketserver/network.js", "socketserver:handler/network@"], "import network; "),
    (
        ["socketserver/sendfile.js", "socketserver:handler/sendfile@"],
        "import sendfile; import sock:filesystem/preopens@0.2.6; ",
    ),
    (["socketserver/tls.js", "socketserver:handler/tls@"], "import tls; "),
];

/// The package of files of WASI in the contract, and the one of the same length that stands for
/// it while the compiler runs: see `guest-sdk/javascript/sendfile/filesystem.wit`.
const FILES: (&str, &str) = ("wasi:filesystem/", "sock:filesystem/");
const FILES_VERSIONS: (&str, &str) = ("@0.2.12.", "@0.2.6.");

/// The world of a handler, and the interface that each export of a handler needs.
const WORLD: &str = "javascript-handler";
const EXPORTS: [(&str, &str); 2] =
    [("streamRequest", "stream-request"), ("datagramRequest", "datagram-request")];

/// The folders that a build reads and writes.
#[derive(Debug, Clone, Copy)]
pub struct Folders<'a> {
    /// The SDK for JavaScript.
    pub sdk: &'a Path,
    /// The contract.
    pub wit: &'a Path,
    /// The folder of the build, in which [`HANDLER`] has the files of the handler.
    pub build: &'a Path,
}

/// Returns the command that makes JavaScript of the TypeScript modules of a handler, in place, before
/// [`handler()`] reads them. `amaro` is the folder of [`STRIP`].
pub fn strip_types(amaro: &Path, folders: Folders<'_>) -> Command {
    let mut node = Command::new("node");
    node.arg(folders.sdk.join("strip.mjs")).arg(amaro).arg(folders.build.join(HANDLER));
    node
}

/// Writes into the folder of a build what the compiler needs beside the handler, and returns the
/// command that makes the component, which [`finish()`] then changes.
///
/// `main` is the handler's module, as a path in [`HANDLER`].
///
/// # Errors
///
/// A file cannot be read or written, or the module exports no handler.
pub fn handler(tool: &Path, folders: Folders<'_>, main: &str, output: &Path) -> Result<Command> {
    let Folders { sdk, wit, build } = folders;
    let source = text(&build.join(HANDLER))?;
    // The compiler takes one folder of interfaces, and one of modules.
    let (all_wit, entry) = (build.join("wit"), build.join("entry.js"));
    copy(wit, &all_wit)?;
    copy(&sdk.join("wit"), &all_wit)?;
    copy(&sdk.join("sendfile"), &all_wit.join("deps/sendfile"))?;
    let sendfile = String::from_utf8_lossy(&read(&all_wit.join("sendfile.wit"))?).into_owned();
    let sendfile = sendfile.replace(FILES.0, FILES.1).replace(FILES_VERSIONS.0, FILES_VERSIONS.1);
    write(&all_wit.join("sendfile.wit"), sendfile.as_bytes())?;
    write(&all_wit.join("javascript.wit"), world(&source)?.as_bytes())?;
    write(&build.join(GLOBALS), &read(&sdk.join(GLOBALS))?)?;
    for file in PACKAGE_FILES {
        write(&build.join(PACKAGE).join(file), &read(&sdk.join(file))?)?;
    }
    let text = format!("import './{GLOBALS}';\nexport * from './{HANDLER}/{main}';\n");
    write(&entry, text.as_bytes())?;

    let mut componentize = Command::new(tool);
    componentize
        .arg("--wit")
        .arg(&all_wit)
        .args(["--world", WORLD, "--sync", "--module-root"])
        .arg(build)
        .arg("--js")
        .arg(&entry)
        .arg("--output")
        .arg(output);
    Ok(componentize)
}

/// Gives the files of the contract their name in the imports of a component that the compiler
/// has made.
pub fn finish(mut component: Vec<u8>) -> Vec<u8> {
    let (name, standing_in) = (FILES.0.as_bytes(), FILES.1.as_bytes());
    for start in 0..component.len().saturating_sub(name.len()) {
        if component[start..].starts_with(standing_in) {
            component[start..start + name.len()].copy_from_slice(name);
        }
    }
    component
}

/// Returns the world of a handler: it exports what the handler exports, and has optional imports
/// only if the handler does, because the compiler imports the whole world.
fn world(source: &str) -> Result<String> {
    let is_imported =
        |(modules, _): &&([&str; 2], &str)| modules.iter().any(|module| source.contains(module));
    let optional: String = OPTIONAL.iter().filter(is_imported).map(|(_, import)| *import).collect();
    let is_exported = |(name, _): &&(&str, &str)| source.contains(name);
    let exports = EXPORTS.iter().filter(is_exported);
    let exports: Vec<_> = exports.map(|(_, interface)| format!("export {interface};")).collect();
    if exports.is_empty() {
        bail!("it exports neither `streamRequest` nor `datagramRequest`, so it is no handler");
    }
    let exports = exports.join(" ");
    Ok(format!(
        "package socketserver:handler@0.1.0;\n\nworld {WORLD} {{\n  import sockets; {optional}\
         import server; import log;\n  import wasi:random/random@0.2.0;\n  {exports}\n}}\n"
    ))
}

/// Returns the text of all modules in a folder and its subfolders.
///
/// # Errors
///
/// A file cannot be read.
pub fn text(folder: &Path) -> Result<String> {
    let mut text = String::new();
    read_modules(folder, &mut text)?;
    Ok(text)
}

/// Adds the text of all modules in a folder and its subfolders.
fn read_modules(folder: &Path, text: &mut String) -> Result<()> {
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?
    {
        let path = entry?.path();
        if path.is_dir() {
            read_modules(&path, text)?;
        } else if is_module(&path) {
            text.push_str(&String::from_utf8_lossy(&read(&path)?));
        }
    }
    Ok(())
}

/// Returns true for modules of JavaScript and TypeScript, but not for declarations of types.
pub fn is_module(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    [".js", ".mjs", ".ts", ".mts"].iter().any(|end| name.ends_with(end.as_bytes()))
        && ![".d.ts", ".d.mts"].iter().any(|end| name.ends_with(end.as_bytes()))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    let write = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, content)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Copies the files of a folder and of its subfolders.
///
/// # Errors
///
/// A file cannot be read or written.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_are_no_modules() {
        for (name, expected) in
            [("a.js", true), ("a.mts", true), ("a.d.ts", false), ("a.json", false), ("js", false)]
        {
            assert_eq!(is_module(Path::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn a_world_has_what_the_handler_exports_and_imports() {
        let both =
            world("export const streamRequest = 1; export const datagramRequest = 2").unwrap();
        assert!(both.contains("export stream-request; export datagram-request;"), "{both}");
        assert!(!both.contains("network"), "{both}");
        let network = world("import 'socketserver/network.js'; export { streamRequest }").unwrap();
        assert!(network.contains("import network; "), "{network}");
        assert!(world("export const other = 1").is_err());
    }
}
