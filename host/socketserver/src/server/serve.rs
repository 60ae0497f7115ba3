//! The loop: Python's `serve_forever` and `handle_request`.

use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::accept::{PAUSE, Taken};
use super::drain;
use super::leaders::Watch;
use super::parts::Parts;
use super::pending::PendingConnections;
use super::poller::Poller;
use super::post::LeaderPost;
use crate::concurrency::Post;
use crate::error::ServeError;
use crate::listen::listener::Listener;

/// The time between two rounds of housekeeping.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(1);

/// Starts the workers that are missing: takes the server, its listeners and the poll
/// interval.
pub(super) type StartWorkers = fn(&Parts, &Arc<[Listener]>, Duration) -> io::Result<()>;

pub(super) fn serve_forever(
    server: &Arc<Parts>,
    poll_interval: Duration,
    start_workers: StartWorkers,
) -> Result<(), ServeError> {
    check_threads(server)?;
    let run = server.control.begin_run()?;
    let listeners = server.listeners()?;
    let (result, leaders) = {
        let post = OpenPost::open(server, &listeners);
        let post = post.get();
        let result = serve_until_shutdown(server, &listeners, poll_interval, start_workers, post);
        if let Some(panic) = post.and_then(LeaderPost::take_panic) {
            resume_unwind(panic);
        }
        (result, post.map_or(0, LeaderPost::max_leaders))
    };
    server.report_dropped(&listeners);
    drop(listeners);
    if server.control.is_graceful() && result.is_ok() {
        drain::stop_listening(server, leaders);
    }
    drop(run);
    result
}

/// The post of the leaders, if the server has them. It is closed at the end of the run.
struct OpenPost<'a>(&'a Parts, Option<Arc<LeaderPost>>);

impl<'a> OpenPost<'a> {
    fn open(server: &'a Arc<Parts>, listeners: &Arc<[Listener]>) -> Self {
        // A leader waits for its own clients only, and not for headers and first bytes.
        let has_leaders = server.dispatcher.has_leaders(listeners) && server.pending.is_none();
        let post = has_leaders.then(|| LeaderPost::new(server, listeners)).flatten();
        if let Some(post) = &post {
            server.dispatcher.begin_run(Arc::clone(post) as Arc<dyn Post>);
        }
        OpenPost(server, post)
    }

    fn get(&self) -> Option<&LeaderPost> {
        self.1.as_deref()
    }
}

impl Drop for OpenPost<'_> {
    fn drop(&mut self) {
        self.0.dispatcher.end_run();
        if let Some(post) = &self.1 {
            post.close();
        }
    }
}

fn serve_until_shutdown(
    server: &Parts,
    listeners: &Arc<[Listener]>,
    poll_interval: Duration,
    start_workers: StartWorkers,
    post: Option<&LeaderPost>,
) -> Result<(), ServeError> {
    let mut poller = Poller::new(server, listeners);
    let mut paused_until: Option<Instant> = None;
    let mut last_housekeeping = Instant::now();
    while !server.control.shutdown_requested() {
        let now = Instant::now();
        paused_until = match post {
            Some(post) => post.paused_until(now),
            None => paused_until.filter(|until| *until > now),
        };
        let watch = post.map_or(Watch::Take, |post| post.watch(now));
        start_workers(server, listeners, poll_interval)?;
        let service_at = now.checked_add(poll_interval);
        let watch_at = if let Watch::Until(time) = watch { Some(time) } else { None };
        let pending = server.pending.as_ref();
        let late_at = pending.and_then(PendingConnections::next_deadline);
        // A connection that is ready is served before others are taken.
        let ready_at = (paused_until.is_none() && server.has_ready_connection()).then_some(now);
        let child_at = server.dispatcher.next_deadline();
        let deadlines = [service_at, paused_until, watch_at, child_at, late_at, ready_at];
        let takes = paused_until.is_none() && watch == Watch::Take && ready_at.is_none();
        poller.wait(takes, deadlines.into_iter().flatten().min())?;
        // Python's order (bpo-35017): requests that are ready now stay in the backlog.
        if server.control.shutdown_requested() {
            break;
        }
        if post.is_some_and(LeaderPost::has_panicked) {
            break;
        }
        // Leaders call the same hooks.
        let _turn = post.map(LeaderPost::turn);
        // First, so that a client that came after the end of a child finds a free permit.
        server.dispatcher.collect_children(&server.app);
        // A leader that waits was woken for the same client.
        let leaves_it = post.is_some_and(LeaderPost::has_waiting_leader);
        let ready = if paused_until.is_none() { poller.serve_ready() } else { None };
        let take = || {
            let listener = poller.next_ready().filter(|_| !leaves_it)?;
            Some(poller.take_request(listener))
        };
        if let Some(taken) = ready.or_else(take) {
            match taken {
                Taken::Done | Taken::Nothing | Taken::Waits => {}
                Taken::Exhausted => {
                    paused_until = Instant::now().checked_add(PAUSE);
                    if let Some(post) = post {
                        post.pause_until(paused_until);
                    }
                }
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
        let late_at = server.pending.as_ref().and_then(PendingConnections::next_deadline);
        let ready_at = server.has_ready_connection().then(Instant::now);
        let deadlines = [deadline, server.dispatcher.next_deadline(), late_at, ready_at];
        poller.wait(ready_at.is_none(), deadlines.into_iter().flatten().min())?;
        if poller.stop_requested() {
            return Ok(());
        }
        if poller.service_requested() {
            server.app.hooks.service_actions();
        }
        match poller.serve_ready() {
            None | Some(Taken::Nothing | Taken::Waits) => {}
            Some(Taken::Done | Taken::Exhausted) => return Ok(()),
            Some(Taken::Exit(exit)) => return Err(ServeError::SystemExit(exit)),
        }
        while let Some(listener) = poller.next_ready() {
            match poller.take_request(listener) {
                Taken::Nothing | Taken::Waits => poller.clear(listener),
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
