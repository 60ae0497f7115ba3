//! Building what is tested.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};

/// Returns the root of the repository that Cargo runs the tests of, which is not the one
/// that they were built in if that was moved or copied.
pub fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let here = std::env::var_os("CARGO_MANIFEST_DIR");
        let here = here.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let here = Path::new(&here);
        here.parent().unwrap_or(here).to_owned()
    })
}

/// The binary `wasm-socketserver`, built with optimisations.
pub fn host() -> Result<&'static Path> {
    static HOST: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    remember(&HOST, || cargo_build(&["--bin", "wasm-socketserver"], "wasm-socketserver"))
}

/// An example of the crate `socketserver`, built with optimisations.
pub fn example(name: &str) -> Result<PathBuf> {
    static EXAMPLES: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let build = || cargo_build(&["--examples"], "examples/upper");
    Ok(remember(&EXAMPLES, build)?.with_file_name(name))
}

/// The handler `name` that was built from `language`.
///
/// Errors: it is not there; the error says which command builds it.
pub fn guest(language: &str, name: &str) -> Result<PathBuf> {
    let path = target().join("guests").join(language).join(format!("{name}.wasm"));
    ensure!(
        path.exists(),
        "{} is not there: build it with `cargo guests {language}/{name}`",
        path.display()
    );
    Ok(path)
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

fn remember(
    slot: &'static OnceLock<Result<PathBuf, String>>,
    build: fn() -> Result<PathBuf>,
) -> Result<&'static Path> {
    match slot.get_or_init(|| build().map_err(|error| format!("{error:#}"))) {
        Ok(path) => Ok(path),
        Err(error) => bail!("{error}"),
    }
}

fn cargo_build(what: &[&str], program: &str) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .current_dir(root())
        // With the features that the whole workspace asks for: with others,
        // everything would be built a second time.
        .args(["build", "--quiet", "--release", "--workspace"])
        .args(what)
        .status()
        .context("cannot run cargo")?;
    ensure!(built.success(), "cargo cannot build {program}");
    let path = target().join("release").join(program);
    ensure!(path.exists(), "cargo built no {}", path.display());
    Ok(path)
}
