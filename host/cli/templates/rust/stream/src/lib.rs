//! Receives up to 1024 bytes, and sends them back in upper case.

use socketserver_guest::{BaseRequestHandler, Context, Result, export, strip};

#[derive(Default)]
struct MyTCPHandler;

impl BaseRequestHandler for MyTCPHandler {
    fn handle(&mut self, cx: &mut Context) -> Result {
        let data = cx.request.recv(1024)?;
        cx.request.sendall(&strip(&data).to_ascii_uppercase())?;
        Ok(())
    }
}

export!(MyTCPHandler);
