//! The code of a worker process: a server with threads on the sockets of its parent.

use std::error::Error;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use super::control::Control;
use super::{Server, drain, serve};
use crate::address::SocketType;
use crate::concurrency::{Concurrency, Threading};
use crate::error::HandlerError;
use crate::listen::listener::Listener;
use crate::reason::Reason;
use crate::sys::close_inherited;

/// Serves as a worker of `server` until the lifeline ends, and returns the exit status of
/// the process.
pub(super) fn run_worker(
    server: &Server,
    listeners: &Arc<[Listener]>,
    poll_interval: Duration,
    threading: &Threading,
    lifeline: Arc<OwnedFd>,
) -> i32 {
    match serve_and_drain(server, listeners, poll_interval, threading, lifeline) {
        Ok(()) => 0,
        Err(error) => {
            let error = HandlerError::new(Reason::Worker, error);
            server.app.hooks.handle_child_error(None, &error);
            1
        }
    }
}

/// Serves in threads until the lifeline ends, and finishes the requests that are left.
fn serve_and_drain(
    server: &Server,
    listeners: &Arc<[Listener]>,
    poll_interval: Duration,
    threading: &Threading,
    lifeline: Arc<OwnedFd>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let control = Control::new(Some(lifeline), None, server.control.max_drained())?;
    // The parent need not wait for its workers, but requests that this process leaves
    // are lost.
    let threading = Threading { block_on_close: true, ..threading.clone() };
    let dispatcher = Concurrency::Threading(threading).dispatcher(&control, None)?;
    let app = Arc::clone(&server.app);
    let own_addresses = Arc::clone(&server.own_addresses);
    let mut worker =
        Server::new(app, dispatcher, control, server.timeout, Arc::clone(listeners), own_addresses);
    worker.reports_drops = false;
    // Its drop would close the sockets that are closed here already.
    let worker = ManuallyDrop::new(worker);
    serve::serve_forever(&worker, poll_interval)?;
    // The sockets of datagrams stay open, because requests still reply on them.
    let is_stream = |listener: &&Listener| listener.info().socket_type == SocketType::Stream;
    for listener in listeners.iter().filter(is_stream) {
        close_inherited(listener.as_fd());
    }
    drain::serve_waiting(&worker, None);
    worker.dispatcher.close(&worker.app, None);
    Ok(())
}
