//! Rust, with Cargo: handlers on the crate, and programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use socketserver_guest_compilers::component;

use super::sdk::{self, RUST_CRATE};
use super::{Room, Source, Work, files};
use crate::report::printable_path;
use crate::work::{run_for_output, say};

/// The target that makes components, with the whole standard library.
const COMPONENT: &str = "wasm32-wasip2";
/// The target whose modules have no system at all.
const BARE: &str = "wasm32-unknown-unknown";
/// The target that makes core modules of programs.
const MODULE: &str = "wasm32-wasip1";

/// A message of Cargo, as far as it matters.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// Returns the build of a crate, or of a file.
///
/// # Errors
///
/// Rust is not installed, or lacks the target.
pub fn prepare<'a>(source: &'a Source, room: &'a Room<'a>) -> Result<Work<'a>> {
    let crate_folder = if source.is_folder && source.files.is_empty() {
        source.path.clone()
    } else {
        around_file(source.main()?, &source.text()?, room)?
    };
    let manifest = crate_folder.join("Cargo.toml");
    let text = fs::read_to_string(&manifest)
        .with_context(|| format!("cannot read `{}`", printable_path(&manifest)))?;
    let is_handler = text.contains("cdylib");
    let targets = if is_handler { [COMPONENT, BARE] } else { [COMPONENT, MODULE] };
    let target = target(&crate_folder, targets)?;
    if target == BARE {
        say(&format!(
            "Rust has no {COMPONENT}: the handler is built for {BARE}, where println!, clocks and files do not work; `rustup target add {COMPONENT}` adds them\n"
        ));
    }
    if text.contains(RUST_CRATE) {
        sdk::unpack_rust(&crate_folder.join(RUST_CRATE))?;
    }
    Ok(Box::new(move |progress| {
        let mut cargo = Command::new("cargo");
        cargo
            .current_dir(&crate_folder)
            .args(["build", "--release", "--target", target])
            .arg(if is_handler { "--lib" } else { "--bins" })
            .args(["--message-format", "json-render-diagnostics"])
            // These settings are for programs of the machine that builds.
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("CARGO_BUILD_TARGET");
        let messages = run_for_output(&mut cargo, progress)?;
        let output = output(&messages, &manifest)?;
        let bytes = fs::read(&output)
            .with_context(|| format!("cannot read `{}`", printable_path(&output)))?;
        if target == BARE { component::encode(&bytes) } else { Ok(bytes) }
    }))
}

/// Returns the first of the targets that is installed.
fn target(folder: &Path, targets: [&'static str; 2]) -> Result<&'static str> {
    for target in targets {
        let rustc = Command::new("rustc")
            .current_dir(folder)
            .args(["--print", "target-libdir", "--target", target])
            .output();
        let output = rustc
            .context("`rustc` and `cargo` are needed: install Rust as https://rustup.rs says")?;
        let library = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        let Ok(entries) = fs::read_dir(library) else { continue };
        let mut names = entries.flatten().map(|entry| entry.file_name());
        if names.any(|name| name.as_encoded_bytes().starts_with(b"libstd-")) {
            return Ok(target);
        }
    }
    bail!(
        "Rust has no standard library for {}: run `rustup target add {}`",
        targets[0],
        targets[0]
    );
}

/// Returns the file that Cargo made of a crate, by its messages.
fn output(messages: &[u8], manifest: &Path) -> Result<PathBuf> {
    let mut outputs = Vec::new();
    for line in messages.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{")) {
        let Ok(message) = serde_json::from_slice::<Message>(line) else { continue };
        let is_own = manifest.parent().is_some_and(|folder| {
            // The crate itself, or a member of its workspace.
            message.manifest_path.starts_with(folder)
        });
        if message.reason == "compiler-artifact" && is_own {
            let is_wasm = |file: &PathBuf| file.extension().is_some_and(|end| end == "wasm");
            outputs.extend(message.filenames.into_iter().filter(is_wasm));
        }
    }
    match <[PathBuf; 1]>::try_from(outputs) {
        Ok([output]) => Ok(output),
        Err(outputs) if outputs.is_empty() => {
            bail!(
                "Cargo made no WebAssembly: a handler has `crate-type = [\"cdylib\"]` in `[lib]`, a program has src/main.rs"
            )
        }
        Err(_) => bail!("Cargo made several programs: name the folder of one crate"),
    }
}

/// Makes a crate around a file, and returns its folder.
fn around_file(file: &Path, text: &str, room: &Room<'_>) -> Result<PathBuf> {
    let folder = room.folder.join("crate");
    let path = file.to_str().context("its path is not UTF-8")?;
    let is_program = text.contains("fn main(") && !text.contains("socketserver_guest");
    let kind = if is_program {
        format!("[[bin]]\nname = \"handler\"\npath = {path:?}\n")
    } else {
        format!(
            "[lib]\nname = \"handler\"\npath = {path:?}\ncrate-type = [\"cdylib\"]\n\n\
             [dependencies]\nsocketserver-guest = {{ path = \"{RUST_CRATE}\" }}\n"
        )
    };
    let manifest = format!(
        "[package]\nname = \"handler\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n{kind}\n\
         [profile.release]\nopt-level = \"s\"\nlto = true\nstrip = true\n\n[workspace]\n"
    );
    files::write(&folder.join("Cargo.toml"), manifest.as_bytes())
        .with_context(|| format!("cannot write `{}`", printable_path(&folder)))?;
    Ok(folder)
}
