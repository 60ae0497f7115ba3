//! Builds the programs that are tested.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};

/// Returns the root of the repository whose tests Cargo runs. If the repository was moved
/// or copied, that is not where the tests were built.
pub fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let here = std::env::var_os("CARGO_MANIFEST_DIR");
        let here = here.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let here = Path::new(&here);
        here.parent().unwrap_or(here).to_owned()
    })
}

/// Builds the binary `wasm-socketserver` with the profile of the running test or bench, once, and
/// returns its path.
///
/// # Errors
///
/// Cargo cannot build it.
pub fn host() -> Result<&'static Path> {
    static HOST: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    remember(&HOST, || cargo_build(&["--bin", "wasm-socketserver"], "wasm-socketserver"))
}

/// Builds the examples of the crate `socketserver` with the profile of the running test or bench,
/// once, and returns the path of the example `name`.
///
/// # Errors
///
/// Cargo cannot build them.
pub fn example(name: &str) -> Result<PathBuf> {
    static EXAMPLES: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let build = || cargo_build(&["--examples"], "examples/upper");
    Ok(remember(&EXAMPLES, build)?.with_file_name(name))
}

/// The languages of handlers, which are the names of folders in `target/guests`, and the
/// extensions of their source files.
pub const LANGUAGES: [(&str, &str); 7] = [
    ("rust", "rs"),
    ("c", "c"),
    ("cpp", "cpp"),
    ("go", "go"),
    ("python", "py"),
    ("javascript", "js"),
    ("typescript", "ts"),
];

/// Returns the path of the handler `name` that was built from its source in `language`.
///
/// # Errors
///
/// The handler was not built. The error names the command that builds it.
pub fn guest(language: &str, name: &str) -> Result<PathBuf> {
    let path = target().join("guests").join(language).join(format!("{name}.wasm"));
    ensure!(
        path.exists(),
        "{} is not there: build it with `cargo guests {language}/{name}`",
        path.display()
    );
    Ok(path)
}

/// Returns the folder in which `cargo guests` has its tools and its output.
pub fn guest_folder() -> PathBuf {
    target().join("guests")
}

/// Copies a program into `directory` as an installation does, and returns the path of the copy.
///
/// The kernel keeps a file that a linker wrote in single pages, and a copied one in larger
/// folios. A forked child maps the program anew, which costs it 100 us more from single pages.
///
/// # Errors
///
/// The program cannot be copied.
pub fn install(directory: &Path, program: &Path, name: &str) -> Result<PathBuf> {
    let copy = directory.join(name);
    fs::copy(program, &copy).with_context(|| format!("cannot copy {}", program.display()))?;
    Ok(copy)
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
    let folder = profile_folder()?;
    // The only profile whose folder has another name.
    let profile = if folder == "debug" { "dev" } else { &folder };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // Cargo has set these for this program. Build scripts that look at them, such as the one of
    // `ring`, would run again, and all that depends on their crates would be built again.
    for (name, _) in std::env::vars_os() {
        let of_package = ["CARGO_PKG_", "CARGO_MANIFEST_", "OUT_DIR"];
        if of_package.iter().any(|own| name.to_string_lossy().starts_with(own)) {
            command.env_remove(name);
        }
    }
    let built = command
        .current_dir(root())
        // Without `--workspace` the dependencies have other features, and Cargo builds all
        // of them a second time.
        .args(["build", "--quiet", "--profile", profile, "--workspace"])
        .args(what)
        .status()
        .context("cannot run cargo")?;
    ensure!(built.success(), "cargo cannot build {program}");
    let path = target().join(&folder).join(program);
    ensure!(path.exists(), "cargo built no {}", path.display());
    Ok(path)
}

/// Returns the name of the folder of this program's profile: the program is
/// `target/PROFILE/deps/NAME`.
fn profile_folder() -> Result<String> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let folder = program.ancestors().nth(2).and_then(Path::file_name);
    let folder = folder.and_then(|name| name.to_str());
    Ok(folder.with_context(|| format!("no profile in {}", program.display()))?.to_owned())
}
