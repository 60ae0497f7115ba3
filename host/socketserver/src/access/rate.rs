//! How many clients come in a second, over all: xinetd's `cps`.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// Counts the clients of a second, which begins with the first of them. One too
/// many, and there is a pause.
#[derive(Debug)]
pub(super) struct Rate {
    most: u32,
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When this second began, and how many came in it.
    second: Option<(Instant, u32)>,
    paused_until: Option<Instant>,
}

impl Rate {
    pub(super) fn new(most: u32, pause: Duration) -> Self {
        Rate { most, pause, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one may come now. If not, the pause begins, or goes on.
    pub(super) fn admit(&self, now: Instant) -> bool {
        let mut state = self.state();
        if state.paused_until.is_some_and(|until| now < until) {
            return false;
        }
        let lasts = |since: Instant| now.saturating_duration_since(since) < SECOND;
        let (since, count) = state.second.filter(|(at, _)| lasts(*at)).unwrap_or((now, 0));
        if count >= self.most {
            *state = State { second: None, paused_until: now.checked_add(self.pause) };
            return false;
        }
        state.second = Some((since, count + 1));
        true
    }

    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.state().paused_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_in_a_second_and_then_a_pause() {
        let rate = Rate::new(3, Duration::from_secs(10));
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert!(
            [0, 500, 999].map(|millis| rate.admit(at(millis))).iter().all(|admitted| *admitted)
        );
        // The next second begins with the next client.
        assert!([1000, 1001, 1002].map(|millis| rate.admit(at(millis))).iter().all(|ok| *ok));
        assert_eq!(rate.paused_until(), None);
        assert!(!rate.admit(at(1999)));
        assert_eq!(rate.paused_until(), Some(at(11_999)));
        // Whoever comes in the pause does not make it longer.
        assert!(!rate.admit(at(11_998)));
        assert_eq!(rate.paused_until(), Some(at(11_999)));
        assert!([11_999, 12_000, 12_001].map(|millis| rate.admit(at(millis))).iter().all(|ok| *ok));
        assert!(!rate.admit(at(12_002)));
    }
}
