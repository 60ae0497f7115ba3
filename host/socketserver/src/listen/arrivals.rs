//! When the clients in a queue came, as far as that can be known.
//!
//! The kernel does not tell when a connection was made or a datagram came, and it
//! may have waited: for a place, or because the loop was busy with a request. But
//! all clients in a queue came after it was last seen empty.

use std::fs;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::sockopt::socket_recv_buffer_size;

use crate::address::{AddressFamily, SocketType};
use crate::listen::listener::Listener;

/// A loop that looks at its sockets less often than this lets clients wait.
const LATE: Duration = Duration::from_millis(1);

/// What the kernel takes of a receive buffer for a datagram beside its bytes, at the
/// least.
const OVERHEAD: usize = 512;

/// Where to read how many datagrams a Unix socket holds, and what most systems
/// have where that cannot be read.
const UNIX_QUEUE: (&str, usize) = ("/proc/sys/net/unix/max_dgram_qlen", 512);

/// The most that the kernel holds in the queue of a listening socket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueLimits {
    /// The number of connections or datagrams.
    pub entries: usize,
    /// The bytes of datagrams, each with what [`datagram_cost`](Self::datagram_cost) adds.
    pub bytes: usize,
}

impl QueueLimits {
    pub(crate) fn of_listener(listener: &Listener) -> Self {
        static UNIX: OnceLock<usize> = OnceLock::new();
        let info = listener.info();
        match (info.socket_type, info.address_family) {
            // Linux lets one more in.
            (SocketType::Stream, _) => {
                let backlog = usize::try_from(info.request_queue_size).unwrap_or(usize::MAX);
                QueueLimits { entries: backlog.saturating_add(1), bytes: usize::MAX }
            }
            (SocketType::Dgram, AddressFamily::Unix) => {
                // Read once: a worker in a jail could not.
                let entries = *UNIX.get_or_init(|| {
                    let text = fs::read_to_string(UNIX_QUEUE.0).ok();
                    text.and_then(|text| text.trim().parse().ok()).unwrap_or(UNIX_QUEUE.1)
                });
                QueueLimits { entries: entries.saturating_add(1), bytes: usize::MAX }
            }
            (SocketType::Dgram, AddressFamily::Inet | AddressFamily::Inet6) => {
                let bytes = socket_recv_buffer_size(listener.as_fd()).unwrap_or(0);
                // One may be larger than what is left of the buffer.
                QueueLimits { entries: bytes / OVERHEAD + 1, bytes }
            }
        }
    }

    /// Returns what a request with that many bytes takes of the queue, at the least.
    pub(crate) fn datagram_cost(data: usize) -> usize {
        data.saturating_add(OVERHEAD)
    }
}

/// What is known of the queues of a server.
#[derive(Debug)]
pub(crate) struct Arrivals(Mutex<State>);

#[derive(Debug)]
struct State {
    /// When the loop last looked at the queues.
    looked: Instant,
    /// Set while a queue may hold clients that came before that.
    late: bool,
    queues: Vec<Queue>,
}

#[derive(Debug)]
struct Queue {
    capacity: usize,
    /// All clients in it came after this.
    came_after: Instant,
    /// The number of clients that were taken since `counted_from`. When they are more
    /// than the queue holds, all clients in it came after that time.
    taken: usize,
    counted_from: Instant,
}

impl Queue {
    fn is_empty_at(&mut self, now: Instant) {
        (self.came_after, self.counted_from, self.taken) = (now, now, 0);
    }
}

impl Arrivals {
    pub(crate) fn new(listeners: &[Listener]) -> Self {
        Arrivals::begin(listeners.iter().map(|listener| QueueLimits::of_listener(listener).entries))
    }

    fn begin(capacities: impl Iterator<Item = usize>) -> Self {
        let now = Instant::now();
        let queue = |capacity| Queue { capacity, came_after: now, taken: 0, counted_from: now };
        let queues = capacities.map(queue).collect();
        Arrivals(Mutex::new(State { looked: now, late: false, queues }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether a queue may hold clients that came before the last look of the
    /// loop, which is about to look again. Then the loop must look before it waits, so
    /// that [`record_look`](Self::record_look) is told which queues were empty.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        let mut state = self.state();
        state.late |= now.saturating_duration_since(state.looked) >= LATE;
        state.late
    }

    /// Takes note of a look: `is_ready` tells which queues were not empty.
    pub(crate) fn record_look(&self, now: Instant, is_ready: impl Fn(usize) -> bool) {
        let mut state = self.state();
        let State { looked, late, queues } = &mut *state;
        let mut all_empty = true;
        for (place, queue) in queues.iter_mut().enumerate() {
            let ready = is_ready(place);
            all_empty &= !ready;
            // A loop that is not late has seen its clients come.
            if !ready || !*late {
                queue.is_empty_at(now);
            }
        }
        *late &= !all_empty;
        *looked = now;
    }

    /// Takes note of a request that was taken from a queue, and returns a time after
    /// which its client came.
    pub(crate) fn record_taken(&self, place: usize) -> Instant {
        let mut state = self.state();
        let looked = state.looked;
        let Some(queue) = state.queues.get_mut(place) else { return looked };
        let came_after = queue.came_after;
        queue.taken += 1;
        if queue.taken > queue.capacity {
            (queue.came_after, queue.counted_from, queue.taken) = (queue.counted_from, looked, 0);
        }
        came_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at `now`, and takes a request from each queue that is `ready`.
    fn round<const N: usize>(
        arrivals: &Arrivals,
        now: Instant,
        ready: [bool; N],
    ) -> (bool, Vec<Instant>) {
        let late = arrivals.is_late(now);
        arrivals.record_look(now, |place| ready[place]);
        let ready = (0..N).filter(|place| ready[*place]);
        (late, ready.map(|place| arrivals.record_taken(place)).collect())
    }

    #[test]
    fn who_waits_while_the_loop_is_busy_may_have_come_at_its_beginning() {
        let arrivals = Arrivals::begin([10, 10].into_iter());
        let start = arrivals.state().looked;
        let at = |micros| start + Duration::from_micros(micros);
        // While it looks often, clients have just come.
        assert_eq!(round(&arrivals, at(900), [true, false]), (false, vec![at(900)]));
        assert_eq!(round(&arrivals, at(1800), [true, true]), (false, vec![at(1800); 2]));
        // A request took a second.
        let second = 1_001_800;
        assert_eq!(round(&arrivals, at(second), [true, true]), (true, vec![at(1800); 2]));
        // The second queue was empty in between, the first was not.
        assert_eq!(round(&arrivals, at(second + 10), [true, false]), (true, vec![at(1800)]));
        let (late, came_after) = round(&arrivals, at(second + 20), [true, true]);
        assert_eq!((late, came_after), (true, vec![at(1800), at(second + 10)]));
        assert_eq!(round(&arrivals, at(second + 30), [false, false]), (true, vec![]));
        assert_eq!(round(&arrivals, at(second + 40), [true, true]).1, [at(second + 40); 2]);
    }

    #[test]
    fn who_is_in_a_queue_that_is_never_empty_came_after_those_that_it_cannot_hold() {
        let arrivals = Arrivals::begin([10].into_iter());
        let start = arrivals.state().looked;
        let at = |seconds| start + Duration::from_secs(seconds);
        let came_after: Vec<Instant> =
            (1..=40).map(|second| round(&arrivals, at(second), [true]).1[0]).collect();
        assert_eq!(came_after[..11], [start; 11]);
        // Those that came after the 11th was taken may have waited for 22 seconds.
        assert_eq!(came_after[22..33], [at(11); 11]);
        for (second, came_after) in (1..).zip(&came_after) {
            assert!(*came_after + Duration::from_secs(22) >= at(second), "{second}");
        }
    }
}
