//! componentize-py: where it is.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use socketserver_guest_compilers::python::COMPONENTIZE;

use crate::work::python_package;

/// Returns the path of the tool: that of this program's cache, or else of the same version in
/// `PATH`. If there is none, installs it in the cache. Components that another version builds are
/// untested.
///
/// # Errors
///
/// It cannot be installed.
pub fn find_or_install(base: &Path) -> Result<PathBuf> {
    if !base.join("tools").join(COMPONENTIZE.folder()).join("installed").exists() && is_in_path() {
        return Ok(COMPONENTIZE.name.into());
    }
    let program = python_package(base, COMPONENTIZE)?.join("bin").join(COMPONENTIZE.name);
    if !program.exists() {
        bail!("pip installed {} without its program", COMPONENTIZE.name);
    }
    Ok(program)
}

/// Returns `true` if `PATH` has the tool in the right version.
fn is_in_path() -> bool {
    let output = Command::new(COMPONENTIZE.name).arg("--version").output();
    output.is_ok_and(|output| {
        output.status.success()
            && String::from_utf8_lossy(&output.stdout)
                .split_whitespace()
                .any(|it| it == COMPONENTIZE.version)
    })
}
