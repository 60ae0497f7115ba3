//! `status`, `reload`, `upgrade`, `drain` and `stop`: what an operator asks a supervisor.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::de::DeserializeOwned;
use socketserver::printable;

use super::answers::MAX_ANSWER;
use super::control::Done;
use super::handlers::Status;
use crate::options::{ControlOptions, DrainOptions};
use crate::report::printable_path;

/// The longest text that is shown of a process, in bytes.
const MAX_TEXT: usize = 400;

/// Prints a report about the handlers.
///
/// # Errors
///
/// There is no supervisor, or its answer cannot be read.
pub fn status(options: &ControlOptions) -> Result<ExitCode> {
    let text = ask(options, "status")?;
    let Ok(status) = serde_json::from_str::<Status>(&text) else {
        let done: Done = read(&text)?;
        bail!("{}", done.problems.join("\n"));
    };
    let shown = if options.json { text } else { table(&status) };
    std::io::stdout().write_all(shown.as_bytes()).context("cannot print the report")?;
    let all_serve = status.handlers.iter().all(|handler| handler.state == "serving");
    Ok(if all_serve { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Has the supervisor do what a word says, and waits until that is done.
///
/// # Errors
///
/// There is no supervisor, or it has a problem.
pub fn order(options: &ControlOptions, word: &str) -> Result<ExitCode> {
    let text = ask(options, word)?;
    let done: Done = read(&text)?;
    if options.json {
        std::io::stdout().write_all(text.as_bytes()).context("cannot print the report")?;
        return Ok(if done.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    ensure!(done.problems.is_empty(), "{}", done.problems.join("\n"));
    Ok(ExitCode::SUCCESS)
}

/// Drains a handler, or all, or has it serve again.
///
/// # Errors
///
/// There is no supervisor or no such handler, or it cannot be started.
pub fn drain(options: &DrainOptions) -> Result<ExitCode> {
    let word = if options.undo { "undo-drain" } else { "drain" };
    match &options.name {
        None => order(&options.control, word),
        Some(name) => order(&options.control, &format!("{word} {name}")),
    }
}

fn ask(options: &ControlOptions, word: &str) -> Result<String> {
    let path = &options.control;
    let shown = printable_path(path);
    let failed = || {
        format!("cannot ask the server at `{shown}`, which `control` of its configuration names")
    };
    let mut stream = UnixStream::connect(path).with_context(failed)?;
    stream.set_write_timeout(Some(Duration::from_secs(10))).with_context(failed)?;
    stream.write_all(format!("{word}\n").as_bytes()).with_context(failed)?;
    let mut text = String::new();
    stream.take(MAX_ANSWER as u64).read_to_string(&mut text).with_context(failed)?;
    Ok(text)
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).context("the server did not answer, or answered something else")
}

fn table(status: &Status) -> String {
    let width = status.handlers.iter().map(|handler| handler.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for handler in &status.handlers {
        let name = printable(&handler.name, MAX_TEXT);
        let state = printable(&handler.state, MAX_TEXT);
        let addresses = printable(&handler.addresses.join(" "), MAX_TEXT);
        let _ = write!(text, "{name:width$}  {state:8}  {addresses}");
        if let (Some(generation), Some(pid)) = (handler.generation, handler.pid) {
            let time = humantime::format_duration(Duration::from_secs(handler.seconds));
            let _ = write!(text, "  generation {generation}, process {pid}, for {time}");
        }
        if handler.restarts > 0 {
            let _ = write!(text, ", {} restarts", handler.restarts);
        }
        if handler.replacing {
            text.push_str(", being replaced");
        }
        text.push('\n');
        for certificate in &handler.certificates {
            let file = printable(&certificate.file, MAX_TEXT);
            let expiry = certificate.expiry();
            let _ = writeln!(text, "{:width$}  the certificate `{file}` {expiry}", "");
        }
        if let Some(failure) = &handler.last_failure {
            let _ = writeln!(text, "{:width$}  last failure: {}", "", printable(failure, MAX_TEXT));
        }
    }
    if status.ending > 0 {
        let _ = writeln!(text, "{} processes finish their requests", status.ending);
    }
    text
}
