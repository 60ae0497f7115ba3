//! Runs the tools of the languages, and writes their output to log files.

use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The number of lines from the end of the log that an error shows.
const TAIL: usize = 40;

/// A file in `target/guests/log` with the output of tools.
pub struct Log {
    path: PathBuf,
}

impl Log {
    /// Creates the file, or empties it.
    pub fn create(workspace: &Workspace, name: &str) -> Result<Self> {
        let folder = workspace.out("log");
        let path = folder.join(name).with_extension("log");
        fs::create_dir_all(&folder)
            .and_then(|()| File::create(&path))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path })
    }

    /// Runs a tool.
    ///
    /// # Errors
    ///
    /// If the tool fails, the error ends with the last lines of the log. If the tool is
    /// not installed, the error ends with `hint`, which says what to install.
    pub fn run(&self, command: &mut Command, hint: &str) -> Result<()> {
        let mut file = OpenOptions::new().append(true).open(&self.path)?;
        writeln!(file, "$ {command:?}")?;
        let program = command.get_program().to_string_lossy().into_owned();
        let status = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => bail!("`{program}` failed ({status}); {}", self.tail()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("`{program}` is not installed: {hint}")
            }
            Err(error) => Err(error).with_context(|| format!("cannot run `{program}`")),
        }
    }

    fn tail(&self) -> String {
        let text = fs::read(&self.path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(TAIL)..];
        format!("the end of {} is\n{}", self.path.display(), last.join("\n"))
    }
}

/// Prints that a tool is being installed, which may take a while.
pub fn announce(what: &str) {
    eprintln!("installing {what}");
}
