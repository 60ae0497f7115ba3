//! Reads one byte and answers; all else that the client sent stays unread.
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
