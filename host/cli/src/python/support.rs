//! The modules of the guest that stand under CPython's `socketserver`, and the contract.

use std::fs;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

/// The name of the package, and of its module that the tool imports.
pub const ENTRY: &str = "wasm_socketserver.component";
/// The world that the component targets.
pub const WORLD: &str = "python-server";

/// Lists files of a folder of this crate, by their paths below `to`.
macro_rules! files {
    ($from:literal, $to:literal, [$($name:literal)*]) => {
        &[$((
            concat!($to, "/", $name),
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $from, "/", $name)),
        )),*]
    };
}

type Files = &'static [(&'static str, &'static str)];

const PACKAGE: Files = files!(
    "python/wasm_socketserver",
    "wasm_socketserver",
    [
        "__init__.py" "addresses.py" "component.py" "constants.py" "errors.py" "handler.py" "heap.py"
        "library.py" "link.py" "names.py" "network.py" "paths.py" "phase.py" "polling.py" "processes.py"
        "recording.py" "report.py" "request.py" "sendfile.py" "shared.py" "sockets.py" "streams.py"
        "threads.py" "tls.py" "waiting.py"
        "warm.py"
    ]
);
const CONTRACT: Files = files!(
    "wit",
    "wit",
    [
        "log.wit" "network.wit" "sendfile.wit" "server.wit" "sockets.wit" "tls.wit" "types.wit"
        "worlds.wit"
    ]
);
const CONTRACT_OF_FILES: Files =
    files!("wit/deps", "wit/deps", ["clocks.wit" "filesystem.wit" "io.wit"]);
const CONTRACT_OF_PYTHON: Files = files!("python", "wit", ["python.wit"]);

fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    [PACKAGE, CONTRACT, CONTRACT_OF_FILES, CONTRACT_OF_PYTHON].into_iter().flatten().copied()
}

/// Writes the files into `folder`: the package, and the contract in `wit`.
pub fn write_to(folder: &Path) -> io::Result<()> {
    for (name, content) in all() {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, content)?;
    }
    Ok(())
}

/// Adds the content of all files to a digest.
pub fn add_to(digest: &mut Sha256) {
    for (name, content) in all() {
        digest.update(name);
        digest.update(content);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the names of the files in a folder of this crate that end in `extension`.
    fn names_in(folder: &str, extension: &str) -> Vec<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|it| it == extension))
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn every_module_of_the_package_and_the_whole_contract_are_in_the_binary() {
        let embedded = |files: Files| -> Vec<_> {
            files.iter().map(|(name, _)| name.rsplit_once('/').unwrap().1).collect()
        };
        assert_eq!(embedded(PACKAGE), names_in("python/wasm_socketserver", "py"));
        assert_eq!(embedded(CONTRACT), names_in("wit", "wit"));
        assert_eq!(embedded(CONTRACT_OF_FILES), names_in("wit/deps", "wit"));
        assert_eq!(embedded(CONTRACT_OF_PYTHON), names_in("python", "wit"));
    }
}
