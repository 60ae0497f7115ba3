//! Handlers in Python on the contract, with componentize-py.

pub mod immortal;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::Package;
use crate::javascript::copy;

/// The package of `PyPI` with the compiler, whose program has the same name.
pub const COMPONENTIZE: Package = Package { name: "componentize-py", version: "0.25.1" };

/// The world of a handler, and the classes by which a handler exports each interface.
const WORLD: &str = "python-handler";
const EXPORTS: [(&str, &str); 2] =
    [("StreamRequest", "stream-request"), ("DatagramRequest", "datagram-request")];

/// The imports of a handler whose source has one of these texts. Others have none of them.
const OPTIONAL: [(&[&str], &str); 3] = [
    (&["socketserver_network", "import network"], "import network; "),
    (
        &[".sendfile(", "import sendfile"],
        "import sendfile; import wasi:filesystem/preopens@0.2.12; ",
    ),
    (
        &[
            ".version(",
            ".cipher(",
            ".selected_alpn_protocol(",
            ".getpeercert(",
            ".server_hostname",
            "import tls",
        ],
        "import tls; ",
    ),
];

/// The package of the SDK that lays out the memory of a handler. It is imported by another name,
/// which no module of the handler has.
const LAYOUT: &str = "run/wasm_socketserver";
const LAYOUT_FILES: [(&str, &str); 2] = [("handler.py", "__init__.py"), ("heap.py", "heap.py")];
const LAYOUT_NAME: &str = "_wasm_socketserver";

/// The folder with the only packages that the compiler finds, in that of a build.
const PACKAGES: &str = "packages";
const SITE: &str = "lib/site-packages";

/// The folders that a build reads and writes.
#[derive(Debug, Clone, Copy)]
pub struct Folders<'a> {
    /// The SDK for Python.
    pub sdk: &'a Path,
    /// The contract.
    pub wit: &'a Path,
    /// A folder for the build, in which the compiler finds no packages.
    pub build: &'a Path,
}

/// Returns the command that makes the component of a handler, which [`finish()`] completes. The
/// handler can import what is in the folder of its file.
///
/// # Errors
///
/// The file cannot be read, has a name that is no module of Python, or defines no handler.
pub fn handler(tool: &Path, folders: Folders<'_>, file: &Path, output: &Path) -> Result<Command> {
    let module = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if module.is_empty() || module.contains(|c: char| !c.is_alphanumeric() && c != '_') {
        bail!("`{module}` is no name of a module: use letters, digits and `_`");
    }
    let source =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let wit = folders.build.join("wit");
    copy(folders.wit, &wit)?;
    fs::write(wit.join("python.wit"), world(&source)?).context("cannot write the world")?;
    // Otherwise a handler could import what happens to be installed for this machine's Python.
    let packages = folders.build.join(PACKAGES);
    let layout = packages.join(SITE).join(LAYOUT_NAME);
    fs::create_dir_all(&layout)?;
    for (from, to) in LAYOUT_FILES {
        let from = folders.sdk.join(LAYOUT).join(from);
        fs::copy(&from, layout.join(to))
            .with_context(|| format!("cannot copy {}", from.display()))?;
    }
    fs::write(layout.join("module"), module)?;

    let mut componentize = Command::new(tool);
    componentize.arg("--wit-path").arg(&wit).args(["--world", WORLD]);
    componentize
        .args(["componentize", LAYOUT_NAME, "--python-path"])
        .arg(file.parent().unwrap_or(Path::new(".")))
        .arg("--python-path")
        .arg(folders.sdk)
        .arg("--output")
        .arg(output)
        .env("VIRTUAL_ENV", &packages)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("PYTHONPATH")
        .env_remove("PYTHONHOME")
        .env_remove("RUST_BACKTRACE");
    Ok(componentize)
}

/// Completes a component that the command of [`handler()`] has made: CPython does not count the
/// objects that requests do not free.
///
/// # Errors
///
/// The component is damaged, or the handler's module has changed the list of the objects.
pub fn finish(mut component: Vec<u8>, build: &Path) -> Result<Vec<u8>> {
    let objects = build.join(PACKAGES).join(SITE).join(LAYOUT_NAME).join("objects");
    let metadata = fs::symlink_metadata(&objects).context("the build made no list of objects")?;
    if !metadata.is_file() || metadata.len() > immortal::MAX {
        bail!("the build made a list of objects of {} bytes", metadata.len());
    }
    immortal::keep_forever(&mut component, &fs::read(objects)?)?;
    Ok(component)
}

/// Returns the world of a handler: it exports what the handler exports, and has optional imports
/// only if the handler does, because the compiler imports the whole world.
fn world(source: &str) -> Result<String> {
    let is_imported =
        |(texts, _): &&(&[&str], &str)| texts.iter().any(|text| source.contains(text));
    let optional: String = OPTIONAL.iter().filter(is_imported).map(|(_, import)| *import).collect();
    let is_exported = |(class, _): &&(&str, &str)| source.contains(class);
    let exports = EXPORTS.iter().filter(is_exported);
    let exports: Vec<_> = exports.map(|(_, interface)| format!("export {interface};")).collect();
    if exports.is_empty() {
        bail!("it defines neither `StreamRequest` nor `DatagramRequest`, so it is no handler");
    }
    let exports = exports.join(" ");
    Ok(format!(
        "package socketserver:handler@0.1.0;\n\nworld {WORLD} {{\n  import sockets; {optional}\
         import server; import log;\n  {exports}\n}}\n"
    ))
}
