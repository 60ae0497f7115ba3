//! Options of the hidden commands that load a program into a component and compile that.

use std::path::PathBuf;

use clap::Args;
use socketserver_sandbox::BuildFolder;

/// The component, and the folders that it sees.
#[derive(Debug, Clone, Args)]
pub struct SnapshotOptions {
    /// Run this component.
    #[arg(long)]
    pub component: PathBuf,
    /// Show it a folder that it may change, as PATH=NAME.
    #[arg(long, value_parser = folder)]
    pub folder: Vec<BuildFolder>,
    /// Show it a folder that it may read, as PATH=NAME.
    #[arg(long, value_parser = read_only_folder)]
    pub read_only: Vec<BuildFolder>,
    /// Write the component with the program to this file.
    #[arg(long)]
    pub output: PathBuf,
}

/// The component of a program.
#[derive(Debug, Clone, Args)]
pub struct PrecompileOptions {
    /// Compile this component, and write it anew if its memory must be larger for that.
    #[arg(long)]
    pub component: PathBuf,
}

fn folder(text: &str) -> Result<BuildFolder, String> {
    let (path, name) = text.rsplit_once('=').ok_or("it is not PATH=NAME")?;
    Ok(BuildFolder { path: path.into(), name: name.to_owned(), is_writable: true })
}

fn read_only_folder(text: &str) -> Result<BuildFolder, String> {
    folder(text).map(|folder| BuildFolder { is_writable: false, ..folder })
}
