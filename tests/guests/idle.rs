//! Sends one line back, and fails if the client sends nothing for half a second.
use socketserver_guest::{Result, StreamContext, StreamRequestHandler, export};
use std::time::Duration;

#[derive(Default)]
struct Idle;

impl StreamRequestHandler for Idle {
    const TIMEOUT: Option<Duration> = Some(Duration::from_millis(500));

    fn handle(&mut self, cx: &mut StreamContext) -> Result {
        let line = cx.rfile.readline()?;
        cx.wfile.write(&line)?;
        Ok(())
    }
}

export!(Idle as StreamRequestHandler);
