//! Sends one line back: the handler of CPython's own tests of socketserver.
use socketserver_guest::{BaseRequestHandler, Context, Result, export};
use std::io::{BufRead, BufReader, Write};

#[derive(Default)]
struct Line;

impl BaseRequestHandler for Line {
    fn handle(&mut self, cx: &mut Context) -> Result {
        let mut line = Vec::new();
        BufReader::new(&cx.request).read_until(b'\n', &mut line)?;
        cx.request.write_all(&line)?;
        Ok(())
    }
}

export!(Line);
