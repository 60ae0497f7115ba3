//! The loop: Python's `serve_forever` and `handle_request`.

use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use crate::address::SocketType;
use crate::concurrency::{Concurrency, Dispatched, Dispatcher, Job, Threading};
use crate::control::Control;
use crate::drain;
use crate::error::{HandlerError, ServeError, SystemExit};
use crate::hooks::DropReason;
use crate::reason::Reason;
use crate::server::Server;
use crate::socket::Listener;
use crate::sys::close_inherited;
use crate::wait::{Waited, poll_until};

/// How long the loop leaves its sockets alone when the process is out of
/// descriptors, memory or threads. CPython tries again at once, for ever.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// How often the loop ends threads that nobody needs.
const TIDY: Duration = Duration::from_secs(1);

/// What came of trying to take a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is served, refused or lost.
    Done,
    /// There was none after all.
    Nothing,
    /// The process is out of something: try again after a pause.
    Exhausted,
    /// Its handler asked for the end of the process.
    Exit(SystemExit),
}

pub(crate) fn serve_forever(server: &Server, poll_interval: Duration) -> Result<(), ServeError> {
    check_threads(server)?;
    let running = server.control.enter()?;
    let listeners = server.listeners()?;
    let mut poller = Poller::new(server, &listeners);
    let work = |threading: &Threading, lifeline: Arc<OwnedFd>| {
        let done = serve_as_worker(server, &listeners, poll_interval, threading, lifeline);
        let failed = done.is_err();
        if let Err(error) = done {
            let error = HandlerError::new(Reason::Worker, error);
            server.core.hooks.handle_child_error(None, &error);
        }
        i32::from(failed)
    };
    let mut result = Ok(());
    let mut paused_until: Option<Instant> = None;
    let mut tidied = Instant::now();
    while !server.control.shutdown_requested() {
        let now = Instant::now();
        paused_until = paused_until.filter(|until| *until > now);
        server.dispatcher.start_workers(&server.core, &work)?;
        let look_up = now.checked_add(poll_interval);
        let deadline = [look_up, paused_until, server.dispatcher.due()];
        poller.wait(paused_until.is_none(), deadline.into_iter().flatten().min())?;
        // Python's order (bpo-35017): what is ready now stays in the backlog.
        if server.control.shutdown_requested() {
            break;
        }
        // First, so that who came after a child had ended finds its place free.
        server.dispatcher.collect(&server.core);
        match poller.next_ready().map(|place| poller.take(place)) {
            None | Some(Taken::Done | Taken::Nothing) => {}
            Some(Taken::Exhausted) => paused_until = Instant::now().checked_add(PAUSE),
            Some(Taken::Exit(exit)) => {
                result = Err(ServeError::SystemExit(exit));
                break;
            }
        }
        if now.duration_since(tidied) > TIDY {
            tidied = now;
            server.dispatcher.tidy();
            server.report_dropped(&listeners);
        } else if poller.called() {
            server.report_dropped(&listeners);
        }
        server.core.hooks.service_actions();
    }
    server.dispatcher.end_run();
    drop(poller);
    server.report_dropped(&listeners);
    drop(listeners);
    if server.control.graceful().is_some() && result.is_ok() {
        server.stop_listening();
    }
    drop(running);
    result
}

/// A server that forks does so for each request, so it had better say at once
/// that it cannot.
fn check_threads(server: &Server) -> Result<(), ServeError> {
    match server.dispatcher.threads_if_forking().transpose()? {
        None | Some(1) => Ok(()),
        Some(threads) => Err(ServeError::Threads(threads)),
    }
}

/// What a worker process does: serves in threads until its lifeline ends, and
/// finishes what it has.
fn serve_as_worker(
    server: &Server,
    listeners: &Arc<[Listener]>,
    poll_interval: Duration,
    threading: &Threading,
    lifeline: Arc<OwnedFd>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let control = Control::new(Some(lifeline), None, server.control.graceful())?;
    // The parent may not want to wait, but what this process leaves is lost.
    let threading = Threading { block_on_close: true, ..threading.clone() };
    let dispatcher = Dispatcher::new(&Concurrency::Threading(threading), &control)?;
    let core = Arc::clone(&server.core);
    let own = Arc::clone(&server.own_addresses);
    let mut worker =
        Server::new(core, dispatcher, control, server.timeout, Arc::clone(listeners), own);
    worker.tells_of_drops = false;
    // Dropping it would close what is closed here already.
    let worker = ManuallyDrop::new(worker);
    serve_forever(&worker, poll_interval)?;
    // The sockets of datagrams are left to those who still reply on them.
    let streams = |listener: &&Listener| listener.info().socket_type == SocketType::Stream;
    for listener in listeners.iter().filter(streams) {
        close_inherited(listener.as_fd());
    }
    drain::serve_waiting(&worker, None);
    worker.dispatcher.close(&worker.core, None);
    Ok(())
}

pub(crate) fn handle_request(server: &Server) -> Result<(), ServeError> {
    check_threads(server)?;
    if server.dispatcher.has_workers() {
        return Err(ServeError::Workers);
    }
    let handled = handle_one(server);
    if let Ok(listeners) = server.listeners() {
        server.report_dropped(&listeners);
    }
    handled
}

fn handle_one(server: &Server) -> Result<(), ServeError> {
    let deadline = server.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        server.dispatcher.collect(&server.core);
        // The server may have been closed while this waited.
        let listeners = server.listeners()?;
        let mut poller = Poller::new(server, &listeners);
        let until = [deadline, server.dispatcher.due()].into_iter().flatten().min();
        poller.wait(true, until)?;
        if poller.stopped() {
            return Ok(());
        }
        if poller.called() {
            server.core.hooks.service_actions();
        }
        while let Some(place) = poller.next_ready() {
            match poller.take(place) {
                Taken::Nothing => poller.clear(place),
                Taken::Done | Taken::Exhausted => return Ok(()),
                Taken::Exit(exit) => return Err(ServeError::SystemExit(exit)),
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
    /// What wakes the loop and what ends it, what calls for service as the last of
    /// these, then the listeners.
    fds: Vec<PollFd<'a>>,
    /// Where the listeners begin.
    first: usize,
    /// Whose turn is next. Where there is room for one request only, each
    /// socket has its turn.
    turn: usize,
}

impl<'a> Poller<'a> {
    fn new(server: &'a Server, listeners: &'a [Listener]) -> Self {
        let (control, dispatcher) = (&server.control, &server.dispatcher);
        let attention = control.attention_fd();
        let always = [Some(control.wake_fd()), control.stop_fd(), dispatcher.ended(), attention];
        let always = always.into_iter().flatten();
        let first = always.clone().count();
        let fds = always.chain(listeners.iter().map(AsFd::as_fd));
        let fds = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        Poller { server, listeners, fds, first, turn: 0 }
    }

    /// Waits until a listener has a request, somebody wakes the loop, or the
    /// deadline passes. The listeners are left alone while there is no room
    /// for another request, or if `takes_requests` is false.
    fn wait(&mut self, takes_requests: bool, deadline: Option<Instant>) -> io::Result<()> {
        for fd in &mut self.fds {
            fd.clear_revents();
        }
        let listens = takes_requests && self.server.dispatcher.has_room();
        if listens {
            let now = Instant::now();
            let late = self.server.arrivals.is_late(now);
            if !(late && self.look(Some(now))?) {
                self.look(deadline)?;
            }
        } else {
            poll_until(&mut self.fds[..self.first], deadline)?;
        }
        if !self.fds[0].revents().is_empty() {
            self.server.control.drain();
        }
        if self.stopped() {
            self.server.control.request_shutdown();
        }
        Ok(())
    }

    /// Waits for whatever comes first, and takes note of the listeners. False if the
    /// deadline passed.
    fn look(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        let waited = poll_until(&mut self.fds, deadline)?;
        let listeners = &self.fds[self.first..];
        let is_ready = |place: usize| !listeners[place].revents().is_empty();
        self.server.arrivals.looked(Instant::now(), is_ready);
        Ok(waited == Waited::Ready)
    }

    /// Whether the descriptor that ends the loop has become readable.
    fn stopped(&self) -> bool {
        self.server.control.stop_fd().is_some() && !self.fds[1].revents().is_empty()
    }

    /// Whether the descriptor that calls for `service_actions` has become readable.
    fn called(&self) -> bool {
        let attention = self.server.control.attention_fd();
        attention.is_some() && !self.fds[self.first - 1].revents().is_empty()
    }

    /// The place of a listener that may have a request, if there is room for
    /// one. The one after the last that had its turn comes first.
    fn next_ready(&self) -> Option<usize> {
        let count = self.listeners.len();
        let mut places = (0..count).map(|step| (self.turn + step) % count);
        let ready = places.find(|place| !self.fds[self.first + place].revents().is_empty())?;
        self.server.dispatcher.has_room().then_some(ready)
    }

    /// Takes a request from that listener.
    fn take(&mut self, place: usize) -> Taken {
        self.turn = place + 1;
        take_request(self.server, self.listeners, place, |job| {
            begin(self.server, self.listeners, &VecDeque::new(), job)
        })
    }

    /// That listener has no request after all.
    fn clear(&mut self, place: usize) {
        self.fds[self.first + place].clear_revents();
    }
}

/// Python's `_handle_request_noblock`: `begin` is given the request, if there is one.
pub(crate) fn take_request(
    server: &Server,
    listeners: &[Listener],
    place: usize,
    begin: impl FnOnce(Job) -> Taken,
) -> Taken {
    let listener = &listeners[place];
    let (request, client_address) = match listener.get_request() {
        Ok(taken) => taken,
        Err(error) => return accept_failed(server, listener, &error),
    };
    let is_datagram = request.socket_type() == SocketType::Dgram;
    if is_datagram && server.own_addresses.contain(&client_address, request.destination()) {
        let (endpoint, reason) = (listener.endpoint(), DropReason::OwnAddress);
        server.core.hooks.handle_dropped(endpoint, 1, reason);
        return Taken::Done;
    }
    let mut job = Job {
        core: Arc::clone(&server.core),
        request,
        client_address,
        server: Arc::clone(listener.info()),
    };
    job.request.set_came_after(server.arrivals.taken(place));
    begin(job)
}

/// Serves a request that was taken, or refuses it.
pub(crate) fn begin(
    server: &Server,
    listeners: &[Listener],
    waiting: &VecDeque<Job>,
    job: Job,
) -> Taken {
    if !server.core.hooks.verify_request(&job.request, &job.client_address) {
        job.request.shutdown_request();
        return Taken::Done;
    }
    match server.dispatcher.process_request(job, listeners, waiting) {
        Dispatched::Done => Taken::Done,
        Dispatched::Exhausted => Taken::Exhausted,
        Dispatched::Exit(exit) => Taken::Exit(exit),
    }
}

fn accept_failed(server: &Server, listener: &Listener, error: &io::Error) -> Taken {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    match errno {
        Some(Errno::AGAIN | Errno::INTR) => return Taken::Nothing,
        // Another process of this server has stopped listening, and so will this one.
        Some(Errno::INVAL) if server.control.graceful().is_some() => return Taken::Exhausted,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
            server.report_accept_error(listener, error);
            return Taken::Exhausted;
        }
        _ => {}
    }
    server.report_accept_error(listener, error);
    Taken::Done
}
