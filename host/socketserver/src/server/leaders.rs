//! The leaders of a post: how many there are, which of them wait, and what that leaves to
//! the thread that serves.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::concurrency::Term;
use crate::listen::arrivals::LATE;

/// The leaders of one run of the loop.
pub(super) struct Leaders(Mutex<State>);

struct State {
    /// The largest number of leaders.
    most: usize,
    term: Term,
    /// The number of leaders of this term.
    count: usize,
    /// The number of leaders that wait for clients. They are of this term.
    waiting: usize,
    /// The last time at which a leader looked for clients, or was woken for one.
    last_look: Instant,
    /// The end of a pause in which no request is taken.
    paused_until: Option<Instant>,
    /// Set while the thread that serves relies on the leaders that wait.
    server_sleeps: bool,
}

/// The part of the thread that serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watch {
    /// It takes requests.
    Take,
    /// It watches again at this time.
    Until(Instant),
    /// It sleeps until it is woken.
    Sleep,
}

impl Leaders {
    /// Returns the leaders of a post that may have at most `most`.
    pub(super) fn new(most: usize) -> Self {
        Leaders(Mutex::new(State {
            most,
            term: Term::default(),
            count: 0,
            waiting: 0,
            last_look: Instant::now(),
            paused_until: None,
            server_sleeps: false,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the largest number of leaders.
    pub(super) fn most(&self) -> usize {
        self.state().most
    }

    /// Returns the term of one more leader, which looks for clients next; `None` if there are
    /// enough, or there is a pause.
    pub(super) fn promote(&self, now: Instant) -> Option<Term> {
        let mut state = self.state();
        if state.count == state.most || state.paused_until.is_some() {
            return None;
        }
        state.count += 1;
        state.last_look = state.last_look.max(now);
        Some(state.term)
    }

    /// Ends the leadership of a thread. Returns true if there is no leader now, which the
    /// thread that serves must learn.
    pub(super) fn step_down(&self, term: Term) -> bool {
        let mut state = self.state();
        if state.term != term {
            return false;
        }
        state.count -= 1;
        state.server_sleeps &= state.count > 0;
        state.count == 0
    }

    /// Returns true if a leader may look for clients.
    pub(super) fn begin_look(&self, term: Term, now: Instant) -> bool {
        let mut state = self.state();
        let may_look = state.term == term && state.paused_until.is_none();
        if may_look {
            state.last_look = state.last_look.max(now);
        }
        may_look
    }

    /// Returns true if a leader may wait, and counts it among those that do; false if its term
    /// is over.
    pub(super) fn begin_wait(&self, term: Term) -> bool {
        let mut state = self.state();
        let may_wait = state.term == term;
        state.waiting += usize::from(may_wait);
        may_wait
    }

    /// Ends the wait of a leader. Returns true if the thread that serves must be woken,
    /// because no leader waits any longer.
    pub(super) fn end_wait(&self, now: Instant) -> bool {
        let mut state = self.state();
        state.waiting -= 1;
        state.last_look = state.last_look.max(now);
        state.waiting == 0 && std::mem::take(&mut state.server_sleeps)
    }

    /// Returns the part of the thread that serves, at this time. Ends the term of the leaders
    /// if none has looked for clients for [`LATE`], and none waits: all of them run
    /// requests that take long.
    pub(super) fn watch(&self, now: Instant) -> Watch {
        let mut state = self.state();
        if state.count == 0 {
            return Watch::Take;
        }
        // While clients come often, a wake-up each time that no leader waits costs more than
        // one in this time.
        if let Some(late) = state.last_look.checked_add(LATE).filter(|late| *late > now) {
            return Watch::Until(late);
        }
        if state.waiting > 0 {
            state.server_sleeps = true;
            return Watch::Sleep;
        }
        state.term = state.term.next();
        state.count = 0;
        Watch::Take
    }

    /// Returns true if a leader waits for clients, or was woken for one just now.
    pub(super) fn have_one_waiting(&self) -> bool {
        self.state().waiting > 0
    }

    /// Lets no leader take a request before this time.
    pub(super) fn pause_until(&self, end: Option<Instant>) {
        self.state().paused_until = end;
    }

    /// Ends the pause if its time is over. Returns true if it has ended now.
    pub(super) fn end_pause(&self, now: Instant) -> bool {
        self.state().paused_until.take_if(|end| *end <= now).is_some()
    }

    /// Returns the end of the pause, if there is one.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.state().paused_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaders(most: usize) -> (Leaders, Instant) {
        let leaders = Leaders::new(most);
        let start = leaders.state().last_look;
        (leaders, start)
    }

    #[test]
    fn the_thread_that_serves_takes_requests_if_there_is_no_leader() {
        let (leaders, now) = leaders(2);
        assert_eq!(leaders.watch(now), Watch::Take);
        let term = leaders.promote(now).unwrap();
        assert_eq!(leaders.watch(now), Watch::Until(now + LATE));
        assert!(leaders.step_down(term));
        assert_eq!(leaders.watch(now), Watch::Take);
    }

    #[test]
    fn the_thread_that_serves_sleeps_while_a_leader_waits_and_is_woken_by_the_last() {
        let (leaders, now) = leaders(2);
        let terms = [leaders.promote(now).unwrap(), leaders.promote(now).unwrap()];
        assert_eq!(leaders.promote(now), None);
        assert_eq!(terms.map(|term| leaders.begin_wait(term)), [true, true]);
        let late = now + LATE;
        assert_eq!(leaders.watch(late), Watch::Sleep);
        let wakes = terms.map(|_| leaders.end_wait(late));
        assert_eq!(wakes, [false, true]);
        assert_eq!(leaders.watch(late), Watch::Until(late + LATE));
    }

    #[test]
    fn leaders_that_are_all_busy_for_long_are_replaced() {
        let (leaders, now) = leaders(1);
        let old = leaders.promote(now).unwrap();
        assert_eq!(leaders.watch(now + LATE / 2), Watch::Until(now + LATE));
        assert_eq!(leaders.watch(now + LATE), Watch::Take);
        let new = leaders.promote(now + LATE).unwrap();
        // The old one takes no event from the new one, and its end is none of the new term.
        assert!(!leaders.begin_look(old, now + LATE));
        assert!(!leaders.begin_wait(old));
        assert!(!leaders.step_down(old));
        assert!(leaders.begin_look(new, now + LATE));
        assert!(leaders.begin_wait(new));
    }

    #[test]
    fn in_a_pause_no_leader_looks() {
        let (leaders, now) = leaders(2);
        let term = leaders.promote(now).unwrap();
        let end = now + LATE;
        leaders.pause_until(Some(end));
        assert!(!leaders.begin_look(term, now) && leaders.promote(now).is_none());
        assert!(!leaders.end_pause(now));
        assert_eq!(leaders.paused_until(), Some(end));
        assert!(leaders.end_pause(end) && !leaders.end_pause(end));
        assert!(leaders.begin_look(term, end));
    }
}
