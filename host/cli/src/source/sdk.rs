//! The SDKs, which the program contains.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::files;
use super::files::SDK;
use crate::report::printable_path;

/// The manifest of the crate for Rust, which has another name here: Cargo leaves folders with a
/// `Cargo.toml` out of a package.
const RUST_MANIFEST: &str = "rust/manifest.toml";

/// The folder of the crate for Rust, as the manifest of a handler names it.
pub const RUST_CRATE: &str = "target/socketserver-guest";

/// The values that the crate for Rust takes from the manifest of the workspace.
const RUST_VALUES: [(&str, &str); 4] = [
    ("version", env!("CARGO_PKG_VERSION")),
    ("edition", "2024"),
    ("rust-version", env!("CARGO_PKG_RUST_VERSION")),
    ("license", env!("CARGO_PKG_LICENSE")),
];

/// Writes the SDKs into the cache directory, unless they are there, and returns their folder. It
/// has a folder for each language, and the contract in `wit`.
///
/// # Errors
///
/// A file cannot be written.
pub fn unpack(base: &Path) -> Result<PathBuf> {
    let mut digest = Sha256::new();
    for (name, content) in SDK {
        digest.update(name);
        digest.update(content);
    }
    let folder = base.join(format!("sdk-{}", super::short_hex(digest)));
    if folder.exists() {
        return Ok(folder);
    }
    let unpack = || -> Result<()> {
        let new = tempfile::Builder::new().prefix("sdk-new-").tempdir_in(base)?;
        for (name, content) in SDK {
            files::write(&new.path().join(name), content)?;
        }
        // Another process may have been quicker.
        if fs::rename(new.path(), &folder).is_ok() {
            let _ = new.keep();
        }
        Ok(())
    };
    unpack().with_context(|| format!("cannot write `{}`", printable_path(&folder)))?;
    Ok(folder)
}

/// Writes the crate for Rust into a folder, except for files that are there and the same.
///
/// # Errors
///
/// A file cannot be written.
pub fn unpack_rust(folder: &Path) -> Result<()> {
    for (name, content) in SDK {
        if let Some(name) = name.strip_prefix("rust/src/") {
            write_if_changed(&folder.join("src").join(name), content)?;
        } else if let Some(name) = name.strip_prefix("wit/") {
            write_if_changed(&folder.join("wit").join(name), content)?;
        } else if *name == RUST_MANIFEST {
            let manifest = standalone(&String::from_utf8_lossy(content));
            write_if_changed(&folder.join("Cargo.toml"), manifest.as_bytes())?;
        }
    }
    Ok(())
}

/// Writes the types of the modules for JavaScript into a folder.
///
/// # Errors
///
/// A file cannot be written.
pub fn unpack_types(folder: &Path) -> Result<()> {
    let types = SDK.iter().filter(|(name, _)| name.ends_with(".d.ts"));
    for (name, content) in types {
        let name = name.strip_prefix("javascript/").unwrap_or(name);
        write_if_changed(&folder.join(name), content)?;
    }
    Ok(())
}

/// Returns the manifest of the crate for Rust, outside of its workspace.
fn standalone(manifest: &str) -> String {
    let (manifest, _) = manifest.split_once("\n[lints]").unwrap_or((manifest, ""));
    let lines = manifest.lines().map(|line| match line.strip_suffix(".workspace = true") {
        Some(key) => RUST_VALUES
            .iter()
            .find(|(name, _)| *name == key)
            .map_or_else(String::new, |(name, value)| format!("{name} = \"{value}\"")),
        None if line.starts_with("readme") => String::new(),
        None => line.to_owned(),
    });
    lines.map(|line| line + "\n").collect()
}

fn write_if_changed(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|before| before == content) {
        return Ok(());
    }
    files::write(path, content).with_context(|| format!("cannot write `{}`", printable_path(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crate_for_rust_does_not_need_its_workspace() {
        let folder = tempfile::tempdir().unwrap();
        unpack_rust(folder.path()).unwrap();
        let manifest = fs::read_to_string(folder.path().join("Cargo.toml")).unwrap();
        assert!(!manifest.contains("workspace") && manifest.contains("edition = \"2024\""));
        assert!(manifest.contains("[dependencies.wit-bindgen]"), "{manifest}");
        for file in ["src/lib.rs", "wit/worlds.wit"] {
            assert!(folder.path().join(file).is_file(), "{file}");
        }
    }

    #[test]
    fn the_sdks_are_unpacked_once() {
        let base = tempfile::tempdir().unwrap();
        let folder = unpack(base.path()).unwrap();
        assert_eq!(unpack(base.path()).unwrap(), folder);
        for file in [
            "c/socketserver.h",
            "cpp/socketserver.hpp",
            "javascript/socketserver.js",
            "python/socketserver_guest.py",
            "wit/worlds.wit",
        ] {
            assert!(folder.join(file).is_file(), "{file}");
        }
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 1);
    }
}
