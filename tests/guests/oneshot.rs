//! Logs the first data that it receives and the two addresses of the connection. Sends nothing.
//! It states that its clients speak first.
use socketserver_guest::{BaseRequestHandler, Context, Result, export, log};

#[derive(Default)]
struct OneShot;

impl BaseRequestHandler for OneShot {
    fn handle(&mut self, cx: &mut Context) -> Result {
        let data = cx.request.recv(1024)?;
        let sockname = cx.request.getsockname()?;
        let peername = cx.request.getpeername()?;
        let data = data.escape_ascii();
        log::info(format!("data {data} getsockname {sockname} getpeername {peername}"));
        Ok(())
    }
}

export!(OneShot);
socketserver_guest::client_speaks_first!();
