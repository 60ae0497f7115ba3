//! `--print-config`: a file that says the same as a command line.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf, absolute};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::ArgMatches;

use super::VERSION;
use super::keys::{Key, KeyType, Keys, SOURCE};
use crate::options::serve_matches;

/// Prints the file that says the same as the command line of this process.
///
/// # Errors
///
/// As for [`print()`].
pub fn print_to_standard_output() -> Result<ExitCode> {
    let serve = serve_matches().context("the command line is not that of `serve`")?;
    let text = print(&serve)?;
    std::io::stdout().write_all(text.as_bytes()).context("cannot print the configuration")?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the text of the file. `serve` has the values of the command line.
///
/// # Errors
///
/// A value is not UTF-8, which no file can have, or the command line says too little.
pub fn print(serve: &ArgMatches) -> Result<String> {
    let Some(handler) = serve.get_one::<PathBuf>("handler") else {
        anyhow::bail!("--print-config needs a handler, and the file the path of one")
    };
    ensure!(
        serve.contains_id("bind"),
        "--print-config needs --bind: the file names the addresses of a handler"
    );
    ensure!(!serve.get_flag("once"), "--once has no key: `up` starts what has ended anew");
    let mut text = format!("version = {VERSION}\n");
    write_server(&mut text, serve)?;
    // Writing to a String does not fail.
    let _ = write!(text, "\n[handler.{}]\n", name(handler));
    line(&mut text, SOURCE, &string(&path(handler)?));
    for key in Keys::of_serve().all() {
        if let Some(value) = value(key, serve)? {
            line(&mut text, &key.name, &value);
        }
    }
    let arguments = serve.get_many::<String>("args").into_iter().flatten();
    let arguments: Vec<_> = arguments.map(|argument| string(argument)).collect();
    if !arguments.is_empty() {
        line(&mut text, "args", &array(&arguments));
    }
    Ok(text)
}

/// Writes the table of the process that shows the handlers, if one is to do so.
fn write_server(text: &mut String, serve: &ArgMatches) -> Result<()> {
    let mut is_first = true;
    for key in ["metrics", "agent"] {
        let Some(values) = serve.get_raw(key) else { continue };
        let convert = |value: &OsStr| {
            let value = value.to_str().with_context(|| format!("--{key} is not UTF-8"))?;
            Ok(string(&bind(value)?))
        };
        let values = values.map(convert).collect::<Result<Vec<_>>>()?;
        if std::mem::take(&mut is_first) {
            text.push_str("\n[server]\n");
        }
        line(text, key, &array(&values));
    }
    Ok(())
}

fn line(text: &mut String, key: &str, value: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "{key} = {value}");
}

/// Returns the value of a key, if its option is on the command line.
fn value(key: &Key, serve: &ArgMatches) -> Result<Option<String>> {
    if key.is_flag {
        return Ok(serve.get_flag(&key.id).then(|| "true".to_owned()));
    }
    let Some(values) = serve.get_raw(&key.id) else { return Ok(None) };
    let convert = |value: &OsStr| {
        let value = value.to_str().with_context(|| format!("--{} is not UTF-8", key.name))?;
        Ok(match (key.value, &*key.name) {
            (KeyType::Text, "dir") => string(&dir(value)?),
            (KeyType::Text, "bind") => string(&bind(value)?),
            (KeyType::Text, _) => string(value),
            _ => value.trim_start_matches('+').to_owned(),
        })
    };
    let values = values.map(convert).collect::<Result<Vec<_>>>()?;
    Ok(match &values[..] {
        [value] if !key.is_list => Some(value.clone()),
        [] => None,
        values => Some(array(values)),
    })
}

fn array(values: &[String]) -> String {
    format!("[{}]", values.join(", "))
}

/// Returns a string of TOML. JSON has the same escapes, and lets one character stand.
fn string(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    json.replace('\u{7f}', "\\u007f")
}

/// Returns the name of the handler: that of its file.
fn name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = stem.chars().take(super::MAX_NAME);
    let name: String = name
        .map(|character| if character.is_ascii_alphanumeric() { character } else { '-' })
        .collect();
    if name.is_empty() { "handler".to_owned() } else { name }
}

/// Returns a path that leads to the same file from anywhere.
fn path(path: &Path) -> Result<String> {
    let path = absolute(path).context("there is no working directory")?;
    let text = path.to_str().context("the path of the handler is not UTF-8")?;
    Ok(text.to_owned())
}

fn dir(value: &str) -> Result<String> {
    let (host, rest) = value.split_once("::").unwrap_or((value, ""));
    Ok(format!("{}::{rest}", path(Path::new(host))?))
}

fn bind(value: &str) -> Result<String> {
    for scheme in ["unix://", "tls+unix://", "unixgram://"] {
        if let Some(relative) = value.strip_prefix(scheme).filter(|it| !it.starts_with(['@', '/']))
        {
            return Ok(format!("{scheme}{}", path(Path::new(relative))?));
        }
    }
    Ok(value.to_owned())
}
