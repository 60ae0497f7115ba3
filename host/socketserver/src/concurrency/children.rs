//! The processes that a server has forked.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, WaitOptions, WaitStatus, pidfd_open, waitpid};

use crate::address::Address;
use crate::request::Kept;
use crate::sys;
use crate::wait::poll_until;

/// How often to look at children that cannot be watched, for want of
/// descriptors.
const LOOK: Duration = Duration::from_millis(50);

/// Python's `active_children`, each with a descriptor that becomes readable
/// when the child ends.
///
/// Only these are ever waited for: the process may have children of its own.
#[derive(Debug)]
pub(crate) struct Children {
    /// Readable when a child has ended.
    ended: OwnedFd,
    running: Mutex<HashMap<i32, Child>>,
}

#[derive(Debug)]
struct Child {
    pid: Pid,
    /// `None` if there was no descriptor to be had.
    watched: Option<OwnedFd>,
    client_address: Option<Address>,
    since: Instant,
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
    /// Whether it was to end.
    pub leaving: bool,
    /// Dropped by whoever takes note of the end, who holds no lock.
    _kept: Kept,
}

impl Ended {
    /// What was not as it should be: a child that has reported its error itself
    /// ends with status 1.
    pub(crate) fn failure(&self) -> Option<String> {
        let status = self.status?;
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
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Children {
            ended: epoll::create(CreateFlags::CLOEXEC)?,
            running: Mutex::new(HashMap::new()),
        })
    }

    fn running(&self) -> MutexGuard<'_, HashMap<i32, Child>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are running, as far as is known.
    pub(crate) fn count(&self) -> usize {
        self.running().len()
    }

    /// How many of them are not about to end.
    pub(crate) fn staying(&self) -> usize {
        self.running().values().filter(|child| !child.leaving).count()
    }

    /// From now on those that are running are expected to end.
    pub(crate) fn let_go(&self) {
        self.running().values_mut().for_each(|child| child.leaving = true);
    }

    /// Closes the descriptors of all of them in a forked child, which must not
    /// hold those of its siblings: see [`close_inherited`](sys::close_inherited).
    pub(crate) fn close_inherited(&self) {
        self.running().values().flat_map(|child| &child.watched).for_each(|watched| {
            sys::close_inherited(watched.as_fd());
        });
        sys::close_inherited(self.ended());
    }

    /// Readable when [`collect`](Self::collect) has something to do.
    pub(crate) fn ended(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    /// When to look for children that have ended, if there are some that cannot
    /// be watched.
    pub(crate) fn due(&self) -> Option<Instant> {
        let unwatched = self.running().values().any(|child| child.watched.is_none());
        unwatched.then(|| Instant::now() + LOOK)
    }

    /// Keeps an eye on a child that was forked just now, and what its request
    /// keeps.
    pub(crate) fn add(&self, pid: Pid, client_address: Option<Address>, kept: Kept) {
        let key = pid.as_raw_nonzero().get();
        let watch = || -> rustix::io::Result<OwnedFd> {
            let watched = pidfd_open(pid, PidfdFlags::empty())?;
            let data = EventData::new_u64(u64::from(key.unsigned_abs()));
            epoll::add(&self.ended, &watched, data, EventFlags::IN)?;
            Ok(watched)
        };
        let watched = watch().ok();
        let since = Instant::now();
        let child = Child { pid, watched, client_address, since, leaving: false, kept };
        self.running().insert(key, child);
    }

    /// Takes the children off the list that have ended. Does not wait.
    pub(crate) fn collect(&self) -> Vec<Ended> {
        let mut running = self.running();
        let mut keys: Vec<i32> = running
            .iter()
            .filter_map(|(key, child)| child.watched.is_none().then_some(*key))
            .collect();
        let mut events = Vec::with_capacity(64);
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // What it does not find now it finds the next time.
        let _ = epoll::wait(&self.ended, spare_capacity(&mut events), Some(&now));
        keys.extend(events.iter().filter_map(|event| i32::try_from(event.data.u64()).ok()));
        keys.iter().filter_map(|key| self.reap(&mut running, *key)).collect()
    }

    fn reap(&self, running: &mut HashMap<i32, Child>, key: i32) -> Option<Ended> {
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
