//! The code of a worker process: a server on the sockets of its parent.

use std::error::Error;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use super::control::Control;
use super::parts::Parts;
use super::{drain, serve};
use crate::address::SocketType;
use crate::concurrency::WorkerSettings;
use crate::error::HandlerError;
use crate::listen::listener::Listener;
use crate::reason::Reason;
use crate::sys::close_inherited;

/// Starts the workers of `server` that are missing.
pub(super) fn start_workers(
    server: &Parts,
    listeners: &Arc<[Listener]>,
    poll_interval: Duration,
) -> io::Result<()> {
    server.dispatcher.start_workers(&server.app, &|settings| {
        run_worker(server, listeners, poll_interval, settings)
    })
}

/// Serves as a worker of `server` until the lifeline ends, and returns the exit status of
/// the process.
fn run_worker(
    server: &Parts,
    listeners: &Arc<[Listener]>,
    poll_interval: Duration,
    settings: WorkerSettings,
) -> i32 {
    match serve_and_drain(server, listeners, poll_interval, settings) {
        Ok(()) => 0,
        Err(error) => {
            let error = HandlerError::new(Reason::Worker, error);
            server.app.hooks.handle_child_error(None, &error);
            1
        }
    }
}

/// Serves until the lifeline ends, and finishes the requests that are left.
fn serve_and_drain(
    server: &Parts,
    listeners: &Arc<[Listener]>,
    poll_interval: Duration,
    settings: WorkerSettings,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let WorkerSettings { concurrency, lifeline, bell, max_leaders } = settings;
    let control = Control::new(Some(lifeline), None, server.control.max_drained())?;
    let dispatcher = concurrency.dispatcher(&control, None)?;
    let app = Arc::clone(&server.app);
    let own_addresses = Arc::clone(&server.own_addresses);
    let mut worker =
        Parts::new(app, dispatcher, control, server.timeout, Arc::clone(listeners), own_addresses);
    worker.reports_drops = false;
    worker.max_leaders = max_leaders;
    worker.bell = Some(bell);
    worker.tls.clone_from(&server.tls);
    if let Some(pending) = &server.pending {
        worker.pending = Some(pending.for_worker()?);
    }
    let worker = Arc::new(worker);
    serve::serve_forever(&worker, poll_interval, |_, _, _| Ok(()))?;
    // The sockets of datagrams stay open, because requests still reply on them.
    let is_stream = |listener: &&Listener| listener.info().socket_type == SocketType::Stream;
    for listener in listeners.iter().filter(is_stream) {
        close_inherited(listener.as_fd());
    }
    if !worker.control.is_graceful() {
        worker.close_pending();
    }
    drain::serve_waiting(&worker, None);
    worker.dispatcher.close(&worker.app, None);
    Ok(())
}
