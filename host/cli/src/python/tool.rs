//! componentize-py: where it is, and its installation.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::private::create_private;
use super::progress::{Progress, announce, run};
use crate::report::printable_path;

/// The name and the version of the tool. Components that another version builds are untested.
pub const TOOL: (&str, &str) = ("componentize-py", "0.25.1");

/// Returns the path of the tool: that of this program's cache, or else of the same version in
/// `PATH`. If there is none, installs it in the cache.
///
/// # Errors
///
/// It cannot be installed.
pub fn find_or_install(base: &Path) -> Result<PathBuf> {
    let (name, version) = TOOL;
    let folder = create_private(base, "tools")?.join(format!("{name}-{version}"));
    let program = folder.join("bin").join(name);
    let installed = folder.join("installed");
    if installed.exists() && program.exists() {
        return Ok(program);
    }
    if is_in_path() {
        return Ok(name.into());
    }
    // Of two processes that install it at the same time, one waits for the other.
    let lock = File::create(folder.with_extension("lock"))?;
    lock.lock()?;
    if !installed.exists() {
        let what = format!("installing {name} {version} in {}", printable_path(&folder));
        announce(&what, |progress| install(&folder, progress))?;
        File::create(&installed)?;
    }
    Ok(program)
}

/// Returns `true` if `PATH` has the tool in the right version.
fn is_in_path() -> bool {
    let (name, version) = TOOL;
    let output = Command::new(name).arg("--version").output();
    output.is_ok_and(|output| {
        output.status.success()
            && String::from_utf8_lossy(&output.stdout).split_whitespace().any(|it| it == version)
    })
}

fn install(folder: &Path, progress: &mut Progress) -> Result<()> {
    let (name, version) = TOOL;
    // A folder that an interrupted installation left.
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    let log = tempfile::NamedTempFile::new()?;
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(folder);
    run(&mut venv, log.path(), progress).with_context(|| {
        format!("{name} needs Python 3.10 or newer with its module venv: install python3 and python3-venv")
    })?;
    let requirement = format!("{name}=={version}");
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--only-binary", ":all:"]);
    let installed = run(pip.arg(&requirement), log.path(), progress);
    installed.with_context(|| {
        format!("install it yourself, so that PATH has it: pip install {requirement}")
    })?;
    if !folder.join("bin").join(name).exists() {
        bail!("pip installed {requirement} without its program");
    }
    Ok(())
}
