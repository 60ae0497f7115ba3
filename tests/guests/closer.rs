//! Ends the connection. The handler sends `bye`, and then does what the first byte selects: `c`
//! closes, `s` shuts both directions down, `w` shuts the sending one down; any other byte
//! returns.
use socketserver_guest::{BaseRequestHandler, Context, Result, Shutdown, export};

#[derive(Default)]
struct Closer;

impl BaseRequestHandler for Closer {
    fn handle(&mut self, cx: &mut Context) -> Result {
        let how = cx.request.recv(1)?;
        cx.request.sendall(b"bye")?;
        match how.as_slice() {
            b"c" => cx.request.close(),
            b"s" => cx.request.shutdown(Shutdown::Both)?,
            b"w" => cx.request.shutdown(Shutdown::Write)?,
            _ => {}
        }
        Ok(())
    }
}

export!(Closer);
