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
use crate::request::Kept;
use crate::sys;
use crate::wait::poll_until;

/// How often to look at children that cannot be watched, for want of
/// descriptors.
const LOOK: Duration = Duration::from_millis(50);

/// How long after a child could not be killed that is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Python's `active_children`, each with a descriptor that becomes readable
/// when the child ends.
///
/// Only these are ever waited for: the process may have children of its own.
#[derive(Debug)]
pub(crate) struct Children {
    /// Readable when a child has ended.
    ended: OwnedFd,
    /// How long each of them may live. One that is still there then is killed.
    max_lifetime: Option<Duration>,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    /// The key of the next one.
    next: u64,
    /// The oldest, whose time is over first, comes first.
    children: BTreeMap<u64, Child>,
}

#[derive(Debug)]
struct Child {
    pid: Pid,
    /// `None` if there was no descriptor to be had.
    watched: Option<OwnedFd>,
    client_address: Option<Address>,
    since: Instant,
    /// When to kill it; `None` if it may live on, or has been killed.
    kill_at: Option<Instant>,
    /// Whether it was killed, for it was still there.
    outlived: bool,
    leaving: bool,
    /// What its request keeps for as long as it lives.
    kept: Kept,
}

/// A child that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub pid: Pid,
    /// Whose request it answered; `None` if it was there for many.
    pub client_address: Option<Address>,
    /// `None` if somebody else has waited for it.
    pub status: Option<WaitStatus>,
    pub lived: Duration,
    /// Whether it was killed because it was still there after its time.
    outlived: bool,
    /// Whether it was to end.
    pub leaving: bool,
    /// Dropped by whoever takes note of the end, who holds no lock.
    _kept: Kept,
}

impl Ended {
    /// Whether it ended because its time was over.
    pub(crate) fn outlived(&self) -> bool {
        // It may have ended by itself just before.
        let killed = Some(Signal::KILL.as_raw());
        self.outlived && self.status.is_some_and(|status| status.terminating_signal() == killed)
    }

    /// What was not as it should be: a child that has reported its error itself
    /// ends with status 1.
    pub(crate) fn failure(&self) -> Option<String> {
        let status = self.status?;
        if self.outlived() {
            let (pid, lived) = (self.pid, self.lived);
            return Some(format!(
                "process {pid} was still there after {lived:.1?}, and was killed"
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
    /// None so far. Each is killed if it lives longer than `max_lifetime`.
    pub(crate) fn new(max_lifetime: Option<Duration>) -> io::Result<Self> {
        let ended = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Children { ended, max_lifetime, running: Mutex::default() })
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are running, as far as is known.
    pub(crate) fn count(&self) -> usize {
        self.running().children.len()
    }

    /// How many of them are not about to end.
    pub(crate) fn staying(&self) -> usize {
        self.running().children.values().filter(|child| !child.leaving).count()
    }

    /// From now on those that are running are expected to end.
    pub(crate) fn let_go(&self) {
        self.running().children.values_mut().for_each(|child| child.leaving = true);
    }

    /// Closes the descriptors of all of them in a forked child, which must not
    /// hold those of its siblings: see [`close_inherited`](sys::close_inherited).
    pub(crate) fn close_inherited(&self) {
        self.running().children.values().flat_map(|child| &child.watched).for_each(|watched| {
            sys::close_inherited(watched.as_fd());
        });
        sys::close_inherited(self.ended());
    }

    /// Readable when [`collect`](Self::collect) has something to do.
    pub(crate) fn ended(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    /// When to [collect](Self::collect) at the latest: soon, if some cannot be
    /// watched, and when the time of the oldest is over.
    pub(crate) fn due(&self) -> Option<Instant> {
        let running = self.running();
        let unwatched = running.children.values().any(|child| child.watched.is_none());
        let look = unwatched.then(|| Instant::now() + LOOK);
        let kill = self
            .max_lifetime
            .and_then(|_| running.children.values().find_map(|child| child.kill_at));
        [look, kill].into_iter().flatten().min()
    }

    /// Keeps an eye on a child that was forked just now, and what its request
    /// keeps.
    pub(crate) fn add(&self, pid: Pid, client_address: Option<Address>, kept: Kept) {
        let mut running = self.running();
        let key = running.next;
        let watch = || -> rustix::io::Result<OwnedFd> {
            let watched = pidfd_open(pid, PidfdFlags::empty())?;
            let data = EventData::new_u64(key);
            epoll::add(&self.ended, &watched, data, EventFlags::IN)?;
            Ok(watched)
        };
        let watched = watch().ok();
        let since = Instant::now();
        // A time that no clock can show is none.
        let kill_at = self.max_lifetime.and_then(|most| since.checked_add(most));
        let (outlived, leaving) = (false, false);
        let child = Child { pid, watched, client_address, since, kill_at, outlived, leaving, kept };
        running.next = key.wrapping_add(1);
        running.children.insert(key, child);
    }

    /// Takes the children off the list that have ended, and kills those whose time
    /// is over, which end soon. Does not wait.
    pub(crate) fn collect(&self) -> Vec<Ended> {
        let mut running = self.running();
        let mut keys: Vec<u64> = running
            .children
            .iter()
            .filter_map(|(key, child)| child.watched.is_none().then_some(*key))
            .collect();
        let mut events = Vec::with_capacity(64);
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // What it does not find now it finds the next time.
        let _ = epoll::wait(&self.ended, spare_capacity(&mut events), Some(&now));
        keys.extend(events.iter().map(|event| event.data.u64()));
        let ended = keys.iter().filter_map(|key| self.reap(&mut running.children, *key)).collect();
        if self.max_lifetime.is_some() {
            kill_overdue(&mut running.children);
        }
        ended
    }

    fn reap(&self, running: &mut BTreeMap<u64, Child>, key: u64) -> Option<Ended> {
        let child = running.get(&key)?;
        let status = match waitpid(Some(child.pid), WaitOptions::NOHANG) {
            Ok(None) => return None,
            Ok(Some((_, status))) => Some(status),
            Err(_) => None,
        };
        let child = running.remove(&key)?;
        if let Some(watched) = &child.watched {
            // Closing it is not enough: other children have inherited it.
            let _ = epoll::delete(&self.ended, watched);
        }
        Some(Ended {
            pid: child.pid,
            client_address: child.client_address,
            status,
            lived: child.since.elapsed(),
            outlived: child.outlived,
            leaving: child.leaving,
            _kept: child.kept,
        })
    }

    /// Waits until one has ended or the deadline passes. False if it passed, or
    /// there is none.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> bool {
        if self.count() == 0 || deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return false;
        }
        let until = [deadline, self.due()].into_iter().flatten().min();
        poll_until(&mut [PollFd::new(&self.ended, PollFlags::IN)], until).is_ok()
    }
}

/// Kills those whose time is over.
fn kill_overdue(running: &mut BTreeMap<u64, Child>) {
    let now = Instant::now();
    for child in running.values_mut() {
        match child.kill_at {
            None => {}
            Some(at) if at > now => break,
            Some(_) => child.kill(now),
        }
    }
}

impl Child {
    /// Kills it. If that cannot be done now, it will be tried again.
    fn kill(&mut self, now: Instant) {
        let by_descriptor = match &self.watched {
            Some(watched) => pidfd_send_signal(watched, Signal::KILL),
            None => pidfd_open(self.pid, PidfdFlags::empty())
                .and_then(|watched| pidfd_send_signal(watched, Signal::KILL)),
        };
        // Nobody has waited for it, so the number is still its own.
        let killed = by_descriptor.or_else(|_| kill_process(self.pid, Signal::KILL));
        self.outlived |= killed.is_ok();
        let gone = matches!(killed, Ok(()) | Err(Errno::SRCH));
        self.kill_at = if gone { None } else { now.checked_add(AGAIN) };
    }
}
