//! Builds programs for tests: they have no SDK, and their standard input and output are the
//! client. They are built as any program for WASI is.

use crate::guest::Guest;
use crate::language::Language;
use crate::tool::Log;
use crate::workspace::{self, Workspace};
use crate::{c, go, rust};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;

/// The recipe of programs, beside that of their languages.
pub const RECIPE: &str = include_str!("program.rs");

/// The end of the names of programs in Rust that are built as core modules.
pub const MODULE: &str = "-wasip1";

/// Returns true if a crate is built as a core module, too: its manifest says so.
pub fn is_also_module(package: &Path) -> Result<bool> {
    let manifest = package.join("Cargo.toml");
    let text = fs::read_to_string(&manifest)
        .with_context(|| format!("cannot read {}", manifest.display()))?;
    Ok(text.contains("\n[package.metadata.guests]\nmodule = true\n"))
}

/// Builds a program and returns it: in Rust a component or a core module for wasm32-wasip1, in
/// the other languages such a module.
pub fn build(workspace: &Workspace, guest: &Guest, log: &Log) -> Result<Vec<u8>> {
    if let Some(package) = &guest.package {
        return rust::build_program(workspace, package, guest.name.ends_with(MODULE), log);
    }
    let module = workspace.out(&guest.label()).with_extension("module");
    fs::create_dir_all(module.parent().context("it is in no folder")?)?;
    let mut compiler = match guest.language {
        Language::C => {
            let mut compiler = c::compiler(workspace, "cc", log)?;
            compiler.args(["-std=gnu17", "-s"]);
            compiler
        }
        Language::Go => {
            let mut compiler = go::compiler(workspace, log)?;
            compiler.args(["build", "-trimpath", "-ldflags=-s -w"]);
            compiler
        }
        Language::Zig => {
            let mut zig = c::zig(workspace, "build-exe", log)?;
            zig.args(["-O", "ReleaseSmall", "-fstrip", "--stack", "1048576"]);
            zig.arg(format!("-femit-bin={}", module.display())).arg(&guest.source);
            log.run(&mut zig, c::HINT)?;
            return workspace::take(&module);
        }
        _ => bail!("there is no recipe for programs in {}", guest.language.folder()),
    };
    compiler.arg("-o").arg(&module).arg(&guest.source);
    log.run(&mut compiler, c::HINT)?;
    workspace::take(&module)
}
