//! The loop: Python's `serve_forever` and `handle_request`.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::accept::{PAUSE, Taken};
use super::drain;
use super::parts::Parts;
use super::poller::Poller;
use crate::error::ServeError;
use crate::listen::listener::Listener;

/// The time between two rounds of housekeeping.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(1);

/// Starts the workers that are missing: takes the server, its listeners and the poll
/// interval.
pub(super) type StartWorkers = fn(&Parts, &Arc<[Listener]>, Duration) -> io::Result<()>;

pub(super) fn serve_forever(
    server: &Parts,
    poll_interval: Duration,
    start_workers: StartWorkers,
) -> Result<(), ServeError> {
    check_threads(server)?;
    let run = server.control.begin_run()?;
    let listeners = server.listeners()?;
    let result = serve_until_shutdown(server, &listeners, poll_interval, start_workers);
    server.dispatcher.end_run();
    server.report_dropped(&listeners);
    drop(listeners);
    if server.control.is_graceful() && result.is_ok() {
        drain::stop_listening(server);
    }
    drop(run);
    result
}

fn serve_until_shutdown(
    server: &Parts,
    listeners: &Arc<[Listener]>,
    poll_interval: Duration,
    start_workers: StartWorkers,
) -> Result<(), ServeError> {
    let mut poller = Poller::new(server, listeners);
    let mut paused_until: Option<Instant> = None;
    let mut last_housekeeping = Instant::now();
    while !server.control.shutdown_requested() {
        let now = Instant::now();
        paused_until = paused_until.filter(|until| *until > now);
        start_workers(server, listeners, poll_interval)?;
        let service_at = now.checked_add(poll_interval);
        let deadlines = [service_at, paused_until, server.dispatcher.next_deadline()];
        poller.wait(paused_until.is_none(), deadlines.into_iter().flatten().min())?;
        // Python's order (bpo-35017): requests that are ready now stay in the backlog.
        if server.control.shutdown_requested() {
            break;
        }
        // First, so that a client that came after the end of a child finds a free permit.
        server.dispatcher.collect_children(&server.app);
        if let Some(listener) = poller.next_ready() {
            match poller.take_request(listener) {
                Taken::Done | Taken::Nothing => {}
                Taken::Exhausted => paused_until = Instant::now().checked_add(PAUSE),
                Taken::Exit(exit) => return Err(ServeError::SystemExit(exit)),
            }
        }
        if now.duration_since(last_housekeeping) > HOUSEKEEPING_INTERVAL {
            last_housekeeping = now;
            server.dispatcher.end_idle_threads();
            server.report_dropped(listeners);
        } else if poller.service_requested() {
            server.report_dropped(listeners);
        }
        server.app.hooks.service_actions();
    }
    Ok(())
}

/// Fails if the server forks and this process has other threads. A fork would fail only
/// at the first request.
fn check_threads(server: &Parts) -> Result<(), ServeError> {
    match server.dispatcher.threads_if_forking().transpose()? {
        None | Some(1) => Ok(()),
        Some(threads) => Err(ServeError::Threads(threads)),
    }
}

pub(super) fn handle_request(server: &Parts) -> Result<(), ServeError> {
    check_threads(server)?;
    if server.dispatcher.has_workers() {
        return Err(ServeError::Workers);
    }
    let handled = wait_and_handle(server);
    if let Ok(listeners) = server.listeners() {
        server.report_dropped(&listeners);
    }
    handled
}

fn wait_and_handle(server: &Parts) -> Result<(), ServeError> {
    let deadline = server.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        server.dispatcher.collect_children(&server.app);
        // The server may have been closed during the wait.
        let listeners = server.listeners()?;
        let mut poller = Poller::new(server, &listeners);
        let deadlines = [deadline, server.dispatcher.next_deadline()];
        poller.wait(true, deadlines.into_iter().flatten().min())?;
        if poller.stop_requested() {
            return Ok(());
        }
        if poller.service_requested() {
            server.app.hooks.service_actions();
        }
        while let Some(listener) = poller.next_ready() {
            match poller.take_request(listener) {
                Taken::Nothing => poller.clear(listener),
                Taken::Done | Taken::Exhausted => return Ok(()),
                Taken::Exit(exit) => return Err(ServeError::SystemExit(exit)),
            }
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            server.app.hooks.handle_timeout();
            return Ok(());
        }
    }
}
