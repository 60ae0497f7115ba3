//! The command server of the notes. For each command the handler sends the decimal length of its
//! output and, after any bytes from the client, the output.
//!
//! The notes pass the command to a shell. A handler in a sandbox has no shell and starts no
//! programs: it has the commands below.
use socketserver_guest::{BaseRequestHandler, Context, Result, export};

const HELP: &str = "\
commands:
  help           this text
  echo TEXT      TEXT
  repeat N TEXT  TEXT, N times
  fib N          the Fibonacci number N, of at most 93
  utf8           a line of Chinese
  empty          no output
  fail           an error, which ends the connection
A sandboxed handler has no shell: it starts no programs.
";

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
                output = b"cmd has no output".to_vec();
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
    Ok(match name {
        b"help" => HELP.into(),
        b"echo" => rest.to_vec(),
        b"repeat" => {
            let (count, text) = word(rest);
            text.repeat(str::from_utf8(count)?.parse()?)
        }
        b"fib" => str::from_utf8(rest).map_or_else(|_| usage(), fib),
        b"utf8" => "中文输出\n".into(),
        b"empty" => Vec::new(),
        b"fail" => return Err("fail requested".into()),
        _ => b"unknown command".to_vec(),
    })
}

/// Returns a Fibonacci number; 93 is the last one that fits.
fn fib(number: &str) -> Vec<u8> {
    let Some(count) = number.trim().parse().ok().filter(|count| *count <= 93_u32) else {
        return usage();
    };
    let (mut one, mut next) = (0_u64, 1_u64);
    for _ in 0..count {
        (one, next) = (next, one.saturating_add(next));
    }
    format!("{one}\n").into_bytes()
}

fn usage() -> Vec<u8> {
    b"usage: fib N, with N from 0 to 93\n".to_vec()
}

/// Returns the bytes before the first space and the bytes after it.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| *byte == b' ') {
        Some(space) => (&text[..space], &text[space + 1..]),
        None => (text, &[]),
    }
}

export!(Command);
