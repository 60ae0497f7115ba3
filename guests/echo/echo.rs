//! Sends all data back until the client has finished sending.
use socketserver_guest::{BaseRequestHandler, Context, Result, export};

#[derive(Default)]
struct Echo;

impl BaseRequestHandler for Echo {
    fn handle(&mut self, cx: &mut Context) -> Result {
        loop {
            let data = cx.request.recv(65536)?;
            if data.is_empty() {
                return Ok(());
            }
            cx.request.sendall(&data)?;
        }
    }
}

export!(Echo);
