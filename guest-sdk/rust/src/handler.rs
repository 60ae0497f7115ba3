use crate::export::Life;
use crate::{Address, Server, Socket};
use std::error::Error;

/// What the methods of a handler return: `Ok(())`, or any error at all.
///
/// `?` works on every error type, and a text becomes one with `.into()`. The
/// host logs the error with its sources, joined by `": "`; the client sees only
/// that the connection ends, or that no datagram comes.
pub type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// The request of a datagram handler: the datagram, and the socket to reply
/// on. Python's `data, socket = self.request`.
pub type Datagram = (Vec<u8>, Socket);

/// A request handler: Python's `BaseRequestHandler`.
///
/// `R` is the request: a [`Socket`] for the connections of a stream server,
/// which need not be named, and a [`Datagram`] for the datagrams of a datagram
/// server:
///
/// ```
/// use socketserver_guest::{BaseRequestHandler, Context, Datagram, Result, export, strip};
///
/// #[derive(Default)]
/// struct MyUDPHandler;
///
/// impl BaseRequestHandler<Datagram> for MyUDPHandler {
///     fn handle(&mut self, cx: &mut Context<Datagram>) -> Result {
///         let (data, socket) = &cx.request;
///         socket.sendto(&strip(data).to_ascii_uppercase(), &cx.client_address)?;
///         Ok(())
///     }
/// }
///
/// export!(MyUDPHandler as BaseRequestHandler<Datagram>);
/// # fn main() {}
/// ```
///
/// For each request a handler is made with [`Default`], and the three methods
/// are called in order. None need be there; as in Python, a handler without
/// them reads nothing and writes nothing.
pub trait BaseRequestHandler<R = Socket>: Default {
    /// Called first. After an error neither `handle` nor `finish` is called.
    fn setup(&mut self, cx: &mut Context<R>) -> Result {
        let _ = cx;
        Ok(())
    }

    /// Does the work.
    fn handle(&mut self, cx: &mut Context<R>) -> Result {
        let _ = cx;
        Ok(())
    }

    /// Cleans up. Called after `handle`, also when that returned an error, but
    /// not after a panic or when a limit ended the request.
    fn finish(&mut self, cx: &mut Context<R>) -> Result {
        let _ = cx;
        Ok(())
    }
}

/// What Python's handlers find on `self`.
#[derive(Debug)]
pub struct Context<R = Socket> {
    /// The connection, or the datagram and its socket. Python's
    /// `self.request`.
    pub request: R,
    /// Where it came from. Python's `self.client_address`.
    pub client_address: Address,
    /// The server that took it. Python's `self.server`.
    pub server: Server,
}

/// A [`BaseRequestHandler`] at work. Only [`export!`](crate::export) names it.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "not for use by hand")]
pub struct Base<H, R> {
    handler: H,
    cx: Context<R>,
}

impl<H: BaseRequestHandler<R>, R> Life for Base<H, R> {
    type Request = R;

    fn new(request: R, client_address: Address) -> Self {
        let cx = Context { request, client_address, server: Server::new() };
        Self { handler: H::default(), cx }
    }

    fn setup(&mut self) -> Result {
        self.handler.setup(&mut self.cx)
    }

    fn handle(&mut self) -> Result {
        self.handler.handle(&mut self.cx)
    }

    fn finish(&mut self) -> Result {
        self.handler.finish(&mut self.cx)
    }
}
