//! Handlers in Python on the contract.

use std::fs;

use anyhow::{Context, Result, bail};
use socketserver_guest_compilers::python::{self, Folders};

use super::{Room, Source, Work, is_python_server};
use crate::python::find_or_install;
use crate::report::printable_path;
use crate::work::run;

/// Returns the build of a module.
///
/// # Errors
///
/// The compiler is missing and cannot be installed, or the module is no handler.
pub fn prepare<'a>(source: &'a Source, room: &'a Room<'a>) -> Result<Work<'a>> {
    let file = source.main()?;
    if is_python_server(&source.text()?) {
        let name = printable_path(file);
        bail!(
            "`{name}` is a program that serves at its own address: `wasm-socketserver run {name}` serves it"
        );
    }
    let tool = find_or_install(room.base)?;
    let (sdk, wit) = (room.sdk.join("python"), room.sdk.join("wit"));
    let output = room.folder.join("component.wasm");
    let folders = Folders { sdk: &sdk, wit: &wit, build: &room.folder };
    let mut command = python::handler(&tool, folders, file, &output)?;
    Ok(Box::new(move |progress| {
        let _ = fs::remove_file(&output);
        run(&mut command, progress)?;
        fs::read(&output).context("the compiler wrote no component")
    }))
}
