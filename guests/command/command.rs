//! The command server of the notes. For each command the handler sends the decimal length of its
//! output and, after any bytes from the client, the output.
//!
//! The notes pass the command to a shell. A handler in a sandbox has no shell and starts no
//! programs: it has the commands below. `ls` and `cat` see the directories that the operator
//! grants, for example with `--dir /srv/files::/files:ro`.
use socketserver_guest::{BaseRequestHandler, Context, Result, export};
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Read};
use std::time::SystemTime;

const HELP: &str = "\
commands:
  help           this text
  date           the time, in UTC
  ls DIRECTORY   the names in a directory that the operator granted
  cat FILE       a file in such a directory
  echo TEXT      TEXT
  repeat N TEXT  TEXT, N times
  fib N          the Fibonacci number N, of at most 93
  utf8           a line of Chinese
  empty          a sentence about no output
  fail           an error, which ends the connection
A sandboxed handler has no shell: it starts no programs.
";

/// The longest output, in bytes.
const LONGEST: usize = 10_000_000;

#[derive(Default)]
struct Command;

impl BaseRequestHandler for Command {
    fn handle(&mut self, cx: &mut Context) -> Result {
        loop {
            let command = cx.request.recv(1024)?;
            if command.is_empty() {
                return Ok(());
            }
            let mut output = run(&command)?;
            if output.is_empty() {
                output = b"cmd exec success,has not output!".to_vec();
            }
            cx.request.sendall(output.len().to_string().as_bytes())?;
            if cx.request.recv(1024)?.is_empty() {
                return Ok(());
            }
            cx.request.sendall(&output)?;
        }
    }
}

fn run(command: &[u8]) -> Result<Vec<u8>> {
    let (name, rest) = word(command);
    let text = String::from_utf8_lossy(rest);
    let argument = text.trim();
    Ok(match name {
        b"help" => HELP.into(),
        b"date" => date().into(),
        b"ls" => ls(argument).unwrap_or_else(|error| failure("ls", argument, error)),
        b"cat" => cat(argument).unwrap_or_else(|error| failure("cat", argument, error)),
        b"echo" => rest.to_vec(),
        b"repeat" => repeat(rest).unwrap_or_else(|| "usage: repeat N TEXT, up to 10 MB\n".into()),
        b"fib" => fib(argument).unwrap_or_else(|| "usage: fib N, with N from 0 to 93\n".into()),
        b"utf8" => "中文输出\n".into(),
        b"empty" => b"cmd has no output".to_vec(),
        b"fail" => return Err("fail requested".into()),
        _ => b"unknown command".to_vec(),
    })
}

/// Returns the time as `date` prints it: `Fri Nov  6 09:05:00 UTC 2026`.
fn date() -> String {
    let now = httpdate::fmt_http_date(SystemTime::now()); // Fri, 06 Nov 2026 09:05:00 GMT
    let (weekday, day, month) = (&now[..3], now[5..7].trim_start_matches('0'), &now[8..11]);
    let (year, time) = (&now[12..16], &now[17..25]);
    format!("{weekday} {month} {day:>2} {time} UTC {year}\n")
}

/// Returns the sorted names in a directory, a line each. As in a shell, names that begin with a
/// dot are hidden.
fn ls(directory: &str) -> io::Result<Vec<u8>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name().into_encoded_bytes();
        if !name.starts_with(b".") {
            names.push([&name[..], b"\n"].concat());
        }
    }
    names.sort();
    Ok(names.concat())
}

fn cat(file: &str) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(file)?.take(LONGEST as u64 + 1).read_to_end(&mut content)?;
    if content.len() > LONGEST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(content)
}

fn failure(command: &str, path: &str, error: impl Display) -> Vec<u8> {
    format!("{command}: {path}: {error}\n").into_bytes()
}

fn repeat(arguments: &[u8]) -> Option<Vec<u8>> {
    let (count, text) = word(arguments);
    let count: usize = str::from_utf8(count).ok()?.parse().ok()?;
    let fits = count.checked_mul(text.len()).is_some_and(|length| length <= LONGEST);
    fits.then(|| text.repeat(count))
}

/// Returns a Fibonacci number; 93 is the last one that fits.
fn fib(number: &str) -> Option<Vec<u8>> {
    let count: u32 = number.parse().ok().filter(|count| *count <= 93)?;
    let (mut one, mut next) = (0_u64, 1_u64);
    for _ in 0..count {
        (one, next) = (next, one.saturating_add(next));
    }
    Some(format!("{one}\n").into_bytes())
}

/// Returns the bytes before the first space and the bytes after it.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| *byte == b' ') {
        Some(space) => (&text[..space], &text[space + 1..]),
        None => (text, &[]),
    }
}

export!(Command);
