//! Writes a line, reads one, and writes another. Without a buffer, which is the default, each
//! line is sent at once.
use socketserver_guest::{Result, StreamContext, StreamRequestHandler, export};

#[derive(Default)]
struct Unbuffered;

impl StreamRequestHandler for Unbuffered {
    fn handle(&mut self, cx: &mut StreamContext) -> Result {
        cx.wfile.write(b"first\n")?;
        cx.rfile.readline()?;
        cx.wfile.write(b"second\n")?;
        Ok(())
    }
}

export!(Unbuffered as StreamRequestHandler);
