//! The loop: Python's `serve_forever` and `handle_request`.

use std::io;
use std::iter;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use crate::concurrency::Job;
use crate::error::ServeError;
use crate::server::Server;
use crate::socket::Listener;
use crate::wait::poll_until;

/// How long the loop leaves its sockets alone when the process is out of
/// descriptors, memory or threads. CPython tries again at once, for ever.
const PAUSE: Duration = Duration::from_millis(100);

/// How often the loop ends threads that nobody needs.
const TIDY: Duration = Duration::from_secs(1);

/// What came of trying to take a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// It is served, refused or lost.
    Done,
    /// There was none after all.
    Nothing,
    /// The process is out of something: try again after a pause.
    Exhausted,
}

pub(crate) fn serve_forever(server: &Server, poll_interval: Duration) -> Result<(), ServeError> {
    let running = server.control.enter()?;
    let listeners = server.listeners()?;
    let mut poller = Poller::new(server, &listeners);
    let mut paused_until: Option<Instant> = None;
    let mut tidied = Instant::now();
    while !server.control.shutdown_requested() {
        let now = Instant::now();
        paused_until = paused_until.filter(|until| *until > now);
        let look_up = now.checked_add(poll_interval);
        let deadline = match (look_up, paused_until) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        poller.wait(paused_until.is_none(), deadline)?;
        // Python's order (bpo-35017): what is ready now stays in the backlog.
        if server.control.shutdown_requested() {
            break;
        }
        if let Some(place) = poller.next_ready()
            && poller.take(place) == Taken::Exhausted
        {
            paused_until = Instant::now().checked_add(PAUSE);
        }
        if now.duration_since(tidied) > TIDY {
            tidied = now;
            server.dispatcher.tidy();
        }
        server.core.hooks.service_actions();
    }
    drop(poller);
    drop(listeners);
    drop(running);
    Ok(())
}

pub(crate) fn handle_request(server: &Server) -> Result<(), ServeError> {
    let deadline = server.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        // The server may have been closed while this waited.
        let listeners = server.listeners()?;
        let mut poller = Poller::new(server, &listeners);
        poller.wait(true, deadline)?;
        while let Some(place) = poller.next_ready() {
            match poller.take(place) {
                Taken::Nothing => poller.clear(place),
                Taken::Done | Taken::Exhausted => return Ok(()),
            }
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            server.core.hooks.handle_timeout();
            return Ok(());
        }
    }
}

/// Waits for requests on the listening sockets of a server, and for somebody
/// to wake its loop.
struct Poller<'a> {
    server: &'a Server,
    listeners: &'a [Listener],
    /// What wakes the loop, then the listeners.
    fds: Vec<PollFd<'a>>,
    /// Whose turn is next. Where there is room for one request only, each
    /// socket has its turn.
    turn: usize,
}

impl<'a> Poller<'a> {
    fn new(server: &'a Server, listeners: &'a [Listener]) -> Self {
        let wake = PollFd::from_borrowed_fd(server.control.wake_fd(), PollFlags::IN);
        let listening = listeners.iter().map(|listener| PollFd::new(listener, PollFlags::IN));
        Poller { server, listeners, fds: iter::once(wake).chain(listening).collect(), turn: 0 }
    }

    /// Waits until a listener has a request, somebody wakes the loop, or the
    /// deadline passes. The listeners are left alone while there is no room
    /// for another request, or if `takes_requests` is false.
    fn wait(&mut self, takes_requests: bool, deadline: Option<Instant>) -> io::Result<()> {
        for fd in &mut self.fds {
            fd.clear_revents();
        }
        let listens = takes_requests && self.server.dispatcher.has_room();
        let fds = if listens { &mut self.fds[..] } else { &mut self.fds[..1] };
        poll_until(fds, deadline)?;
        if !self.fds[0].revents().is_empty() {
            self.server.control.drain();
        }
        Ok(())
    }

    /// The place of a listener that may have a request, if there is room for
    /// one. The one after the last that had its turn comes first.
    fn next_ready(&self) -> Option<usize> {
        let count = self.listeners.len();
        let mut places = (0..count).map(|step| (self.turn + step) % count);
        let ready = places.find(|place| !self.fds[place + 1].revents().is_empty())?;
        self.server.dispatcher.has_room().then_some(ready)
    }

    /// Takes a request from that listener.
    fn take(&mut self, place: usize) -> Taken {
        self.turn = place + 1;
        take_request(self.server, &self.listeners[place])
    }

    /// That listener has no request after all.
    fn clear(&mut self, place: usize) {
        self.fds[place + 1].clear_revents();
    }
}

/// Python's `_handle_request_noblock`.
fn take_request(server: &Server, listener: &Listener) -> Taken {
    let (request, client_address) = match listener.get_request() {
        Ok(taken) => taken,
        Err(error) => return accept_failed(server, listener, &error),
    };
    if !server.core.hooks.verify_request(&request, &client_address) {
        request.shutdown_request();
        return Taken::Done;
    }
    let job = Job {
        core: Arc::clone(&server.core),
        request,
        client_address,
        server: Arc::clone(listener.info()),
    };
    if server.dispatcher.process_request(job) { Taken::Done } else { Taken::Exhausted }
}

fn accept_failed(server: &Server, listener: &Listener, error: &io::Error) -> Taken {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    match errno {
        Some(Errno::AGAIN | Errno::INTR) => return Taken::Nothing,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
            server.report_accept_error(listener, error);
            return Taken::Exhausted;
        }
        _ => {}
    }
    server.report_accept_error(listener, error);
    Taken::Done
}
