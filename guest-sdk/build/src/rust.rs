//! Builds guests in Rust: the example targets of the package in `guests/`, and crates of
//! their own. For WASI a plain `cargo build` writes a component.

use crate::guest::Guest;
use crate::tool::{Log, announce};
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use socketserver_guest_compilers::component;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The recipe of Rust guests, see
/// [`Language::recipe`](crate::language::Language::recipe).
pub const RECIPE: &str = include_str!("rust.rs");

const TARGET: &str = "wasm32-unknown-unknown";

/// The target of guests with clocks and files, and of crates of their own.
const WASI_TARGET: &str = "wasm32-wasip2";

/// The other target of programs, for which Cargo writes a core module.
const MODULE_TARGET: &str = "wasm32-wasip1";

/// Debian's compiler for the browser and the sources of its standard library: the
/// fallback where the target is not installed with rustup.
const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_SOURCES: &str = "/usr/lib/rustlib/src/rust/library/std";

/// The C library that Rust's library needs for [`WASI_TARGET`].
const DEBIAN_LIBC: &str = "wasi-libc";
const DEBIAN_LIBC_FOLDER: &str = "/usr/lib/wasm32-wasi";

/// Builds a guest and returns the component.
pub fn build(workspace: &Workspace, guest: &Guest, log: &Log) -> Result<Vec<u8>> {
    if let Some(package) = &guest.package {
        return build_package(workspace, package, log);
    }
    let triple = if guest.is_for_wasi { WASI_TARGET } else { TARGET };
    let mut cargo = cargo(workspace, &workspace.guests(), "build", triple, log)?;
    cargo.args(["--example", &guest.name]);
    log.run(&mut cargo, "install Rust with rustup")?;

    // Cargo gives a library the name of its crate, which has no hyphens.
    let file = guest.name.replace('-', "_");
    let module = target(workspace, triple).join("examples").join(file);
    let module = module.with_extension("wasm");
    let module = fs::read(&module).with_context(|| {
        let name = &guest.name;
        format!("cargo wrote no {}: is the example `{name}` in guests/Cargo.toml of crate-type \"cdylib\"?", module.display())
    })?;
    if guest.is_for_wasi { Ok(module) } else { component::encode(&module) }
}

/// Builds a crate that is a guest. Its folder has the name of the crate.
fn build_package(workspace: &Workspace, package: &Path, log: &Log) -> Result<Vec<u8>> {
    log.run(
        &mut cargo(workspace, package, "build", WASI_TARGET, log)?,
        "install Rust with rustup",
    )?;
    let name = package.file_name().context("the crate is in no folder")?;
    let component = target(workspace, WASI_TARGET).join(name).with_extension("wasm");
    fs::read(&component).with_context(|| {
        format!("cargo wrote no {}: is the crate of crate-type \"cdylib\"?", component.display())
    })
}

/// Returns the folder of Cargo's output for a target.
fn target(workspace: &Workspace, target: &str) -> PathBuf {
    workspace.out("cargo").join(target).join("release")
}

/// Builds a program: a crate whose folder has the name of the crate. The result is a component,
/// or a core module.
pub fn build_program(
    workspace: &Workspace,
    package: &Path,
    is_module: bool,
    log: &Log,
) -> Result<Vec<u8>> {
    let wasi = if is_module { MODULE_TARGET } else { WASI_TARGET };
    let mut cargo = cargo(workspace, package, "rustc", wasi, log)?;
    if !has_target(workspace, wasi)? {
        // The start of a program. In a component that of a handler is linked too, and nothing
        // calls it.
        cargo.args(["--", &format!("-Clink-arg={DEBIAN_LIBC_FOLDER}/crt1-command.o")]);
    }
    log.run(&mut cargo, "install Rust with rustup")?;
    let name = package.file_name().context("the crate is in no folder")?;
    let program = target(workspace, wasi).join(name).with_extension("wasm");
    fs::read(&program).with_context(|| format!("cargo wrote no {}", program.display()))
}

/// Returns `cargo build`, or `cargo rustc` for more arguments, in a folder, with the arguments
/// that this machine needs.
fn cargo(
    workspace: &Workspace,
    folder: &Path,
    command: &str,
    target: &str,
    log: &Log,
) -> Result<Command> {
    let mut cargo = Command::new(program("CARGO", "cargo"));
    cargo
        .current_dir(folder)
        .args([command, "--locked", "--release", "--target", target])
        .env("CARGO_TARGET_DIR", workspace.out("cargo"))
        // These settings are for programs of the machine that builds.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET");
    if has_target(workspace, target)? {
        return Ok(cargo);
    }
    let tools = tools(workspace, target)?;
    let variable = |end: &str| {
        let target = target.to_uppercase().replace('-', "_");
        format!("CARGO_TARGET_{target}_{end}")
    };
    let mut packages = DEBIAN_PACKAGES.to_vec();
    let wasi_flags = format!("-Clink-self-contained=no -Lnative={DEBIAN_LIBC_FOLDER}");
    if target == MODULE_TARGET {
        packages.push(DEBIAN_LIBC);
        cargo
            .env(variable("RUSTFLAGS"), wasi_flags)
            .env(variable("LINKER"), tools.join("rust-lld"));
    } else if target == WASI_TARGET {
        packages.push(DEBIAN_LIBC);
        let flags = format!("{wasi_flags} -Clink-arg={DEBIAN_LIBC_FOLDER}/crt1-reactor.o");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::split_paths(&path).collect::<Vec<_>>();
        cargo
            .env(variable("RUSTFLAGS"), flags)
            .env(variable("LINKER"), tools.join("wasm-component-ld"))
            .env(
                "PATH",
                std::env::join_paths([tools.join("gcc-ld"), tools].into_iter().chain(path))?,
            );
    } else {
        cargo.env(variable("LINKER"), tools.join("rust-lld"));
    }
    install_debian(workspace, target, &packages, log)?;
    cargo.arg("-Zbuild-std=std,panic_abort").env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
    Ok(cargo)
}

/// Returns a program of Rust's toolchain: the value of Cargo's variable, or the default.
pub fn program(variable: &str, default: &str) -> OsString {
    std::env::var_os(variable).unwrap_or_else(|| default.into())
}

/// Returns true if the toolchain has a standard library for a target.
fn has_target(workspace: &Workspace, target: &str) -> Result<bool> {
    let folder = library(workspace, &["--target", target])?;
    let Ok(files) = fs::read_dir(folder) else { return Ok(false) };
    let mut names = files.flatten().map(|file| file.file_name());
    Ok(names.any(|name| name.to_string_lossy().starts_with("libstd-")))
}

/// Returns the folder of the linkers in rustup's toolchain.
fn tools(workspace: &Workspace, target: &str) -> Result<PathBuf> {
    let tools = library(workspace, &[])?.with_file_name("bin");
    if !tools.join("rust-lld").exists() {
        bail!("there is no linker in {}: run `rustup target add {target}`", tools.display());
    }
    Ok(tools)
}

/// Returns the folder of the standard library for a target.
fn library(workspace: &Workspace, target: &[&str]) -> Result<PathBuf> {
    let output = Command::new(program("RUSTC", "rustc"))
        .current_dir(workspace.guests())
        .args(["--print", "target-libdir"])
        .args(target)
        .output()
        .context("cannot run `rustc`: install Rust with rustup")?;
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// Installs Debian packages unless they are installed.
fn install_debian(workspace: &Workspace, target: &str, packages: &[&str], log: &Log) -> Result<()> {
    let libc = !packages.contains(&DEBIAN_LIBC) || Path::new(DEBIAN_LIBC_FOLDER).exists();
    if libc && Path::new(DEBIAN_SOURCES).exists() && Path::new(DEBIAN_RUSTC).exists() {
        return Ok(());
    }
    let names = packages.join(" ");
    let install = format!("apt-get install --no-install-recommends {names}");
    let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if !is_root || !Path::new("/usr/bin/apt-get").exists() {
        bail!(
            "Rust has no standard library for {target}: run `rustup target add {target}`, \
             or, on Debian, `{install}`"
        );
    }
    announce(&names);
    let apt_get = || {
        let mut apt_get = Command::new("apt-get");
        apt_get.current_dir(workspace.guests()).env("DEBIAN_FRONTEND", "noninteractive");
        apt_get
    };
    let tried = log.run(apt_get().arg("update"), "").and_then(|()| {
        let install = ["install", "--yes", "--no-install-recommends"];
        log.run(apt_get().args(install).args(packages), "")
    });
    tried.with_context(|| {
        format!("cannot install {names}: run `rustup target add {target}` instead")
    })
}
