//! A protocol of length, acknowledgement and payload: for each command the handler sends the
//! decimal length of its output and, after any byte from the client, the output.
use socketserver_guest::{BaseRequestHandler, Context, Result, export};

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
        b"echo" => rest.to_vec(),
        b"repeat" => {
            let (count, text) = word(rest);
            text.repeat(str::from_utf8(count)?.parse()?)
        }
        b"utf8" => "中文输出\n".into(),
        b"empty" => Vec::new(),
        b"fail" => return Err("fail requested".into()),
        _ => b"unknown command".to_vec(),
    })
}

/// Returns the bytes before the first space and the bytes after it.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| *byte == b' ') {
        Some(space) => (&text[..space], &text[space + 1..]),
        None => (text, &[]),
    }
}

export!(Command);
