//! Sends one line back: the handler of CPython's own tests of socketserver.
use socketserver_guest::{Result, StreamContext, StreamRequestHandler, export};

#[derive(Default)]
struct Line;

impl StreamRequestHandler for Line {
    fn handle(&mut self, cx: &mut StreamContext) -> Result {
        let line = cx.rfile.readline()?;
        cx.wfile.write(&line)?;
        Ok(())
    }
}

export!(Line as StreamRequestHandler);
