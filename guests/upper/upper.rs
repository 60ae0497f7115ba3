//! The handler of Python's documentation: sends the data back, upper-cased.
use socketserver_guest::{BaseRequestHandler, Context, Result, export, strip};

#[derive(Default)]
struct MyTCPHandler {
    data: Vec<u8>,
}

impl BaseRequestHandler for MyTCPHandler {
    fn handle(&mut self, cx: &mut Context) -> Result {
        self.data = strip(&cx.request.recv(1024)?).to_vec();
        cx.request.sendall(&self.data.to_ascii_uppercase())?;
        Ok(())
    }
}

export!(MyTCPHandler);
