//! The post at which threads take requests themselves.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::thread;

use rustix::process::{Resource, getrlimit};

use super::job::Job;

/// Returns the largest number of leaders: as many as there are processors. An epoll for each
/// takes a part of the descriptors that [`Capacity`](crate::Capacity) keeps in reserve. The
/// kernel is asked once, because a worker in a jail cannot ask.
pub(crate) fn max_leaders() -> usize {
    static MAX_LEADERS: OnceLock<usize> = OnceLock::new();
    *MAX_LEADERS.get_or_init(|| {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let descriptors = getrlimit(Resource::Nofile).current;
        let descriptors = descriptors.and_then(|limit| usize::try_from(limit).ok());
        processors.min(descriptors.map_or(usize::MAX, |limit| (limit / 16).max(1)))
    })
}

/// The time for which a thread leads: until the leaders of its time were all busy for too
/// long, and others take their places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Term(u64);

impl Term {
    pub(crate) fn next(self) -> Term {
        Term(self.0.wrapping_add(1))
    }
}

/// The leadership of a thread has ended.
#[derive(Debug)]
pub(crate) struct SteppedDown;

/// The place of the leaders: threads that wait for a client, take its request, and run it.
/// It exists while the loop of the server runs.
pub(crate) trait Post: Send + Sync {
    /// Makes the current thread a leader. Returns `None` if there are enough, or the loop does
    /// not let threads take requests now.
    fn promote(&self) -> Option<Term>;

    /// Ends the leadership of a thread.
    fn step_down(&self, term: Term);

    /// Waits for a request and takes it. Returns `None` if the thread must not lead any
    /// longer: it has stepped down.
    fn next_request(&self, term: Term) -> Option<Job>;

    /// Takes a request, if there is one, without waiting. `was_woken` says that the last wait ended
    /// for a client, perhaps.
    fn take_request(&self, term: Term, was_woken: bool) -> Result<Option<Job>, SteppedDown>;

    /// Has the epoll of a thread that runs tasks report [`CLIENTS`](crate::reactor::CLIENTS), until
    /// the post is closed or [`forget_clients`](Self::forget_clients) is called.
    fn watch_clients(&self, epoll: &Arc<OwnedFd>) -> io::Result<()>;

    /// Has the epoll report no clients any longer.
    fn forget_clients(&self, epoll: &Arc<OwnedFd>);

    /// Counts a leader among those that wait, before it waits in its own epoll. Returns false if
    /// its term is over.
    fn begin_wait(&self, term: Term) -> bool;

    /// Ends the wait of a leader.
    fn end_wait(&self);
}
