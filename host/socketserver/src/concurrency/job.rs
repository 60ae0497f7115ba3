//! One request on its way through the server.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::address::Address;
use crate::error::{HandlerError, SystemExit};
use crate::handler::RequestHandler;
use crate::hooks::Hooks;
use crate::reason::Reason;
use crate::request::Request;
use crate::request::wait::block_on;
use crate::server_info::ServerInfo;

/// The code of the program that uses this crate.
pub(crate) struct Application {
    pub handler: Box<dyn RequestHandler>,
    pub hooks: Box<dyn Hooks>,
}

/// One request, from its acceptance on.
pub(crate) struct Job {
    pub app: Arc<Application>,
    pub request: Request,
    pub client_address: Address,
    pub server: Arc<ServerInfo>,
}

/// The end of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestEnd {
    Done,
    /// The request failed, and its error was reported.
    Failed,
    /// The handler asked for the end of its thread or process, which is not an error.
    Exit(SystemExit),
}

/// Calls code of the program that uses this crate. Returns `None` if it panicked.
pub(super) fn catch_panic<R>(code: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(code)).map_err(forget).ok()
}

impl Job {
    /// Reports that the request begins.
    pub(crate) fn begin(&self) {
        self.app.hooks.request_begins(&self.request, &self.client_address);
    }

    /// Finishes the request, reports a failure and shuts the request down: Python's
    /// `process_request` and, in a thread, `process_request_thread`.
    pub(super) fn run(&self) -> RequestEnd {
        let Job { app, request, client_address, server } = self;
        let finished = catch_unwind(AssertUnwindSafe(|| {
            let handshake = block_on(request.handshake());
            handshake.map_err(|error| HandlerError::new(Reason::Handshake, error))?;
            app.handler.finish_request(request, client_address, server)
        }));
        let failed = match finished {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(panic) => {
                let message = panic_message(&*panic).to_owned();
                forget(panic);
                Some(HandlerError::new(Reason::Panic, message))
            }
        };
        let Some(error) = failed else {
            self.end(None);
            return RequestEnd::Done;
        };
        if let Some(exit) = error.system_exit() {
            self.end(None);
            return RequestEnd::Exit(exit);
        }
        self.fail(&error);
        RequestEnd::Failed
    }

    /// Reports that the request failed, and shuts it down.
    pub(crate) fn fail(&self, error: &HandlerError) {
        // A hook that panics must not end the thread, which would keep its permit.
        catch_panic(|| self.app.hooks.handle_error(&self.request, &self.client_address, error));
        self.end(Some(error));
    }

    /// Reports that the request is over, and shuts it down.
    fn end(&self, error: Option<&HandlerError>) {
        let Job { app, request, client_address, .. } = self;
        catch_panic(|| app.hooks.request_finished(request, client_address, error));
        request.shutdown_request(error.is_some());
    }
}

/// Leaks the value of a panic: dropping it may panic again.
fn forget(panic: Box<dyn Any + Send>) {
    std::mem::forget(panic);
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic with no message")
}
