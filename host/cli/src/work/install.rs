//! Tools: where they are, and their installation in the cache directory, in fixed versions.

use std::env;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use socketserver_guest_compilers::Package;

use super::private::create_private;
use super::progress::{Progress, announce};
use super::run::run;
use crate::report::printable_path;

/// Returns the path of a program in `PATH`.
pub fn program_in_path(name: &str) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        let metadata = fs::metadata(path);
        metadata.is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    };
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(is_program)
}

/// Returns the virtual environment of Python in the cache that has a package of `PyPI`, and
/// installs the package there if it is not.
///
/// # Errors
///
/// It cannot be installed.
pub fn python_package(base: &Path, package: Package) -> Result<PathBuf> {
    let Package { name, version } = package;
    install_once(base, package, |folder, progress| {
        let python = program_in_path("python3").unwrap_or_else(|| "python3".into());
        let mut venv = Command::new(python);
        venv.args(["-m", "venv"]).arg(folder);
        run(&mut venv, progress).with_context(|| {
            format!("{name} needs Python 3.10 or newer with its module venv: install python3 and python3-venv")
        })?;
        let requirement = format!("{name}=={version}");
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--only-binary", ":all:"]);
        let installed = run(pip.arg(&requirement), progress);
        installed.with_context(|| {
            format!("install it yourself, so that PATH has it: pip install {requirement}")
        })
    })
}

/// Returns the path of the program of a package of npm in the cache, and installs the package
/// there if it is not.
///
/// # Errors
///
/// It cannot be installed.
pub fn npm_tool(base: &Path, package: Package) -> Result<PathBuf> {
    let Package { name, version } = package;
    let program = npm_package(base, package)?.join(".bin").join(name);
    if !program.exists() {
        bail!("npm installed {name}@{version} without its program");
    }
    Ok(program)
}

/// Returns the folder of modules in the cache that has a package of npm, and installs the package
/// there if it is not.
///
/// # Errors
///
/// It cannot be installed.
pub fn npm_package(base: &Path, package: Package) -> Result<PathBuf> {
    let Package { name, version } = package;
    let folder = install_once(base, package, |folder, progress| {
        fs::create_dir(folder)?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"])
            .arg(folder);
        run(npm.arg(format!("{name}@{version}")), progress).with_context(|| {
            format!("{name} needs Node.js 20 or newer with npm: apt-get install nodejs npm")
        })
    })?;
    Ok(folder.join("node_modules"))
}

/// Installs the packages that the `package.json` of a folder names, without their scripts.
///
/// # Errors
///
/// They cannot be installed.
pub fn npm_dependencies(folder: &Path) -> Result<()> {
    let what =
        format!("installing the packages of {}", printable_path(&folder.join("package.json")));
    announce(&what, |progress| {
        let mut npm = Command::new("npm");
        npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder);
        run(&mut npm, progress).with_context(|| {
            "`npm install` failed; npm comes with Node.js 20 or newer: apt-get install nodejs npm"
        })
    })
}

/// Returns the folder of a tool in the cache, after `install` has filled it once.
fn install_once(
    base: &Path,
    package: Package,
    install: impl FnOnce(&Path, &mut Progress) -> Result<()>,
) -> Result<PathBuf> {
    let Package { name, version } = package;
    let folder = create_private(base, "tools")?.join(package.folder());
    let installed = folder.join("installed");
    if installed.exists() {
        return Ok(folder);
    }
    // Of two processes that install it at the same time, one waits for the other.
    let lock = File::create(folder.with_extension("lock"))?;
    lock.lock()?;
    if !installed.exists() {
        // A folder that an interrupted installation left.
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        let what = format!("installing {name} {version} in {}", printable_path(&folder));
        announce(&what, |progress| install(&folder, progress))?;
        File::create(&installed)?;
    }
    Ok(folder)
}
