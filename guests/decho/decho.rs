//! Sends each datagram back; reads and writes it as files.
use socketserver_guest::{DatagramContext, DatagramRequestHandler, Result, export};

#[derive(Default)]
struct Echo;

impl DatagramRequestHandler for Echo {
    fn handle(&mut self, cx: &mut DatagramContext) -> Result {
        cx.wfile.extend(cx.rfile.read_all()?);
        Ok(())
    }
}

export!(Echo as DatagramRequestHandler);
