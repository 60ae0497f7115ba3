//! Options of `new` and `build`: projects, and sources.

#![allow(clippy::doc_markdown, reason = "--help prints these texts as they stand")]

use std::path::PathBuf;

use clap::Args;

use super::PackageOptions;
use crate::values::language::Language;

/// The options of `new`.
#[derive(Debug, Clone, Args)]
pub struct NewOptions {
    /// The language. Without one, the languages are listed.
    #[arg(value_parser = super::words::language(), requires = "name")]
    pub language: Option<Language>,

    /// The name of the project, and of its folder in the working directory.
    ///
    /// It begins with a letter, and has letters, digits, `-` and `_`.
    pub name: Option<String>,

    /// Write a handler of datagrams.
    #[arg(long, requires = "language")]
    pub datagram: bool,
}

/// The options of `build`.
#[derive(Debug, Clone, Args)]
pub struct BuildOptions {
    /// The source: a file, or the folder of a project.
    ///
    /// A file ends in .rs, .go, .c, .cpp, .js, .ts, .zig, .py or .wat. A folder has a
    /// Cargo.toml, a go.mod, a package.json, or such files.
    #[arg(value_name = "PATH")]
    pub source: PathBuf,

    /// The arguments of a Python program, after `--`: its sys.argv.
    #[arg(last = true, value_name = "ARG")]
    pub arguments: Vec<String>,

    /// Write the component to this file.
    ///
    /// By default it stands in the working directory, with the name of the source and .wasm.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// The packages of a Python program.
    #[command(flatten)]
    pub packages: PackageOptions,

    /// Give a Python program an environment variable; repeatable.
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = crate::values::env::parse)]
    pub env: Vec<(String, String)>,

    /// Build anew, even if nothing has changed, and keep the result.
    #[arg(long)]
    pub no_cache: bool,
}
