//! Writes a line, reads one, and writes another. With a buffer of the default size nothing is
//! sent before the end.
use socketserver_guest::{Result, StreamContext, StreamRequestHandler, export};

#[derive(Default)]
struct Buffered;

impl StreamRequestHandler for Buffered {
    const WBUFSIZE: i32 = -1;

    fn handle(&mut self, cx: &mut StreamContext) -> Result {
        cx.wfile.write(b"first\n")?;
        cx.rfile.readline()?;
        cx.wfile.write(b"second\n")?;
        Ok(())
    }
}

export!(Buffered as StreamRequestHandler);
