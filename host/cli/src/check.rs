//! `check`: whether the handlers of a configuration can be served.

use std::io::Write as _;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::config::Config;
use crate::generation;
use crate::options::CheckOptions;
use crate::work::say;

/// Loads and tries the handlers of a configuration, one after the other.
///
/// # Errors
///
/// A process for it cannot be started, or the report cannot be printed.
pub fn check(options: &CheckOptions) -> Result<ExitCode> {
    let config = match Config::read(&options.config) {
        Ok(config) => config,
        Err(problems) => {
            say(&format!("{problems}\n"));
            return Ok(ExitCode::from(2));
        }
    };
    let mut all_can = true;
    for handler in &config.handlers {
        // The door stays open until the process has ended.
        let (mut command, _door) = generation::command(handler, &handler.arguments, &[], None)?;
        let output = command.arg("--check").stdout(Stdio::null()).output();
        let output = output.context("cannot start a process that tries the handler")?;
        let can = output.status.success();
        all_can &= can;
        let name = &handler.name;
        for line in String::from_utf8_lossy(&output.stderr).lines() {
            let line = line.strip_prefix("wasm-socketserver: ").unwrap_or(line);
            say(&format!("{name}: {line}\n"));
        }
        let result = if can { "can be served" } else { "cannot be served" };
        writeln!(std::io::stdout(), "{name}: {result}").context("cannot print the report")?;
    }
    Ok(if all_can { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
