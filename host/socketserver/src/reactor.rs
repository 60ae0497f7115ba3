//! Waits that suspend a task: the epoll and the timers of a thread that runs requests as fibers.
//!
//! A thread enters its reactor once. From then on every wait of a request in this thread suspends
//! the task, and [`Reactor::turn`] wakes it. In a thread without a reactor waits block.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rustix::event::{PollFlags, Timespec, epoll};
use rustix::io::Errno;

use crate::poll::{PollSet, Polled, timespec};

/// The number of events that one turn takes.
const EVENTS: usize = 256;

/// The longest time that a turn waits. A time that `epoll_pwait(2)` cannot count, of more than 24
/// days, would take a newer call, which the jail of workers refuses.
const LONGEST_TURN: Duration = Duration::from_hours(24);

/// The data of the descriptor that interrupts a turn.
const BELL: u64 = u64::MAX;

/// The data of descriptors whose events are clients of a server.
pub(crate) const CLIENTS: u64 = u64::MAX - 1;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Reactor>>> = const { RefCell::new(None) };
}

/// Returns the reactor of the current thread, if its waits suspend.
pub(crate) fn current() -> Option<Arc<Reactor>> {
    CURRENT.with_borrow(Clone::clone)
}

/// Makes waits of the current thread block until the result is dropped.
pub(crate) fn leave() -> Left {
    Left(CURRENT.take())
}

/// The reactor that a thread has left, and enters again.
pub(crate) struct Left(Option<Arc<Reactor>>);

impl Drop for Left {
    fn drop(&mut self) {
        if let Some(reactor) = self.0.take() {
            CURRENT.set(Some(reactor));
        }
    }
}

/// The waits of the tasks of one thread.
pub(crate) struct Reactor {
    epoll: Arc<OwnedFd>,
    state: Mutex<State>,
}

/// The events of a turn that are for no task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Turned {
    /// The bell is readable.
    pub has_rung: bool,
    /// There may be a client.
    pub has_client: bool,
}

#[derive(Default)]
struct State {
    last_wait: u64,
    waits: HashMap<u64, Wait>,
    /// The waits for each descriptor in the epoll. Several requests may wait for one socket:
    /// that of datagrams.
    descriptors: HashMap<RawFd, Watched>,
    timers: BTreeSet<(Instant, u64)>,
}

/// The waits for one descriptor.
#[derive(Default)]
struct Watched {
    waits: Vec<(u64, PollFlags)>,
    /// Set while the epoll reports events of it: until the first one if there is one wait.
    is_armed: bool,
}

#[derive(Default)]
struct Wait {
    /// Set when the task has suspended.
    waker: Option<Waker>,
    polled: Option<Polled>,
}

impl Reactor {
    /// Returns a reactor whose turns end when `bell` is readable.
    pub(crate) fn new(bell: BorrowedFd<'_>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, bell, epoll::EventData::new_u64(BELL), epoll::EventFlags::IN)?;
        Ok(Reactor { epoll: Arc::new(epoll), state: Mutex::default() })
    }

    /// Returns the epoll, which may have descriptors with the data [`CLIENTS`], too.
    pub(crate) fn epoll(&self) -> &Arc<OwnedFd> {
        &self.epoll
    }

    /// Makes all later waits of the current thread suspend.
    pub(crate) fn enter(self: &Arc<Self>) {
        CURRENT.set(Some(Arc::clone(self)));
    }

    /// Returns the time until the first timer, if there is one.
    pub(crate) fn time_left(&self) -> Option<Timespec> {
        let first = self.state().timers.first().map(|(first, _)| *first)?;
        Some(timespec(first.saturating_duration_since(Instant::now()).min(LONGEST_TURN)))
    }

    /// Wakes the tasks whose descriptors are ready, and those whose time has come. Waits for the
    /// first of them, for the bell or a client, for as long as `timeout`; `None` waits without end.
    /// Calls `awake` between the two.
    pub(crate) fn turn(
        &self,
        timeout: Option<&Timespec>,
        awake: impl FnOnce(),
    ) -> io::Result<Turned> {
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); EVENTS];
        let waited = epoll::wait(&*self.epoll, &mut events, timeout);
        awake();
        let events = match waited {
            Ok((events, _)) => &*events,
            Err(Errno::INTR) => &[],
            Err(error) => return Err(error.into()),
        };
        let mut state = self.state();
        let mut turned = Turned::default();
        for event in events {
            match event.data.u64() {
                BELL => turned.has_rung = true,
                CLIENTS => turned.has_client = true,
                descriptor => {
                    let Ok(descriptor) = RawFd::try_from(descriptor) else { continue };
                    state.descriptor_is_ready(descriptor, event.flags);
                }
            }
        }
        state.wake_late(Instant::now());
        Ok(turned)
    }

    /// Suspends the task until one of the descriptors is ready or `deadline` has passed; without a
    /// deadline, until one is ready. Afterwards `set` has what was found.
    pub(crate) async fn wait_for_any(
        &self,
        set: &mut PollSet<'_>,
        deadline: Option<Instant>,
    ) -> io::Result<Polled> {
        loop {
            let polled = set.poll_until(Some(Instant::now()))?;
            let is_over = deadline.is_some_and(|deadline| deadline <= Instant::now());
            if polled == Polled::Ready || is_over {
                return Ok(polled);
            }
            self.suspend(set.wanted(), deadline).await?;
        }
    }

    /// As [`wait_for_any`](Self::wait_for_any), for one descriptor that the kernel has just called
    /// not ready.
    pub(crate) async fn wait_for(
        &self,
        descriptor: BorrowedFd<'_>,
        wanted: PollFlags,
        deadline: Option<Instant>,
    ) -> io::Result<Polled> {
        self.suspend([(descriptor, wanted)].into_iter(), deadline).await
    }

    /// Suspends the task until `end`.
    pub(crate) async fn sleep(&self, end: Option<Instant>) -> io::Result<()> {
        self.suspend([].into_iter(), end).await.map(drop)
    }

    async fn suspend<'a>(
        &self,
        wanted: impl Iterator<Item = (BorrowedFd<'a>, PollFlags)>,
        deadline: Option<Instant>,
    ) -> io::Result<Polled> {
        let mut waiting = Waiting {
            reactor: self,
            id: self.state().new_wait(),
            deadline,
            descriptors: Vec::new(),
        };
        if let Some(deadline) = deadline {
            self.state().timers.insert((deadline, waiting.id));
        }
        for (descriptor, wanted) in wanted {
            match waiting.watch(descriptor, wanted) {
                Ok(()) => {}
                // A file is always ready, as for `poll(2)`.
                Err(Errno::PERM) => return Ok(Polled::Ready),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(poll_fn(|cx| waiting.poll(cx)).await)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait that has begun. Its drop ends it.
struct Waiting<'r, 'a> {
    reactor: &'r Reactor,
    id: u64,
    deadline: Option<Instant>,
    descriptors: Vec<BorrowedFd<'a>>,
}

impl<'a> Waiting<'_, 'a> {
    /// Watches one more descriptor.
    fn watch(&mut self, descriptor: BorrowedFd<'a>, wanted: PollFlags) -> Result<(), Errno> {
        let mut state = self.reactor.state();
        let watched = state.descriptors.entry(descriptor.as_raw_fd()).or_default();
        watched.waits.push((self.id, wanted));
        let result = self.reactor.arm(descriptor, watched);
        if result.is_err() {
            watched.waits.pop();
            if watched.waits.is_empty() {
                state.descriptors.remove(&descriptor.as_raw_fd());
            }
        } else {
            self.descriptors.push(descriptor);
        }
        result
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Polled> {
        let mut state = self.reactor.state();
        let wait = state.waits.entry(self.id).or_default();
        if let Some(polled) = wait.polled {
            return Poll::Ready(polled);
        }
        wait.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Waiting<'_, '_> {
    fn drop(&mut self) {
        let mut state = self.reactor.state();
        state.waits.remove(&self.id);
        if let Some(deadline) = self.deadline {
            state.timers.remove(&(deadline, self.id));
        }
        for descriptor in &self.descriptors {
            let raw = descriptor.as_raw_fd();
            let Some(watched) = state.descriptors.get_mut(&raw) else { continue };
            watched.waits.retain(|(id, _)| *id != self.id);
            if !watched.waits.is_empty() {
                // It is in the epoll, so this does not fail.
                let _ = self.reactor.arm(*descriptor, watched);
                continue;
            }
            let is_armed = watched.is_armed;
            state.descriptors.remove(&raw);
            // One that has had its event stays in the epoll, and reports nothing: most are closed
            // next, which takes them out.
            if is_armed {
                let _ = epoll::delete(&*self.reactor.epoll, descriptor);
            }
        }
    }
}

impl Reactor {
    /// Has the epoll report the events of a descriptor that the waits are for. If there is one
    /// wait, it reports one event.
    fn arm(&self, descriptor: BorrowedFd<'_>, watched: &mut Watched) -> Result<(), Errno> {
        let flag = |wanted: PollFlags, flag| {
            if watched.waits.iter().any(|(_, flags)| flags.contains(wanted)) {
                flag
            } else {
                epoll::EventFlags::empty()
            }
        };
        let mut events = flag(PollFlags::IN, epoll::EventFlags::IN)
            | flag(PollFlags::OUT, epoll::EventFlags::OUT)
            | flag(PollFlags::PRI, epoll::EventFlags::PRI);
        if watched.waits.len() == 1 {
            events |= epoll::EventFlags::ONESHOT;
        }
        let data = epoll::EventData::new_u64(u64::from(descriptor.as_raw_fd().unsigned_abs()));
        let modify = || epoll::modify(&*self.epoll, descriptor, data, events);
        let armed = if watched.is_armed {
            modify()
        } else {
            match epoll::add(&*self.epoll, descriptor, data, events) {
                Err(Errno::EXIST) => modify(),
                added => added,
            }
        };
        watched.is_armed |= armed.is_ok();
        armed
    }
}

impl State {
    fn new_wait(&mut self) -> u64 {
        self.last_wait += 1;
        self.waits.insert(self.last_wait, Wait::default());
        self.last_wait
    }

    /// Ends the waits that an event of the epoll is for. An error or a hangup is for all.
    fn descriptor_is_ready(&mut self, descriptor: RawFd, events: epoll::EventFlags) {
        let Some(watched) = self.descriptors.get_mut(&descriptor) else { return };
        watched.is_armed = watched.waits.len() > 1;
        let for_all = events.intersects(epoll::EventFlags::ERR | epoll::EventFlags::HUP);
        let is_for = |wanted: PollFlags| {
            for_all
                || wanted.contains(PollFlags::IN) && events.contains(epoll::EventFlags::IN)
                || wanted.contains(PollFlags::OUT) && events.contains(epoll::EventFlags::OUT)
                || wanted.contains(PollFlags::PRI) && events.contains(epoll::EventFlags::PRI)
        };
        for (id, wanted) in &watched.waits {
            if is_for(*wanted)
                && let Some(wait) = self.waits.get_mut(id)
            {
                wait.end(Polled::Ready);
            }
        }
    }

    fn wake_late(&mut self, now: Instant) {
        while let Some((deadline, id)) = self.timers.first().copied() {
            if deadline > now {
                return;
            }
            self.timers.pop_first();
            if let Some(wait) = self.waits.get_mut(&id) {
                wait.end(Polled::DeadlinePassed);
            }
        }
    }
}

impl Wait {
    /// Ends the wait, unless it is over.
    fn end(&mut self, polled: Polled) {
        if self.polled.is_none() {
            self.polled = Some(polled);
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }
}
