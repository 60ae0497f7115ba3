//! Builds programs for tests: they have no SDK, and their standard input and output are the
//! client. They are built as any program for WASI is.

use crate::guest::Guest;
use crate::language::Language;
use crate::tool::Log;
use crate::workspace::{self, Workspace};
use crate::{c, go, rust};
use anyhow::{Context, Result, bail};
use socketserver_guest_compilers as compilers;
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
    let sources = [guest.source.clone()];
    let mut compiler = match guest.language {
        Language::C => compilers::c::c_program(&c::zig(workspace, log)?, &sources, &module),
        Language::Zig => {
            compilers::c::zig_program(&c::zig(workspace, log)?, &guest.source, &module)
        }
        Language::Go => {
            let go = go::compiler(workspace, log)?;
            compilers::go::program(&go, compilers::go::Sources::Files(&sources), &module)
        }
        _ => bail!("there is no recipe for programs in {}", guest.language.folder()),
    };
    log.run(go::without_network(&mut compiler), c::HINT)?;
    workspace::take(&module)
}
