//! Reads until the client has shut its side down, and then sends `<count> <sha256>\n`.
use sha2::{Digest, Sha256};
use socketserver_guest::{BaseRequestHandler, Context, Result, export};
use std::fmt::Write;

#[derive(Default)]
struct Sink {
    hash: Sha256,
    count: u64,
}

impl BaseRequestHandler for Sink {
    fn handle(&mut self, cx: &mut Context) -> Result {
        loop {
            let data = cx.request.recv(65536)?;
            if data.is_empty() {
                break;
            }
            self.hash.update(&data);
            self.count += data.len() as u64;
        }
        let mut line = format!("{} ", self.count);
        for byte in self.hash.finalize_reset() {
            write!(line, "{byte:02x}")?;
        }
        line.push('\n');
        cx.request.sendall(line.as_bytes())?;
        Ok(())
    }
}

export!(Sink);
