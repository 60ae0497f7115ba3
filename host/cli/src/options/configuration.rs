//! Options of the commands that read a configuration file.

#![allow(clippy::doc_markdown, reason = "--help prints these texts as they stand")]

use std::path::PathBuf;

use clap::Args;

/// The options of `check`.
#[derive(Debug, Clone, Args)]
pub struct CheckOptions {
    /// The configuration file.
    #[arg(default_value = DEFAULT)]
    pub config: PathBuf,
}

/// The options of `up`.
#[derive(Debug, Clone, Args)]
pub struct UpOptions {
    /// The configuration file.
    #[arg(default_value = DEFAULT)]
    pub config: PathBuf,

    #[command(flatten)]
    pub take_over: TakeOverOptions,
}

/// The options of the program that takes the place of another one at an upgrade.
#[derive(Debug, Clone, Args)]
pub struct TakeOverOptions {
    /// Take over from the program that this process has run before.
    #[arg(long, hide = true)]
    pub take_over: bool,

    /// Try to take over, and check the configuration.
    #[arg(long = "try", hide = true, requires = "take_over")]
    pub is_trial: bool,
}

/// The options of the commands that ask a server.
#[derive(Debug, Clone, Args)]
pub struct ControlOptions {
    /// Ask at this socket.
    ///
    /// The key `control` of the configuration names it.
    #[arg(long, value_name = "PATH", default_value = "/run/wasm-socketserver/control.sock")]
    pub control: PathBuf,

    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// The options of `drain`.
#[derive(Debug, Clone, Args)]
pub struct DrainOptions {
    /// The handler; all handlers if none is named.
    #[arg(value_name = "NAME")]
    pub name: Option<String>,

    /// Have the handler serve again.
    #[arg(long)]
    pub undo: bool,

    #[command(flatten)]
    pub control: ControlOptions,
}

/// The configuration file if none is named.
const DEFAULT: &str = "/etc/wasm-socketserver/config.toml";

/// The options of a process that serves one handler of a configuration.
#[derive(Debug, Clone, Args)]
pub struct GenerationOptions {
    /// The name of the handler, for those who look at processes.
    pub name: String,

    /// The number of the generation.
    #[arg(long)]
    pub number: Option<u64>,

    /// Count in the file that comes through the door.
    #[arg(long)]
    pub counted: bool,

    /// Load and try the handler, and do not serve.
    #[arg(long)]
    pub check: bool,
}
