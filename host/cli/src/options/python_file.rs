//! Options of `run`: a Python file, and what its program is given.

#![allow(clippy::doc_markdown, reason = "--help prints these texts as they stand")]

use std::path::PathBuf;

use clap::Args;

use super::ServerOptions;

/// The options of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunOptions {
    /// The program: a Python file (.py), or a component that `build` made from one.
    pub program: PathBuf,

    /// The arguments of the program, after `--`: its sys.argv.
    #[arg(last = true, value_name = "ARG")]
    pub arguments: Vec<String>,

    /// The packages of the program.
    #[command(flatten)]
    pub packages: PackageOptions,

    /// The options of the server, which take the place of what the program says.
    #[command(flatten)]
    pub server: ServerOptions,
}

/// The packages of a program.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Building the program")]
pub struct PackageOptions {
    /// Find packages in this folder, as PYTHONPATH does; repeatable.
    ///
    /// Such as venv/lib/python3.14/site-packages, or what `pip install --target` filled.
    /// Packages with native code do not work.
    #[arg(long, value_name = "DIR")]
    pub python_path: Vec<PathBuf>,
}
