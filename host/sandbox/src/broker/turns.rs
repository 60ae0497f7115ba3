//! The turns of calls on one connection.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The turns of calls on one connection. Only one call at a time uses it.
#[derive(Debug)]
pub(super) struct Turns {
    /// `None` during a turn.
    answers: Mutex<Option<Answers>>,
    ended: Condvar,
}

/// The answers on a connection.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// The last answer. Kept to be allocated once.
    pub answer: Vec<u8>,
    /// The number of calls whose answers have not come.
    pub missing: usize,
}

/// One turn. The next one begins when it is dropped.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    answers: Answers,
}

impl Default for Turns {
    fn default() -> Self {
        Turns { answers: Mutex::new(Some(Answers::default())), ended: Condvar::new() }
    }
}

impl Turns {
    /// Waits for a turn. Returns `None` if it has not come by `end`.
    pub(super) fn take(&self, end: Instant) -> Option<Turn<'_>> {
        let left = end.saturating_duration_since(Instant::now());
        let is_taken = |answers: &mut Option<Answers>| answers.is_none();
        let waited = self.ended.wait_timeout_while(self.lock(), left, is_taken);
        let (mut free, _) = waited.unwrap_or_else(PoisonError::into_inner);
        free.take().map(|answers| Turn { turns: self, answers })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Answers>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::ops::Deref for Turn<'_> {
    type Target = Answers;

    fn deref(&self) -> &Answers {
        &self.answers
    }
}

impl std::ops::DerefMut for Turn<'_> {
    fn deref_mut(&mut self) -> &mut Answers {
        &mut self.answers
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.turns.lock() = Some(std::mem::take(&mut self.answers));
        self.turns.ended.notify_one();
    }
}
