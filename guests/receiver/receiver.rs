//! Receives one message, and reports it in the log, with the names of both ends of the socket:
//! Python's `getsockname` and `getpeername`. `serve --once` ends after one connection, as the
//! program of the notes does.
use socketserver_guest::{BaseRequestHandler, Context, Result, export, log};

#[derive(Default)]
struct Receiver;

impl BaseRequestHandler for Receiver {
    fn handle(&mut self, cx: &mut Context) -> Result {
        log::info(format!("Now, We have accepted a connection from: {}", cx.client_address));
        log::info(format!("Socket Name is: {}", cx.request.getsockname()?));
        log::info(format!("Socket Peer is: {}", cx.request.getpeername()?));
        let message = cx.request.recv(1024)?;
        log::info(format!("The message we have received is: {}", message.escape_ascii()));
        Ok(())
    }
}

export!(Receiver);
