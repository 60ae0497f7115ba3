//! The graceful end of a server: it takes and serves the clients that wait in the
//! backlog, and refuses later ones.

use std::collections::VecDeque;
use std::mem;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Resource, getrlimit};

use crate::address::{AddressFamily, SocketType};
use crate::arrivals::QueueLimits;
use crate::concurrency::Job;
use crate::serve::{PAUSE, Taken, begin, take_request};
use crate::server::Server;
use crate::socket::Listener;
use crate::wait::poll_until;

/// Returns the most connections that may be taken at the end: as many as half of the
/// descriptors that [`Capacity`](crate::Capacity) keeps in reserve.
pub(crate) fn most_connections() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| usize::try_from(limit / 8).unwrap_or(usize::MAX))
}

/// Takes the clients that wait, and closes the listening sockets.
///
/// The sockets stay open while other processes have them, or the loop, which may be
/// busy with a request. They refuse clients all the same.
pub(crate) fn stop_listening(server: &Server) {
    // Locked until the list is complete: it must not be taken for empty.
    let mut waiting = server.waiting();
    let Some(listeners) = server.take_listeners() else { return };
    server.control.request_shutdown();
    let mut room = server.control.graceful().unwrap_or_else(most_connections);
    let mut queues = Vec::with_capacity(listeners.len());
    for (place, listener) in listeners.iter().enumerate() {
        let info = listener.info();
        if info.address_family == AddressFamily::Unix {
            // What is in its queue can still be taken.
            listener.refuse();
        }
        if server.dispatcher.has_workers() {
            // The workers take what there is.
            continue;
        }
        let queue = drain(server, &listeners, place, room);
        if info.socket_type == SocketType::Stream {
            // A connection that was made since the last one was taken is reset.
            listener.refuse();
            room = room.saturating_sub(queue.len());
        }
        queues.push(queue);
    }
    // Each socket has its turn.
    while queues.iter().any(|queue| !queue.is_empty()) {
        waiting.extend(queues.iter_mut().filter_map(VecDeque::pop_front));
    }
}

/// Takes the clients in the queue of a listener: `room` connections at the most, and
/// no more than there can have been when this began.
fn drain(server: &Server, listeners: &[Listener], place: usize, room: usize) -> VecDeque<Job> {
    let limits = QueueLimits::of(&listeners[place]);
    let streams = listeners[place].info().socket_type == SocketType::Stream;
    let most = if streams { limits.entries.min(room) } else { limits.entries };
    let mut bytes = limits.bytes;
    let mut queue = VecDeque::new();
    for _ in 0..most {
        let taken = take_request(server, listeners, place, |job| {
            bytes = bytes.saturating_sub(QueueLimits::cost(job.request.data().len()));
            queue.push_back(job);
            Taken::Done
        });
        if taken != Taken::Done || bytes == 0 {
            break;
        }
    }
    queue
}

/// Serves the clients that were taken, as places become free, until the deadline.
/// Returns how many of them are left.
pub(crate) fn serve_waiting(server: &Server, deadline: Option<Instant>) -> usize {
    let waiting = mem::take(&mut *server.waiting());
    // A server that runs requests in the serving thread must not run two at a time.
    if waiting.is_empty() || !server.control.wait_for_end(deadline) {
        return put_back(server, waiting);
    }
    serve(server, waiting, deadline)
}

fn serve(server: &Server, mut waiting: VecDeque<Job>, deadline: Option<Instant>) -> usize {
    let is_over = || deadline.is_some_and(|deadline| deadline <= Instant::now());
    let mut paused_until: Option<Instant> = None;
    loop {
        server.dispatcher.collect(&server.core);
        paused_until = paused_until.filter(|until| *until > Instant::now());
        while paused_until.is_none() && !is_over() && server.dispatcher.has_room() {
            let Some(job) = waiting.pop_front() else { return 0 };
            match begin(server, &[], &waiting, job) {
                Taken::Done | Taken::Nothing => {}
                Taken::Exhausted => paused_until = Instant::now().checked_add(PAUSE),
                // The handler asked for the end of the process, which is near anyway.
                Taken::Exit(_) => return 0,
            }
        }
        server.core.hooks.service_actions();
        if waiting.is_empty() || is_over() {
            return put_back(server, waiting);
        }
        let until = [deadline, paused_until, server.dispatcher.due()].into_iter().flatten().min();
        let fds = [Some(server.control.wake_fd()), server.dispatcher.ended()];
        let fds = fds.into_iter().flatten();
        let mut fds: Vec<_> = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        // If it fails, the round after it tells.
        let _ = poll_until(&mut fds, until);
        server.control.drain();
    }
}

/// Leaves the clients for the next call, and returns how many there are.
fn put_back(server: &Server, waiting: VecDeque<Job>) -> usize {
    let mut place = server.waiting();
    let others = mem::replace(&mut *place, waiting);
    place.extend(others);
    place.len()
}
