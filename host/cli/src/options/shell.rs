//! Options of `completions` and `man`.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap_complete::Shell;

/// The shells.
const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// The options of `completions`.
#[derive(Debug, Clone, Args)]
pub struct CompletionsOptions {
    /// The shell.
    #[arg(value_parser = PossibleValuesParser::new(SHELLS).try_map(|name| name.parse::<Shell>()))]
    pub shell: Shell,
}

/// The options of `man`.
#[derive(Debug, Clone, Args)]
pub struct ManOptions {
    /// The command that the page is about. Without one, the page is about the program.
    #[arg(value_name = "COMMAND")]
    pub page: Option<String>,
}
