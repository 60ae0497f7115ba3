//! The processes that a server has forked.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, kill_process, pidfd_open, pidfd_send_signal,
    waitpid,
};

use crate::address::Address;
use crate::poll::poll_until;
use crate::request::Guards;
use crate::sys;

/// The time between checks of children that have no pidfd, because there was no
/// descriptor.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// The time after which a failed kill is tried again.
const KILL_AGAIN: Duration = Duration::from_secs(1);

/// The children of one server, each with a pidfd that becomes readable
/// when the child ends. Python's `active_children`.
///
/// Only these are ever waited for: the process may have other children.
#[derive(Debug)]
pub(crate) struct Children {
    /// An epoll of the pidfds: readable when a child has ended.
    epoll: OwnedFd,
    /// The longest time that a child may live. After it the child is killed.
    max_lifetime: Option<Duration>,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    next_key: u64,
    /// The oldest child, whose time is over first, comes first.
    children: BTreeMap<u64, Child>,
}

#[derive(Debug)]
struct Child {
    pid: Pid,
    /// `None` if there was no descriptor for it.
    pidfd: Option<OwnedFd>,
    client_address: Option<Address>,
    started: Instant,
    /// The time to kill it; `None` if it has no limit, or has been killed.
    kill_at: Option<Instant>,
    /// Set if it was killed because it outlived its time.
    outlived: bool,
    /// Set if the server expects it to end.
    leaving: bool,
    /// The guards of its request.
    guards: Guards,
}

/// A child that has ended.
#[derive(Debug)]
pub(super) struct EndedChild {
    pub pid: Pid,
    /// The client that it served; `None` for a child that is not for one request.
    pub client_address: Option<Address>,
    /// `None` if other code of this process has waited for it.
    pub status: Option<WaitStatus>,
    pub lifetime: Duration,
    outlived: bool,
    /// Set if the server expected it to end.
    pub leaving: bool,
    /// Dropped by the caller of [`Children::collect`], who holds no lock.
    _guards: Guards,
}

impl EndedChild {
    /// Returns true if it was killed because it outlived its time.
    pub(super) fn outlived(&self) -> bool {
        // It may have ended by itself just before the kill.
        let killed = Some(Signal::KILL.as_raw());
        self.outlived && self.status.is_some_and(|status| status.terminating_signal() == killed)
    }

    /// Describes an end that the child has not reported itself. A child that has
    /// reported its error ends with status 1.
    pub(super) fn failure(&self) -> Option<String> {
        let status = self.status?;
        if self.outlived() {
            let (pid, lifetime) = (self.pid, self.lifetime);
            return Some(format!(
                "process {pid} was still there after {lifetime:.1?}, and was killed"
            ));
        }
        if let Some(signal) = status.terminating_signal() {
            return Some(format!("process {} was ended by signal {signal}", self.pid));
        }
        match status.exit_status() {
            None | Some(0 | 1) => None,
            Some(status) => Some(format!("process {} ended with status {status}", self.pid)),
        }
    }
}

impl Children {
    /// Returns an empty list. A child that lives longer than `max_lifetime` is killed.
    pub(super) fn new(max_lifetime: Option<Duration>) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Children { epoll, max_lifetime, running: Mutex::default() })
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of children that have not been collected.
    pub(super) fn count(&self) -> usize {
        self.running().children.len()
    }

    /// Returns the number of children that are not expected to end.
    pub(super) fn count_staying(&self) -> usize {
        self.running().children.values().filter(|child| !child.leaving).count()
    }

    /// Expects all children to end from now on.
    pub(super) fn expect_ends(&self) {
        self.running().children.values_mut().for_each(|child| child.leaving = true);
    }

    /// Kills every child, without waiting for its end.
    pub(super) fn kill_all(&self) {
        for child in self.running().children.values() {
            // It may have ended by itself.
            let _ = child.send_kill();
        }
    }

    /// Closes all descriptors of this list in a forked child, which must not
    /// hold those of its siblings: see [`close_inherited`](sys::close_inherited).
    pub(super) fn close_inherited(&self) {
        self.running().children.values().flat_map(|child| &child.pidfd).for_each(|pidfd| {
            sys::close_inherited(pidfd.as_fd());
        });
        sys::close_inherited(self.as_fd());
    }

    /// Returns the time at which to call [`collect`](Self::collect) at the latest: soon,
    /// if a child has no pidfd, and when the time of the oldest child is over.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let running = self.running();
        let has_unwatched = running.children.values().any(|child| child.pidfd.is_none());
        let check_at = has_unwatched.then(|| Instant::now() + CHECK_INTERVAL);
        let kill_at = self
            .max_lifetime
            .and_then(|_| running.children.values().find_map(|child| child.kill_at));
        [check_at, kill_at].into_iter().flatten().min()
    }

    /// Adds a child that was forked just now, with the guards of its request.
    pub(super) fn add(&self, pid: Pid, client_address: Option<Address>, guards: Guards) {
        let mut running = self.running();
        let key = running.next_key;
        let watch = || -> rustix::io::Result<OwnedFd> {
            let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
            let data = EventData::new_u64(key);
            epoll::add(&self.epoll, &pidfd, data, EventFlags::IN)?;
            Ok(pidfd)
        };
        let started = Instant::now();
        let child = Child {
            pid,
            pidfd: watch().ok(),
            client_address,
            started,
            // A time beyond the clock's range is no limit.
            kill_at: self.max_lifetime.and_then(|limit| started.checked_add(limit)),
            outlived: false,
            leaving: false,
            guards,
        };
        running.next_key = key.wrapping_add(1);
        running.children.insert(key, child);
    }

    /// Removes the children that have ended from the list, and kills those that have
    /// outlived their time: they end soon. Does not wait.
    pub(super) fn collect(&self) -> Vec<EndedChild> {
        let mut running = self.running();
        let mut keys: Vec<u64> = running
            .children
            .iter()
            .filter_map(|(key, child)| child.pidfd.is_none().then_some(*key))
            .collect();
        let mut events = Vec::with_capacity(64);
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // If this fails, the next call finds the children.
        let _ = epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&now));
        keys.extend(events.iter().map(|event| event.data.u64()));
        let ended = keys.iter().filter_map(|key| self.reap(&mut running.children, *key)).collect();
        if self.max_lifetime.is_some() {
            kill_outlived(&mut running.children);
        }
        ended
    }

    fn reap(&self, running: &mut BTreeMap<u64, Child>, key: u64) -> Option<EndedChild> {
        let child = running.get(&key)?;
        let status = match waitpid(Some(child.pid), WaitOptions::NOHANG) {
            Ok(None) => return None,
            Ok(Some((_, status))) => Some(status),
            Err(_) => None,
        };
        let child = running.remove(&key)?;
        if let Some(pidfd) = &child.pidfd {
            // Closing it is not enough: other children have inherited it.
            let _ = epoll::delete(&self.epoll, pidfd);
        }
        Some(EndedChild {
            pid: child.pid,
            client_address: child.client_address,
            status,
            lifetime: child.started.elapsed(),
            outlived: child.outlived,
            leaving: child.leaving,
            _guards: child.guards,
        })
    }

    /// Waits until a child has ended or the deadline passes. Returns false if the
    /// deadline has passed, or there is no child.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> bool {
        if self.count() == 0 || deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return false;
        }
        let until = [deadline, self.next_deadline()].into_iter().flatten().min();
        poll_until(&mut [PollFd::new(&self.epoll, PollFlags::IN)], until).is_ok()
    }
}

/// Readable when [`collect`](Children::collect) has something to do.
impl AsFd for Children {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// Kills the children that have outlived their time.
fn kill_outlived(running: &mut BTreeMap<u64, Child>) {
    let now = Instant::now();
    for child in running.values_mut() {
        match child.kill_at {
            None => {}
            Some(kill_at) if kill_at > now => break,
            Some(_) => child.kill(now),
        }
    }
}

impl Child {
    /// Sends `SIGKILL` to the child.
    fn send_kill(&self) -> rustix::io::Result<()> {
        let by_pidfd = match &self.pidfd {
            Some(pidfd) => pidfd_send_signal(pidfd, Signal::KILL),
            None => pidfd_open(self.pid, PidfdFlags::empty())
                .and_then(|pidfd| pidfd_send_signal(pidfd, Signal::KILL)),
        };
        // The child has not been waited for, so the number is still its own.
        by_pidfd.or_else(|_| kill_process(self.pid, Signal::KILL))
    }

    /// Kills the child that has outlived its time. If that fails, it will be tried again.
    fn kill(&mut self, now: Instant) {
        let killed = self.send_kill();
        self.outlived |= killed.is_ok();
        let gone = matches!(killed, Ok(()) | Err(Errno::SRCH));
        self.kill_at = if gone { None } else { now.checked_add(KILL_AGAIN) };
    }
}
