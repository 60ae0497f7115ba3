//! The code that answers each request.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use thiserror::Error;

use crate::address::Address;
use crate::error::HandlerError;
use crate::listen::endpoint::Endpoint;
use crate::request::Request;
use crate::server_info::ServerInfo;

/// The interface between the loop and the code that answers requests: Python's
/// `finish_request`.
///
/// A closure that takes the request, the client's address and the server's
/// facts is a handler; [`RequestHandlerClass`] makes a handler of a
/// [`BaseRequestHandler`].
pub trait RequestHandler: Send + Sync + 'static {
    /// Checks that this handler can answer requests of `endpoint`: some handlers are for
    /// streams or for datagrams only.
    /// [`ServerBuilder::build`](crate::ServerBuilder::build) calls it.
    ///
    /// # Errors
    ///
    /// The handler cannot. The error is a sentence that says why.
    fn check_endpoint(&self, _endpoint: &Endpoint) -> Result<(), String> {
        Ok(())
    }

    /// Answers one request. The server shuts the request down and closes it
    /// afterwards, and passes an error to
    /// [`handle_error`](crate::Hooks::handle_error); a panic counts as an error.
    ///
    /// # Errors
    ///
    /// The request failed, or [`SystemExit`](crate::SystemExit).
    fn finish_request(
        &self,
        request: &Request,
        client_address: &Address,
        server: &Arc<ServerInfo>,
    ) -> Result<(), HandlerError>;

    /// As [`finish_request`](Self::finish_request), for [`Concurrency::Fibers`]: it uses the async
    /// calls of [`Request`], which let other requests run while they wait. By default it calls
    /// `finish_request`, whose waits block the thread, and all requests in it.
    ///
    /// [`Concurrency::Fibers`]: crate::Concurrency::Fibers
    ///
    /// # Errors
    ///
    /// As for `finish_request`.
    fn finish_request_async<'a>(
        &'a self,
        request: &'a Request,
        client_address: &'a Address,
        server: &'a Arc<ServerInfo>,
    ) -> Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send + 'a>> {
        Box::pin(async { self.finish_request(request, client_address, server) })
    }
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

/// A handler in three steps, as Python's class of that name: the server makes a new
/// value for each request, and calls `setup`, `handle` and `finish`.
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
    /// Prepares the handler; does nothing by default. The server calls it first.
    ///
    /// # Errors
    ///
    /// The request failed. Neither `handle` nor `finish` is called then.
    fn setup(&mut self, _cx: &Context<'_>) -> Result<(), HandlerError> {
        Ok(())
    }

    /// Answers the request; does nothing by default.
    ///
    /// # Errors
    ///
    /// The request failed.
    fn handle(&mut self, _cx: &Context<'_>) -> Result<(), HandlerError> {
        Ok(())
    }

    /// Cleans up; does nothing by default. The server calls it after `handle`, also if
    /// that has returned an error.
    ///
    /// # Errors
    ///
    /// The request failed.
    fn finish(&mut self, _cx: &Context<'_>) -> Result<(), HandlerError> {
        Ok(())
    }
}

/// The three attributes that Python sets on a handler.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The request socket.
    pub request: &'a Request,
    /// The address of the client.
    pub client_address: &'a Address,
    /// Facts about the server.
    pub server: &'a ServerInfo,
}

/// The [`RequestHandler`] of a [`BaseRequestHandler`], as the class that is passed to a
/// server in Python.
#[derive(Debug)]
pub struct RequestHandlerClass<H>(PhantomData<fn() -> H>);

impl<H> RequestHandlerClass<H> {
    /// Returns the handler of the type `H`.
    pub fn new() -> Self {
        RequestHandlerClass(PhantomData)
    }
}

impl<H> Default for RequestHandlerClass<H> {
    fn default() -> Self {
        Self::new()
    }
}

/// The error of a `finish` that failed after `handle` had failed: Python's exception
/// with a `__context__`.
#[derive(Debug, Error)]
#[error("{finish:#}; before that, handle: {handle:#}")]
struct BothFailed {
    handle: HandlerError,
    finish: HandlerError,
}

/// Returns the result of a request from those of `handle` and `finish`. If both failed,
/// the error has the reason of `finish`, the later one, and describes both.
///
/// # Errors
///
/// `handle` or `finish` failed.
pub fn combine_results(
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
        combine_results(handle, handler.finish(&cx))
    }
}
