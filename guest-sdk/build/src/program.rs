//! Builds programs for tests: they have no SDK, and their standard input and output are the
//! client. They are built as any program for WASI is.

use crate::guest::Guest;
use crate::language::Language;
use crate::tool::Log;
use crate::workspace::{self, Workspace};
use crate::{c, go, rust};
use anyhow::{Context, Result, bail};
use std::fs;

/// The recipe of programs, beside that of their languages.
pub const RECIPE: &str = include_str!("program.rs");

/// Builds a program and returns it: a component in Rust, a core module for wasm32-wasip1 in the
/// other languages.
pub fn build(workspace: &Workspace, guest: &Guest, log: &Log) -> Result<Vec<u8>> {
    if let Some(package) = &guest.package {
        return rust::build_program(workspace, package, log);
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
        _ => bail!("there is no recipe for programs in {}", guest.language.folder()),
    };
    compiler.arg("-o").arg(&module).arg(&guest.source);
    log.run(&mut compiler, c::HINT)?;
    workspace::take(&module)
}
