//! Taking a request from a listening socket, and giving it to the dispatcher.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::parts::Parts;
use super::pending::Ready;
use crate::address::SocketType;
use crate::concurrency::{Dispatched, Job, ServerSockets};
use crate::error::SystemExit;
use crate::hooks::DropReason;
use crate::listen::listener::Listener;

/// The pause in which the loop takes no request after the process ran out of
/// descriptors, memory or threads. CPython tries again at once, without end.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// The result of an attempt to take a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// The request is served, refused or lost.
    Done,
    /// There was no request.
    Nothing,
    /// The connection waits in the loop, or was refused where it would have waited.
    Waits,
    /// The process has run out of a resource: try again after a pause.
    Exhausted,
    /// The handler asked for the end of the process.
    Exit(SystemExit),
}

/// Takes a request from the listener with this index and passes it to `begin`. Python's
/// `_handle_request_noblock`.
pub(super) fn take_request(
    server: &Parts,
    listeners: &[Listener],
    index: usize,
    begin: impl FnOnce(Job) -> Taken,
) -> Taken {
    let listener = &listeners[index];
    let (request, client_address) = match listener.get_request() {
        Ok(taken) => taken,
        Err(error) => return accept_failed(server, listener, &error),
    };
    let is_datagram = request.socket_type() == SocketType::Dgram;
    if is_datagram && server.own_addresses.contain(&client_address, request.destination()) {
        let (endpoint, reason) = (listener.endpoint(), DropReason::OwnAddress);
        server.app.hooks.handle_dropped(endpoint, 1, reason);
        return Taken::Done;
    }
    let mut job = Job {
        app: Arc::clone(&server.app),
        request,
        client_address,
        server: Arc::clone(listener.info()),
    };
    // The handshake is up to the thread or process of the request. No request is served without
    // it where there must be one.
    let tls = server.tls.as_ref().filter(|_| listener.endpoint().has_tls());
    if tls.is_some_and(|tls| !job.request.set_tls(tls.clone())) {
        return Taken::Done;
    }
    job.request.set_earliest_arrival(server.arrivals.record_taken(index));
    begin(job)
}

/// Serves a request that was taken, or refuses it. If its proxy has not named its client yet, or
/// its first byte has not come, the request waits for that.
pub(super) fn serve_or_refuse(server: &Parts, sockets: ServerSockets<'_>, job: Job) -> Taken {
    let named = match &server.pending {
        Some(pending) => pending.name_client(job),
        None => Some(job),
    };
    named.map_or(Taken::Waits, |job| verify_and_serve(server, sockets, job))
}

/// Serves the next connection that has waited in the loop, if there is one and a permit for it.
pub(super) fn serve_ready(server: &Parts, sockets: ServerSockets<'_>) -> Option<Taken> {
    if !server.has_ready_connection() {
        return None;
    }
    Some(match server.pending.as_ref()?.next_ready()? {
        Ready::Named(job) => verify_and_serve(server, sockets, job),
        Ready::Spoken(job) => serve(server, sockets, job),
    })
}

fn verify_and_serve(server: &Parts, sockets: ServerSockets<'_>, job: Job) -> Taken {
    if !server.app.hooks.verify_request(&job.request, &job.client_address) {
        job.request.shutdown_request(true);
        return Taken::Done;
    }
    let spoken = match &server.pending {
        Some(pending) => pending.first_byte(job),
        None => Some(job),
    };
    spoken.map_or(Taken::Waits, |job| serve(server, sockets, job))
}

fn serve(server: &Parts, sockets: ServerSockets<'_>, job: Job) -> Taken {
    job.begin();
    match server.dispatcher.process_request(job, sockets) {
        Dispatched::Done => Taken::Done,
        Dispatched::Exhausted => Taken::Exhausted,
        Dispatched::Exit(exit) => Taken::Exit(exit),
    }
}

fn accept_failed(server: &Parts, listener: &Listener, error: &io::Error) -> Taken {
    let exhausted = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::AGAIN | Errno::INTR) => return Taken::Nothing,
        // Another process of this server has stopped listening, and so will this one.
        Some(Errno::INVAL) if server.control.is_graceful() => return Taken::Exhausted,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => true,
        _ => false,
    };
    server.app.hooks.handle_accept_error(listener.endpoint(), error);
    if exhausted { Taken::Exhausted } else { Taken::Done }
}
