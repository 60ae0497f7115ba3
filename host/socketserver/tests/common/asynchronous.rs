//! A handler that only runs as a task.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use socketserver::{Address, HandlerError, Reason, Request, RequestHandler, ServerInfo};

/// The future of a request.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send + 'a>>;

/// A handler that only runs as a task.
pub struct Asynchronous<F>(pub F);

impl<F> RequestHandler for Asynchronous<F>
where
    F: for<'a> Fn(&'a Request, &'a Address) -> Answer<'a> + Send + Sync + 'static,
{
    fn finish_request(
        &self,
        _: &Request,
        _: &Address,
        _: &Arc<ServerInfo>,
    ) -> Result<(), HandlerError> {
        Err(HandlerError::new(Reason::Error, "this handler runs as a task"))
    }

    fn finish_request_async<'a>(
        &'a self,
        request: &'a Request,
        client_address: &'a Address,
        _: &'a Arc<ServerInfo>,
    ) -> Answer<'a> {
        (self.0)(request, client_address)
    }
}
