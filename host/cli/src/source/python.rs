//! Handlers in Python on the contract.

use std::fs;

use anyhow::{Context, Result};
use socketserver_guest_compilers::python::{self, COMPONENTIZE, Folders};

use super::kept::{Copied, may_be_read};
use super::{Room, Source, Work};
use crate::python::find_or_install;
use crate::work::run;

/// Returns a copy of the folder of a module.
///
/// # Errors
///
/// The folder has too much in it, or a file cannot be read.
pub fn copy(source: &Source, room: &Room<'_>) -> Result<Copied> {
    Copied::new(source, room, &COMPONENTIZE.folder(), may_be_read, true)
}

/// Returns the build of a module.
///
/// # Errors
///
/// The compiler is missing and cannot be installed, or the module is no handler.
pub fn prepare<'a>(copied: &'a Copied, room: &'a Room<'a>) -> Result<Work<'a>> {
    let tool = find_or_install(room.base)?;
    let (sdk, wit) = (room.sdk.join("python"), room.sdk.join("wit"));
    let output = room.folder.join("component.wasm");
    let folders = Folders { sdk: &sdk, wit: &wit, build: &room.folder };
    let file = copied.folder.join(&copied.main);
    let mut command = python::handler(&tool, folders, &file, &output)?;
    Ok(Box::new(move |progress| {
        let _ = fs::remove_file(&output);
        run(&mut command, progress)?;
        let component = fs::read(&output).context("the compiler wrote no component")?;
        python::finish(component, &room.folder)
    }))
}
