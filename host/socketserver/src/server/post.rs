//! The post of a server in threads: the place where its leaders take requests.
//!
//! Leader and followers: up to one thread for each processor waits for clients. Each has an
//! epoll of its own, in which the listening sockets are exclusive, so the kernel wakes one
//! leader for one client. The thread that it wakes takes the client and runs the request
//! itself, while the other leaders wait on.
//!
//! - A leader looks at all queues before it waits: the event of a client that is there already
//!   may have gone to another leader.
//! - One thread at a time looks at the queues, takes a request and calls the hooks of the loop:
//!   the one that has the [`Turn`].
//! - No listening socket is in use outside of a turn. So a thread that runs a request keeps
//!   none open, and the end of the loop waits for no leader.
//! - A leader that was woken and may take no request rings the bell: the other leaders look,
//!   because the event of the client went to this one only. The workers of a server share the
//!   bell as they share the sockets.
//! - A thread that runs requests as tasks waits for clients in the epoll of its tasks, and steps
//!   down for none of them. It looks at the queues only if that epoll reports a client: what it
//!   does not report was reported to a leader that waited.
//! - The thread that serves watches. It takes requests itself if there is no leader. If none
//!   has looked for 1 ms, all of them run requests that take long: their term ends, and threads
//!   that are done with a request take their places.

use std::any::Any;
use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFd, PollFlags, epoll, eventfd};
use rustix::io::Errno;

use super::accept::{PAUSE, Taken, take_request};
use super::leaders::{Leaders, Watch};
use super::parts::Parts;
use crate::concurrency::{Job, Post, SteppedDown, Term};
use crate::listen::listener::Listener;
use crate::poll::poll_until;
use crate::reactor::CLIENTS;

/// The post of one run of the loop.
pub(super) struct LeaderPost {
    server: Arc<Parts>,
    turn: Mutex<Turn>,
    leaders: Leaders,
    /// The epolls on which no leader waits.
    epolls: Mutex<Vec<OwnedFd>>,
    /// The epolls of threads that run tasks.
    watching: Mutex<Vec<Arc<OwnedFd>>>,
    /// Wakes all leaders when it is written to. It is never read.
    bell: Arc<OwnedFd>,
    /// The panic of a hook that a leader has called.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// The right to take requests and to call the hooks of the loop.
///
/// It has the listening sockets, or `None` when the post is closed.
#[derive(Debug)]
pub(super) struct Turn(Option<Arc<[Listener]>>);

/// The result of a look at the queues.
enum Look {
    Request(Job),
    /// A client was refused or lost: look again.
    Again,
    /// No client waits.
    Empty,
    StepDown,
}

/// Returns a new bell.
pub(crate) fn new_bell() -> io::Result<Arc<OwnedFd>> {
    Ok(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
}

/// Makes the leaders that wait look at the queues.
pub(crate) fn ring(bell: &OwnedFd) {
    // It fails only if the counter is full: after 2^64 writes.
    let _ = rustix::io::write(bell, &1u64.to_ne_bytes());
}

impl LeaderPost {
    /// Returns a post for as many leaders as the server may have; `None` if there is no
    /// descriptor for a leader.
    pub(super) fn new(server: &Arc<Parts>, listeners: &Arc<[Listener]>) -> Option<Arc<Self>> {
        let bell = server.bell.clone().map_or_else(new_bell, Ok).ok()?;
        let most = server.max_leaders.min(server.dispatcher.max_requests());
        let epolls = (0..most).map_while(|_| new_epoll(listeners, &bell).ok());
        let epolls: Vec<OwnedFd> = epolls.collect();
        if epolls.is_empty() {
            return None;
        }
        Some(Arc::new(LeaderPost {
            server: Arc::clone(server),
            turn: Mutex::new(Turn(Some(Arc::clone(listeners)))),
            leaders: Leaders::new(epolls.len()),
            epolls: Mutex::new(epolls),
            watching: Mutex::default(),
            bell,
            panic: Mutex::default(),
        }))
    }

    /// Returns the largest number of leaders.
    pub(super) fn max_leaders(&self) -> usize {
        self.leaders.most()
    }

    /// Waits until no other thread has the turn.
    pub(super) fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the part of the thread that serves, at this time.
    pub(super) fn watch(&self, now: Instant) -> Watch {
        self.leaders.watch(now)
    }

    /// Returns true if a leader waits for clients, or was woken for one just now.
    pub(super) fn has_waiting_leader(&self) -> bool {
        self.leaders.have_one_waiting()
    }

    /// Lets no leader take a request before this time.
    pub(super) fn pause_until(&self, end: Option<Instant>) {
        self.leaders.pause_until(end);
    }

    /// Returns the end of the pause, if there is one at this time.
    pub(super) fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.end_pause(now);
        self.leaders.paused_until()
    }

    /// Ends the pause if its time is over.
    fn end_pause(&self, now: Instant) {
        if self.leaders.end_pause(now) {
            // The event of a client that came in the pause may have gone to a leader that has
            // stepped down.
            ring(&self.bell);
        }
    }

    /// Returns true if a hook has panicked that a leader has called.
    pub(super) fn has_panicked(&self) -> bool {
        self.panic().is_some()
    }

    /// Returns the panic of a hook that a leader has called.
    pub(super) fn take_panic(&self) -> Option<Box<dyn Any + Send>> {
        self.panic().take()
    }

    fn panic(&self) -> MutexGuard<'_, Option<Box<dyn Any + Send>>> {
        self.panic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the post: all leaders step down, and no thread uses a listening socket of
    /// the post any longer.
    pub(super) fn close(&self) {
        self.end_turns(&mut self.turn());
        ring(&self.bell);
    }

    /// Takes the listening sockets from the post, and out of the epolls of threads.
    fn end_turns(&self, turn: &mut Turn) {
        let Some(listeners) = turn.0.take() else { return };
        for epoll in lock(&self.watching).drain(..) {
            stop_watching(&epoll, &listeners, &self.bell);
        }
    }

    /// Looks at the queues, and takes a request if there is one and a permit for it.
    fn look(&self, term: Term) -> Look {
        let mut turn = self.turn();
        let Some(listeners) = turn.0.clone() else { return Look::StepDown };
        let now = Instant::now();
        self.end_pause(now);
        if self.server.control.shutdown_requested()
            || !self.leaders.begin_look(term, now)
            || !self.server.dispatcher.has_free_permit()
        {
            return Look::StepDown;
        }
        let _in_loop = self.server.control.enter_loop();
        let looked = catch_unwind(AssertUnwindSafe(|| self.take(&listeners, now)));
        let look = looked.unwrap_or_else(|panic| self.end_with_panic(&mut turn, panic));
        if !matches!(look, Look::Empty | Look::StepDown) {
            let service = || self.server.app.hooks.service_actions();
            if let Err(panic) = catch_unwind(AssertUnwindSafe(service)) {
                // The request that was taken is served all the same.
                self.end_with_panic(&mut turn, panic);
            }
        }
        look
    }

    /// Takes a request, if there is one.
    fn take(&self, listeners: &[Listener], now: Instant) -> Look {
        let server = &self.server;
        let arrivals = &server.arrivals;
        arrivals.begin_look(now);
        let index = if listeners.len() == 1 {
            // The attempt to take a request shows if there is one.
            arrivals.record_look(now, |_| true);
            0
        } else {
            let fds = listeners.iter().map(|listener| PollFd::new(listener, PollFlags::IN));
            let mut fds: Vec<PollFd<'_>> = fds.collect();
            if poll_until(&mut fds, Some(now)).is_err() {
                // The thread that serves finds the error, or the pause helps.
                return self.pause(now);
            }
            let is_ready = |listener: usize| !fds[listener].revents().is_empty();
            arrivals.record_look(now, is_ready);
            match server.next_ready(listeners.len(), is_ready) {
                Some(index) => index,
                None => return Look::Empty,
            }
        };
        server.take_turn(index);
        let mut look = Look::Again;
        let taken = take_request(server, listeners, index, |job| {
            if server.app.hooks.verify_request(&job.request, &job.client_address) {
                job.begin();
                server.dispatcher.take_permit();
                look = Look::Request(job);
            } else {
                job.request.shutdown_request(true);
            }
            Taken::Done
        });
        match taken {
            Taken::Nothing if listeners.len() == 1 => {
                arrivals.record_look(now, |_| false);
                Look::Empty
            }
            Taken::Exhausted => self.pause(now),
            _ => look,
        }
    }

    /// Begins a pause: the process has run out of a resource.
    fn pause(&self, now: Instant) -> Look {
        self.pause_until(now.checked_add(PAUSE));
        self.server.control.wake();
        Look::StepDown
    }

    /// Ends the post with the panic of a hook, for the thread that serves.
    fn end_with_panic(&self, turn: &mut Turn, panic: Box<dyn Any + Send>) -> Look {
        self.end_turns(turn);
        let mut first = self.panic();
        if first.is_none() {
            *first = Some(panic);
        } else {
            // Dropping the value of a panic may panic.
            mem::forget(panic);
        }
        self.server.control.wake();
        Look::StepDown
    }

    /// Waits for the event of a client, or the bell. Returns false if the leader cannot wait.
    fn wait(&self, term: Term) -> bool {
        let Some(epoll) = lock(&self.epolls).pop() else { return false };
        let may_wait = self.begin_wait(term);
        let woken = may_wait && {
            let mut events = [MaybeUninit::uninit()];
            let waited = epoll::wait(&epoll, &mut events, None);
            self.end_wait();
            matches!(waited, Ok(_) | Err(Errno::INTR))
        };
        lock(&self.epolls).push(epoll);
        woken
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns an epoll for one leader.
fn new_epoll(listeners: &[Listener], bell: &OwnedFd) -> io::Result<OwnedFd> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    watch(&epoll, listeners, bell)?;
    Ok(epoll)
}

/// Has an epoll report clients and the bell. The kernel wakes it for a client only if no other
/// leader was woken for it.
fn watch(epoll: &OwnedFd, listeners: &[Listener], bell: &OwnedFd) -> io::Result<()> {
    let data = epoll::EventData::new_u64(CLIENTS);
    // Each write is an event, in every epoll.
    epoll::add(epoll, bell, data, epoll::EventFlags::IN | epoll::EventFlags::ET)?;
    for listener in listeners {
        let exclusive = epoll::EventFlags::IN | epoll::EventFlags::EXCLUSIVE;
        epoll::add(epoll, listener, data, exclusive)?;
    }
    Ok(())
}

/// Takes out of an epoll what [`watch`] has put into it. A close would not: other processes may
/// have the sockets.
fn stop_watching(epoll: &OwnedFd, listeners: &[Listener], bell: &OwnedFd) {
    // If one is not in it, all is well.
    let _ = epoll::delete(epoll, bell);
    for listener in listeners {
        let _ = epoll::delete(epoll, listener);
    }
}

impl Post for LeaderPost {
    fn promote(&self) -> Option<Term> {
        self.leaders.promote(Instant::now())
    }

    fn step_down(&self, term: Term) {
        if self.leaders.step_down(term) {
            self.server.control.wake();
        }
    }

    fn take_request(&self, term: Term, was_woken: bool) -> Result<Option<Job>, SteppedDown> {
        loop {
            match self.look(term) {
                Look::Request(job) => return Ok(Some(job)),
                Look::Again => {}
                Look::Empty => return Ok(None),
                Look::StepDown => {
                    self.step_down(term);
                    if was_woken {
                        ring(&self.bell);
                    }
                    return Err(SteppedDown);
                }
            }
        }
    }

    fn watch_clients(&self, epoll: &Arc<OwnedFd>) -> io::Result<()> {
        let turn = self.turn();
        // A post that is closed has no clients.
        let Some(listeners) = &turn.0 else { return Ok(()) };
        let watched = watch(epoll, listeners, &self.bell);
        if watched.is_ok() {
            lock(&self.watching).push(Arc::clone(epoll));
        } else {
            stop_watching(epoll, listeners, &self.bell);
        }
        watched
    }

    fn forget_clients(&self, epoll: &Arc<OwnedFd>) {
        // Without listeners the post has taken them out itself.
        let turn = self.turn();
        let Some(listeners) = &turn.0 else { return };
        let mut watching = lock(&self.watching);
        let place = watching.iter().position(|other| Arc::ptr_eq(other, epoll));
        if let Some(place) = place {
            watching.swap_remove(place);
            stop_watching(epoll, listeners, &self.bell);
        }
    }

    fn begin_wait(&self, term: Term) -> bool {
        let may_wait = self.leaders.begin_wait(term);
        if may_wait {
            self.server.arrivals.begin_wait();
        }
        may_wait
    }

    fn end_wait(&self) {
        let now = Instant::now();
        self.server.arrivals.end_wait(now);
        if self.leaders.end_wait(now) {
            self.server.control.wake();
        }
    }

    fn next_request(&self, term: Term) -> Option<Job> {
        let mut was_woken = false;
        loop {
            match self.look(term) {
                Look::Request(job) => return Some(job),
                Look::Again => {}
                Look::Empty if self.wait(term) => was_woken = true,
                Look::Empty | Look::StepDown => break,
            }
        }
        self.step_down(term);
        if was_woken {
            ring(&self.bell);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::concurrency::{Concurrency, Threading};
    use crate::server::control::Control;
    use crate::server::drain;
    use crate::{Address, Request, Server};

    const WAIT: Duration = Duration::from_secs(20);

    /// Returns a post of a worker of `server` that may have one request.
    fn post(server: &Server, bell: &Arc<OwnedFd>) -> Arc<LeaderPost> {
        let control = Control::new(None, None, None).unwrap();
        let threading = Threading { max_requests: Some(1), ..Threading::new() };
        let dispatcher = Concurrency::Threading(threading).dispatcher(&control, None).unwrap();
        let listeners = server.parts.listeners().unwrap();
        let (app, own) = (Arc::clone(&server.parts.app), Arc::clone(&server.parts.own_addresses));
        let mut parts = Parts::new(app, dispatcher, control, None, Arc::clone(&listeners), own);
        parts.bell = Some(Arc::clone(bell));
        LeaderPost::new(&Arc::new(parts), &listeners).unwrap()
    }

    /// Starts a leader, and returns what it does when it waits: it sends true if it takes a
    /// request, and false if it steps down.
    fn lead(post: &Arc<LeaderPost>) -> mpsc::Receiver<bool> {
        let (sender, result) = mpsc::channel();
        let (send_id, id) = mpsc::channel();
        let term = post.promote().unwrap();
        let leader = Arc::clone(post);
        thread::spawn(move || {
            send_id.send(rustix::thread::gettid()).unwrap();
            sender.send(leader.next_request(term).is_some())
        });
        let stat = format!("/proc/self/task/{}/stat", id.recv().unwrap().as_raw_nonzero());
        let sleeps = || std::fs::read_to_string(&stat).unwrap().contains(") S ");
        // It records that it waits before it waits in the kernel.
        while !(post.has_waiting_leader() && sleeps()) {
            thread::yield_now();
        }
        result
    }

    #[test]
    fn a_server_that_ends_takes_the_client_that_only_its_leader_was_woken_for() {
        let handler = |_: &Request, _: &Address, _: &_| Ok::<(), io::Error>(());
        let bound = Server::builder(handler).bind("tcp://127.0.0.1:0".parse().unwrap());
        let bound = bound.bind_only().unwrap().remove(0);
        let server = Server::builder(handler).listen_on(bound).build().unwrap();
        let ending = post(&server, &new_bell().unwrap());
        let next = post(&server, &new_bell().unwrap());
        // The kernel wakes the first one.
        let (of_ending, of_next) = (lead(&ending), lead(&next));
        ending.server.control.request_shutdown();
        let _client = TcpStream::connect(server.server_address().to_socket_addr().unwrap());
        assert_eq!(of_ending.recv_timeout(WAIT), Ok(false));
        assert!(of_next.try_recv().is_err());
        drain::stop_listening(&ending.server, ending.max_leaders());
        assert_eq!(ending.server.waiting().len(), 1);
        next.close();
        assert_eq!(of_next.recv_timeout(WAIT), Ok(false));
    }

    #[test]
    fn a_leader_that_has_no_permit_leaves_its_client_to_another_process() {
        let handler = |_: &Request, _: &Address, _: &_| Ok::<(), io::Error>(());
        let server = Server::builder(handler).bind("tcp://127.0.0.1:0".parse().unwrap());
        let server = server.build().unwrap();
        let bell = new_bell().unwrap();
        let (full, free) = (post(&server, &bell), post(&server, &bell));
        // The kernel wakes the first one.
        let (of_full, of_free) = (lead(&full), lead(&free));
        full.server.dispatcher.take_permit();
        let _client = TcpStream::connect(server.server_address().to_socket_addr().unwrap());
        assert_eq!(of_full.recv_timeout(WAIT), Ok(false));
        assert_eq!(of_free.recv_timeout(WAIT), Ok(true));
    }
}
