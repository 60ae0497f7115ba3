//! Guests in Rust: example targets of the package in `guests/`.

use crate::component;
use crate::guest::Guest;
use crate::tool::{Log, announce};
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How Rust guests are built; see [`Language::recipe`](crate::language::Language::recipe).
pub const RECIPE: &str = include_str!("rust.rs");

const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's compiler for the browser, and the sources of its standard library:
/// the second choice, where rustup cannot add the target.
const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_SOURCES: &str = "/usr/lib/rustlib/src/rust/library/std";

/// Builds a guest and returns the component.
pub fn build(workspace: &Workspace, guest: &Guest, log: &Log) -> Result<Vec<u8>> {
    let target = workspace.out("cargo");
    let mut cargo = Command::new(program("CARGO", "cargo"));
    cargo
        .current_dir(workspace.guests())
        .args(["build", "--locked", "--release", "--target", TARGET, "--example", &guest.name])
        .env("CARGO_TARGET_DIR", &target)
        // Meant for the machine that builds, not for the guests.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET");
    if !has_target(workspace)? {
        install_debian(workspace, log)?;
        cargo
            .arg("-Zbuild-std=std,panic_abort")
            .env("RUSTC", DEBIAN_RUSTC)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker(workspace)?);
    }
    log.run(&mut cargo, "install Rust with rustup")?;

    let module = target.join(TARGET).join("release/examples").join(&guest.name);
    let module = module.with_extension("wasm");
    let module = fs::read(&module).with_context(|| {
        let name = &guest.name;
        format!("cargo wrote no {}: is the example `{name}` in guests/Cargo.toml of crate-type \"cdylib\"?", module.display())
    })?;
    component::encode(&module)
}

/// A program of Rust's: the one that a variable of Cargo's names, if it is set.
pub fn program(variable: &str, default: &str) -> OsString {
    std::env::var_os(variable).unwrap_or_else(|| default.into())
}

/// Whether the toolchain has a standard library for guests.
fn has_target(workspace: &Workspace) -> Result<bool> {
    let folder = library(workspace, &["--target", TARGET])?;
    let Ok(files) = fs::read_dir(folder) else { return Ok(false) };
    let mut names = files.flatten().map(|file| file.file_name());
    Ok(names.any(|name| name.to_string_lossy().starts_with("libstd-")))
}

/// The linker for guests that rustup's toolchain brings along.
fn linker(workspace: &Workspace) -> Result<PathBuf> {
    let linker = library(workspace, &[])?.with_file_name("bin").join("rust-lld");
    if !linker.exists() {
        bail!("there is no linker {}: run `rustup target add {TARGET}`", linker.display());
    }
    Ok(linker)
}

/// The folder of the standard library for a target.
fn library(workspace: &Workspace, target: &[&str]) -> Result<PathBuf> {
    let output = Command::new(program("RUSTC", "rustc"))
        .current_dir(workspace.guests())
        .args(["--print", "target-libdir"])
        .args(target)
        .output()
        .context("cannot run `rustc`: install Rust with rustup")?;
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

fn install_debian(workspace: &Workspace, log: &Log) -> Result<()> {
    if Path::new(DEBIAN_SOURCES).exists() && Path::new(DEBIAN_RUSTC).exists() {
        return Ok(());
    }
    let packages = DEBIAN_PACKAGES.join(" ");
    let install = format!("apt-get install --no-install-recommends {packages}");
    let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if !is_root || !Path::new("/usr/bin/apt-get").exists() {
        bail!(
            "Rust has no standard library for {TARGET}: run `rustup target add {TARGET}`, \
             or, on Debian, `{install}`"
        );
    }
    announce(&packages);
    let apt_get = || {
        let mut apt_get = Command::new("apt-get");
        apt_get.current_dir(workspace.guests()).env("DEBIAN_FRONTEND", "noninteractive");
        apt_get
    };
    let tried = log.run(apt_get().arg("update"), "").and_then(|()| {
        let install = ["install", "--yes", "--no-install-recommends"];
        log.run(apt_get().args(install).args(DEBIAN_PACKAGES), "")
    });
    tried.with_context(|| {
        format!("cannot install {packages}: run `rustup target add {TARGET}` instead")
    })
}
