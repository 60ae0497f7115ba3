//! Sends each datagram back in upper case.

use socketserver_guest::{BaseRequestHandler, Context, Datagram, Result, export, strip};

#[derive(Default)]
struct MyUDPHandler;

impl BaseRequestHandler<Datagram> for MyUDPHandler {
    fn handle(&mut self, cx: &mut Context<Datagram>) -> Result {
        let (data, socket) = &cx.request;
        socket.sendto(&strip(data).to_ascii_uppercase(), &cx.client_address)?;
        Ok(())
    }
}

export!(MyUDPHandler as BaseRequestHandler<Datagram>);
