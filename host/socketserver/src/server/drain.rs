//! The graceful end of a server: it takes and serves the clients that wait in the
//! backlog, and refuses later ones.

use std::collections::VecDeque;
use std::mem;
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Resource, getrlimit};

use super::accept::{PAUSE, Taken, serve_or_refuse, serve_ready, take_request};
use super::parts::Parts;
use super::pending::PendingConnections;
use crate::address::{AddressFamily, SocketType};
use crate::capacity::descriptors_in_reserve;
use crate::concurrency::{Job, ServerSockets};
use crate::listen::arrivals::QueueLimits;
use crate::listen::listener::Listener;
use crate::poll::poll_until;

/// Returns the largest number of connections that may be taken at the end: half as many
/// as the descriptors that [`Capacity`](crate::Capacity) keeps in reserve.
pub(super) fn max_connections() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    limit.map_or(usize::MAX, |limit| descriptors_in_reserve(limit) / 2)
}

/// Takes the clients that wait, and closes the listening sockets.
///
/// Clients of a shared socket wait for the next server, which serves them sooner. But the kernel
/// wakes one process for a client if several have leaders, and a leader that was woken at the end
/// has stepped down. So one client for each of `leaders` is taken of such a socket, too.
///
/// The sockets stay open while other processes have them, or the loop, which may be
/// busy with a request. They refuse clients all the same.
pub(super) fn stop_listening(server: &Parts, leaders: usize) {
    // Locked until the list is complete, so that it is not found empty before.
    let mut waiting = server.waiting();
    let Some(listeners) = server.take_listeners() else { return };
    server.control.request_shutdown();
    let mut max_connections = server.control.max_drained().unwrap_or_else(max_connections);
    let mut queues = Vec::with_capacity(listeners.len());
    for (index, listener) in listeners.iter().enumerate() {
        let info = listener.info();
        if listener.is_shared() {
            queues.push(take_all(server, &listeners, index, leaders));
            continue;
        }
        if info.address_family == AddressFamily::Unix {
            // Clients in its queue can still be taken.
            listener.refuse();
        }
        if server.dispatcher.has_workers() {
            // The workers take the clients.
            continue;
        }
        let is_stream = info.socket_type == SocketType::Stream;
        let most = if is_stream { max_connections } else { usize::MAX };
        let queue = take_all(server, &listeners, index, most);
        if is_stream {
            // A connection that was made since the last one was taken is reset.
            listener.refuse();
            max_connections = max_connections.saturating_sub(queue.len());
        }
        queues.push(queue);
    }
    // The sockets take turns.
    while queues.iter().any(|queue| !queue.is_empty()) {
        waiting.extend(queues.iter_mut().filter_map(VecDeque::pop_front));
    }
}

/// Takes the clients in the queue of a listener: at most `most`, and at most as many as the queue
/// can have held at the beginning.
fn take_all(server: &Parts, listeners: &[Listener], index: usize, most: usize) -> VecDeque<Job> {
    let limits = QueueLimits::of_listener(&listeners[index]);
    let mut bytes_left = limits.bytes;
    let mut queue = VecDeque::new();
    for _ in 0..limits.entries.min(most) {
        let taken = take_request(server, listeners, index, |job| {
            let cost = QueueLimits::datagram_cost(job.request.data().len());
            bytes_left = bytes_left.saturating_sub(cost);
            queue.push_back(job);
            Taken::Done
        });
        if taken != Taken::Done || bytes_left == 0 {
            break;
        }
    }
    queue
}

/// Serves the clients that were taken, as permits become free, until the deadline.
/// Returns the number of clients that are left.
pub(super) fn serve_waiting(server: &Parts, deadline: Option<Instant>) -> usize {
    let waiting = mem::take(&mut *server.waiting());
    // A server that runs requests in the serving thread must not run two at a time.
    let none_waits = waiting.is_empty() && server.count_pending() == 0;
    if none_waits || !server.control.wait_for_end_of_run(deadline) {
        return put_back(server, waiting);
    }
    serve(server, waiting, deadline)
}

fn serve(server: &Parts, mut waiting: VecDeque<Job>, deadline: Option<Instant>) -> usize {
    let deadline_passed = || deadline.is_some_and(|deadline| deadline <= Instant::now());
    let mut paused_until: Option<Instant> = None;
    loop {
        server.dispatcher.collect_children(&server.app);
        paused_until = paused_until.filter(|until| *until > Instant::now());
        if let Some(pending) = &server.pending {
            pending.advance();
        }
        while paused_until.is_none() && !deadline_passed() && server.dispatcher.has_free_permit() {
            let Some(taken) = serve_next(server, &mut waiting) else { break };
            match taken {
                Taken::Done | Taken::Nothing | Taken::Waits => {}
                Taken::Exhausted => paused_until = Instant::now().checked_add(PAUSE),
                // The handler asked for the end of the process, which is near.
                Taken::Exit(_) => return 0,
            }
        }
        let is_over = waiting.is_empty() && server.count_pending() == 0;
        if !is_over {
            server.app.hooks.service_actions();
        }
        if let Some(pending) = &server.pending {
            pending.report(&*server.app.hooks);
        }
        if is_over || deadline_passed() {
            return put_back(server, waiting);
        }
        let late_at = server.pending.as_ref().and_then(PendingConnections::next_deadline);
        let deadlines = [deadline, paused_until, server.dispatcher.next_deadline(), late_at];
        let pending_fd = server.pending.as_ref().map(AsFd::as_fd);
        let fds = [Some(server.control.wake_fd()), server.dispatcher.children_fd(), pending_fd];
        let fds = fds.into_iter().flatten();
        let mut fds: Vec<_> = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        // If it fails, the next round finds out what has happened.
        let _ = poll_until(&mut fds, deadlines.into_iter().flatten().min());
        server.control.clear_wake();
    }
}

/// Serves the next connection that has waited in the loop, or the next one that was taken.
fn serve_next(server: &Parts, waiting: &mut VecDeque<Job>) -> Option<Taken> {
    let pending = server.pending.as_ref();
    let sockets = ServerSockets { listeners: &[], waiting, pending };
    if let Some(taken) = serve_ready(server, sockets) {
        return Some(taken);
    }
    let job = if server.has_place() { waiting.pop_front()? } else { return None };
    let sockets = ServerSockets { listeners: &[], waiting, pending };
    Some(serve_or_refuse(server, sockets, job))
}

/// Leaves the clients for the next call, and returns their number.
fn put_back(server: &Parts, waiting: VecDeque<Job>) -> usize {
    let mut list = server.waiting();
    let later = mem::replace(&mut *list, waiting);
    list.extend(later);
    list.len() + server.count_pending()
}
