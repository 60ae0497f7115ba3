//! Reads one byte and answers. The other data of the client stays unread.
use socketserver_guest::{BaseRequestHandler, Context, Result, export};

#[derive(Default)]
struct Unread;

impl BaseRequestHandler for Unread {
    fn handle(&mut self, cx: &mut Context) -> Result {
        cx.request.recv(1)?;
        cx.request.sendall(b"OK\n")?;
        Ok(())
    }
}

export!(Unread);
