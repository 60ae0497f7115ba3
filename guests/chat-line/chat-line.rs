//! A line from the client, a line from the server, until the client says `bye`: reads and writes
//! the connection as files, Python's `rfile` and `wfile`.
use socketserver_guest::{Result, StreamContext, StreamRequestHandler, export};

/// The longest line, in bytes. A longer one ends the chat.
const LONGEST: usize = 4096;

#[derive(Default)]
struct ChatLine;

impl StreamRequestHandler for ChatLine {
    const WBUFSIZE: i32 = -1;

    fn handle(&mut self, cx: &mut StreamContext) -> Result {
        let mut count = 0;
        loop {
            let line = cx.rfile.readline_limited(LONGEST)?;
            if line.is_empty() {
                return Ok(());
            }
            if !line.ends_with(b"\n") && line.len() == LONGEST {
                cx.wfile.write(b"that line is too long\n")?;
                return Ok(());
            }
            let said = line.strip_suffix(b"\n").unwrap_or(&line);
            if said == b"bye" {
                cx.wfile.write(format!("bye, after {count} lines\n").as_bytes())?;
                return Ok(());
            }
            count += 1;
            cx.wfile.write(format!("{count}: ").as_bytes())?;
            cx.wfile.write(said)?;
            cx.wfile.write(b"\n")?;
            cx.wfile.flush()?;
        }
    }
}

export!(ChatLine as StreamRequestHandler);
