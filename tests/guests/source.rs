//! Reads a line with a decimal `N`, and sends `N` bytes, where byte `i` is `i % 251`. Each call
//! of `sendall` sends 1 MiB, and the last one the rest.
use socketserver_guest::{BaseRequestHandler, Context, Result, export, strip};

const MIB: usize = 1 << 20;

#[derive(Default)]
struct Source;

impl BaseRequestHandler for Source {
    fn handle(&mut self, cx: &mut Context) -> Result {
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            let byte = cx.request.recv(1)?;
            if byte.is_empty() {
                return Ok(());
            }
            line.extend(byte);
        }
        let total: u64 = str::from_utf8(strip(&line))?.parse()?;

        let block: Vec<u8> = (0..251).cycle().take(MIB + 251).collect();
        let mut sent = 0;
        while sent < total {
            let start = (sent % 251) as usize;
            let count = (total - sent).min(MIB as u64);
            cx.request.sendall(&block[start..start + count as usize])?;
            sent += count;
        }
        Ok(())
    }
}

export!(Source);
