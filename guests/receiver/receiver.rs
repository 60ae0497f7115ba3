//! Receives one message, and reports it with the names of both ends of the socket, in the log
//! and to the client: Python's `getsockname` and `getpeername`.
use socketserver_guest::{BaseRequestHandler, Context, Result, export, log};

#[derive(Default)]
struct Receiver;

impl BaseRequestHandler for Receiver {
    fn handle(&mut self, cx: &mut Context) -> Result {
        let request = &cx.request;
        let message = request.recv(1024)?;
        let report = format!(
            "We have accepted a connection from: {}\n\
             Socket Name is: {}\n\
             Socket Peer is: {}\n\
             The message we have received is: {}\n",
            cx.client_address,
            request.getsockname()?,
            request.getpeername()?,
            message.escape_ascii(),
        );
        for line in report.lines() {
            log::info(line);
        }
        request.sendall(report.as_bytes())?;
        Ok(())
    }
}

export!(Receiver);
