//! One request on its way through the server.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread;

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
        let finish = async { app.handler.finish_request(request, client_address, server) };
        let run = async { Ok::<_, io::Error>(self.run_with(finish).await) };
        block_on(run).unwrap_or(RequestEnd::Failed)
    }

    /// As [`run`](Self::run), in a task whose waits suspend.
    pub(super) async fn run_async(&self) -> RequestEnd {
        let Job { app, request, client_address, server } = self;
        self.run_with(app.handler.finish_request_async(request, client_address, server)).await
    }

    async fn run_with(
        &self,
        finish: impl Future<Output = Result<(), HandlerError>> + Send,
    ) -> RequestEnd {
        // A future that moves into another is there twice, in each request that waits.
        let handle = pin!(async {
            let handshake = self.request.handshake().await;
            handshake.map_err(|error| HandlerError::new(Reason::Handshake, error))?;
            finish.await
        });
        let failed = match catch_panics(handle).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(panic) => {
                let message = panic_message(&*panic).to_owned();
                forget(panic);
                Some(HandlerError::new(Reason::Panic, message))
            }
        };
        let Some(error) = failed else {
            self.end(None).await;
            return RequestEnd::Done;
        };
        if let Some(exit) = error.system_exit() {
            self.end(None).await;
            return RequestEnd::Exit(exit);
        }
        self.handle_error(&error);
        self.end(Some(&error)).await;
        RequestEnd::Failed
    }

    /// Reports that the request failed, and shuts it down.
    pub(crate) fn fail(&self, error: &HandlerError) {
        self.handle_error(error);
        // It has no error of its own.
        let _ = block_on(async {
            self.end(Some(error)).await;
            io::Result::Ok(())
        });
    }

    fn handle_error(&self, error: &HandlerError) {
        // A hook that panics must not end the thread, which would keep its permit.
        catch_panic(|| self.app.hooks.handle_error(&self.request, &self.client_address, error));
    }

    /// Reports that the request is over, and shuts it down.
    async fn end(&self, error: Option<&HandlerError>) {
        let Job { app, request, client_address, .. } = self;
        catch_panic(|| app.hooks.request_finished(request, client_address, error));
        request.shutdown_request_async(error.is_some()).await;
    }
}

/// Runs `task`, and returns the value with which it panicked.
async fn catch_panics<T>(task: impl Future<Output = T>) -> thread::Result<T> {
    let mut task = pin!(task);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(cx))) {
        Ok(Poll::Ready(result)) => Poll::Ready(Ok(result)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
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
