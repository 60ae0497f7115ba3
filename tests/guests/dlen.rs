//! Answers each datagram with its length, in decimal.
use socketserver_guest::{BaseRequestHandler, Context, Datagram, Result, export};

#[derive(Default)]
struct Length;

impl BaseRequestHandler<Datagram> for Length {
    fn handle(&mut self, cx: &mut Context<Datagram>) -> Result {
        let (data, socket) = &cx.request;
        socket.sendto(data.len().to_string().as_bytes(), &cx.client_address)?;
        Ok(())
    }
}

export!(Length as BaseRequestHandler<Datagram>);
