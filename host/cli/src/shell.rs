//! `completions` and `man`: what shells and readers of manuals know of the command line.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_complete::generate;
use clap_mangen::Man;

use crate::options::{self, Arguments, CompletionsOptions, ManOptions};

/// The name of the program.
const NAME: &str = "wasm-socketserver";

/// Prints the script of a shell.
///
/// # Errors
///
/// Standard output cannot be written.
pub fn completions(options: &CompletionsOptions) -> Result<ExitCode> {
    let mut script = Vec::new();
    generate(options.shell, &mut shown(), NAME, &mut script);
    print(&script)
}

/// Prints the page of the program, or of one of its commands.
///
/// # Errors
///
/// There is no such command, or standard output cannot be written.
pub fn man(options: &ManOptions) -> Result<ExitCode> {
    let mut command = shown();
    command.build();
    let command = match &options.page {
        Some(name) => command
            .find_subcommand(name)
            .with_context(|| {
                let names: Vec<_> = command.get_subcommands().map(Command::get_name).collect();
                format!("there is no such command; the commands are {}", names.join(", "))
            })?
            .clone(),
        None => command,
    };
    let mut page = Vec::new();
    let source = concat!("wasm-socketserver ", env!("CARGO_PKG_VERSION"));
    Man::new(command).source(source).render(&mut page)?;
    print(&page)
}

/// Returns the definition of the command line without the hidden commands.
fn shown() -> Command {
    let definition = options::definition();
    // In the order of the declaration, which the definition has changed.
    let declared = Arguments::command();
    let names = declared.get_subcommands().filter(|command| !command.is_hide_set());
    let commands: Vec<_> = names
        .filter_map(|command| definition.find_subcommand(command.get_name()).cloned())
        .collect();
    let mut shown = Command::new(NAME).version(env!("CARGO_PKG_VERSION")).subcommands(commands);
    if let Some(about) = definition.get_about() {
        shown = shown.about(about.clone());
    }
    if let Some(about) = definition.get_long_about() {
        shown = shown.long_about(about.clone());
    }
    shown
}

fn print(text: &[u8]) -> Result<ExitCode> {
    let mut output = io::stdout();
    output.write_all(text).and_then(|()| output.flush()).context("cannot write standard output")?;
    Ok(ExitCode::SUCCESS)
}
