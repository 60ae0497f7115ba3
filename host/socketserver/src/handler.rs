//! What runs for each request.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::address::{Address, AddressFamily, SocketType};
use crate::endpoint::Endpoint;
use crate::error::HandlerError;
use crate::request::Request;

/// The narrow waist between the loop and whatever answers requests: Python's
/// `finish_request`.
///
/// A closure that takes the request, the client's address and the server's
/// facts is one; [`RequestHandlerClass`] makes one of a [`BaseRequestHandler`].
pub trait RequestHandler: Send + Sync + 'static {
    /// Whether this handler can answer what comes to `endpoint`: some are for
    /// streams or for datagrams only. Asked when the server is made.
    ///
    /// Errors: a sentence that says why not.
    fn check_endpoint(&self, _endpoint: &Endpoint) -> Result<(), String> {
        Ok(())
    }

    /// Answers one request. The server shuts the request down and closes it
    /// afterwards, and passes an error to
    /// [`handle_error`](crate::Hooks::handle_error); a panic counts as one.
    fn finish_request(
        &self,
        request: &Request,
        client_address: &Address,
        server: &Arc<ServerInfo>,
    ) -> Result<(), HandlerError>;
}

impl<F, E> RequestHandler for F
where
    F: Fn(&Request, &Address, &Arc<ServerInfo>) -> Result<(), E> + Send + Sync + 'static,
    E: Into<HandlerError>,
{
    fn finish_request(
        &self,
        request: &Request,
        client_address: &Address,
        server: &Arc<ServerInfo>,
    ) -> Result<(), HandlerError> {
        self(request, client_address, server).map_err(Into::into)
    }
}

/// What a handler may know of its server: the attributes that Python's
/// handlers read from `self.server`.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerInfo {
    /// The address of the listening socket that took the request, with its
    /// real port.
    pub server_address: Address,
    /// The family of that socket.
    pub address_family: AddressFamily,
    /// The type of that socket.
    pub socket_type: SocketType,
    /// The backlog that was asked for.
    pub request_queue_size: u32,
    /// The longest datagram that is taken whole, in bytes; `None` for streams.
    pub max_packet_size: Option<usize>,
    /// How long `handle_request` waits; it does not touch the request socket.
    pub timeout: Option<Duration>,
}

/// A handler in three steps, as Python's class of that name: a new value for
/// each request, then `setup`, `handle` and `finish`.
///
/// ```
/// use socketserver::{BaseRequestHandler, Context, HandlerError};
///
/// #[derive(Default)]
/// struct MyTCPHandler;
///
/// impl BaseRequestHandler for MyTCPHandler {
///     fn handle(&mut self, cx: &Context<'_>) -> Result<(), HandlerError> {
///         let data = cx.request.recv(1024)?;
///         cx.request.sendall(&data.to_ascii_uppercase())?;
///         Ok(())
///     }
/// }
/// ```
pub trait BaseRequestHandler: Default {
    /// Called first. After an error neither `handle` nor `finish` is called.
    fn setup(&mut self, _cx: &Context<'_>) -> Result<(), HandlerError> {
        Ok(())
    }

    /// Does the work; does nothing unless overridden.
    fn handle(&mut self, _cx: &Context<'_>) -> Result<(), HandlerError> {
        Ok(())
    }

    /// Called after `handle`, also when that returned an error.
    fn finish(&mut self, _cx: &Context<'_>) -> Result<(), HandlerError> {
        Ok(())
    }
}

/// The three attributes that Python sets on a handler.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The request socket.
    pub request: &'a Request,
    /// Where the request comes from.
    pub client_address: &'a Address,
    /// Facts about the server.
    pub server: &'a ServerInfo,
}

/// Makes a [`RequestHandler`] of a [`BaseRequestHandler`], as passing the
/// class itself to a server does in Python.
#[derive(Debug)]
pub struct RequestHandlerClass<H>(PhantomData<fn() -> H>);

impl<H> RequestHandlerClass<H> {
    /// Takes the type; needs no value.
    pub fn new() -> Self {
        RequestHandlerClass(PhantomData)
    }
}

impl<H> Default for RequestHandlerClass<H> {
    fn default() -> Self {
        Self::new()
    }
}

/// `finish` failed after `handle` had: Python's exception with a
/// `__context__`.
#[derive(Debug, Error)]
#[error("{finish:#}; before that, handle: {handle:#}")]
struct BothFailed {
    handle: HandlerError,
    finish: HandlerError,
}

/// What becomes of the results of `handle` and of `finish`, which has run
/// whatever `handle` returned: there is one error at most, the last.
pub fn outcome(
    handle: Result<(), HandlerError>,
    finish: Result<(), HandlerError>,
) -> Result<(), HandlerError> {
    match (handle, finish) {
        (Err(handle), Err(finish)) if finish.system_exit().is_none() => {
            Err(HandlerError::new(finish.reason(), BothFailed { handle, finish }))
        }
        (Err(_), Err(exit)) => Err(exit),
        (handle, finish) => handle.and(finish),
    }
}

impl<H: BaseRequestHandler + 'static> RequestHandler for RequestHandlerClass<H> {
    fn finish_request(
        &self,
        request: &Request,
        client_address: &Address,
        server: &Arc<ServerInfo>,
    ) -> Result<(), HandlerError> {
        let cx = Context { request, client_address, server };
        let mut handler = H::default();
        handler.setup(&cx)?;
        let handle = handler.handle(&cx);
        outcome(handle, handler.finish(&cx))
    }
}
