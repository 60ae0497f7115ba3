//! The earliest times at which the clients in a queue can have arrived.
//!
//! The kernel does not report when a connection was made or a datagram came. A client
//! may have waited for a permit, or because the loop was busy with a request. But
//! all clients in a queue arrived after the queue was last seen empty.

use std::fs;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::sockopt::socket_recv_buffer_size;

use crate::address::{AddressFamily, SocketType};
use crate::listen::listener::Listener;

/// The time between two looks of the loop from which on clients may have waited.
pub(crate) const LATE: Duration = Duration::from_millis(1);

/// The smallest overhead of a datagram in a receive buffer, in bytes.
const OVERHEAD: usize = 512;

/// The file with the number of datagrams that a Unix socket holds, and the number of most
/// systems, for processes that cannot read it.
const UNIX_QUEUE: (&str, usize) = ("/proc/sys/net/unix/max_dgram_qlen", 512);

/// The largest content of the queue of a listening socket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueLimits {
    /// The number of connections or datagrams.
    pub entries: usize,
    /// The bytes of datagrams, each counted as [`datagram_cost`](Self::datagram_cost).
    pub bytes: usize,
}

impl QueueLimits {
    pub(crate) fn of_listener(listener: &Listener) -> Self {
        static UNIX: OnceLock<usize> = OnceLock::new();
        let info = listener.info();
        match (info.socket_type, info.address_family) {
            // Linux accepts one more.
            (SocketType::Stream, _) => {
                let backlog = usize::try_from(info.request_queue_size).unwrap_or(usize::MAX);
                QueueLimits { entries: backlog.saturating_add(1), bytes: usize::MAX }
            }
            (SocketType::Dgram, AddressFamily::Unix) => {
                // Read once: a worker in a jail cannot read it.
                let entries = *UNIX.get_or_init(|| {
                    let text = fs::read_to_string(UNIX_QUEUE.0).ok();
                    text.and_then(|text| text.trim().parse().ok()).unwrap_or(UNIX_QUEUE.1)
                });
                QueueLimits { entries: entries.saturating_add(1), bytes: usize::MAX }
            }
            (SocketType::Dgram, AddressFamily::Inet | AddressFamily::Inet6) => {
                let bytes = socket_recv_buffer_size(listener.as_fd()).unwrap_or(0);
                // One datagram may be larger than the rest of the buffer.
                QueueLimits { entries: bytes / OVERHEAD + 1, bytes }
            }
        }
    }

    /// Returns the smallest number of bytes that a datagram of `length` takes in the queue.
    pub(crate) fn datagram_cost(length: usize) -> usize {
        length.saturating_add(OVERHEAD)
    }
}

/// The state of the queues of a server, as the loop has seen it.
#[derive(Debug)]
pub(crate) struct Arrivals(Mutex<State>);

#[derive(Debug)]
struct State {
    /// The time of the last look of the loop at the queues.
    last_look: Instant,
    /// Set while a queue may hold clients that arrived before that.
    late: bool,
    /// The number of threads that wait for clients: all queues were empty when they began,
    /// and the kernel wakes them.
    waiting: usize,
    queues: Vec<Queue>,
}

#[derive(Debug)]
struct Queue {
    capacity: usize,
    /// All clients in the queue arrived after this.
    earliest_arrival: Instant,
    /// The number of clients that were taken since `counted_from`. When it exceeds the
    /// capacity of the queue, all clients in the queue arrived after that time.
    taken: usize,
    counted_from: Instant,
}

impl Queue {
    fn record_empty(&mut self, now: Instant) {
        (self.earliest_arrival, self.counted_from, self.taken) = (now, now, 0);
    }
}

impl Arrivals {
    pub(crate) fn new(listeners: &[Listener]) -> Self {
        Arrivals::begin(listeners.iter().map(|listener| QueueLimits::of_listener(listener).entries))
    }

    fn begin(capacities: impl Iterator<Item = usize>) -> Self {
        let now = Instant::now();
        let queue =
            |capacity| Queue { capacity, earliest_arrival: now, taken: 0, counted_from: now };
        let queues = capacities.map(queue).collect();
        Arrivals(Mutex::new(State { last_look: now, late: false, waiting: 0, queues }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a look of the loop. Returns true if a queue may hold clients that arrived before
    /// the last look. Then the loop must look before it waits, so
    /// that [`record_look`](Self::record_look) learns which queues are empty.
    pub(crate) fn begin_look(&self, now: Instant) -> bool {
        let mut state = self.state();
        let is_long_ago = now.saturating_duration_since(state.last_look) >= LATE;
        state.late |= state.waiting == 0 && is_long_ago;
        state.late
    }

    /// Records that a thread begins to wait for clients, after it has looked.
    pub(crate) fn begin_wait(&self) {
        self.state().waiting += 1;
    }

    /// Records that a thread has waited for clients until now.
    pub(crate) fn end_wait(&self, now: Instant) {
        let mut state = self.state();
        state.waiting -= 1;
        state.last_look = state.last_look.max(now);
    }

    /// Records a look: `has_client` returns true for a queue that was not empty.
    pub(crate) fn record_look(&self, now: Instant, has_client: impl Fn(usize) -> bool) {
        let mut state = self.state();
        let State { last_look, late, queues, .. } = &mut *state;
        let mut all_empty = true;
        for (index, queue) in queues.iter_mut().enumerate() {
            let ready = has_client(index);
            all_empty &= !ready;
            // A loop that is not late has seen its clients arrive.
            if !ready || !*late {
                queue.record_empty(now);
            }
        }
        *late &= !all_empty;
        *last_look = (*last_look).max(now);
    }

    /// Records that a request was taken from the queue with this index, and returns the
    /// earliest time at which its client can have arrived.
    pub(crate) fn record_taken(&self, index: usize) -> Instant {
        let mut state = self.state();
        let last_look = state.last_look;
        let Some(queue) = state.queues.get_mut(index) else { return last_look };
        let earliest_arrival = queue.earliest_arrival;
        queue.taken += 1;
        if queue.taken > queue.capacity {
            queue.earliest_arrival = queue.counted_from;
            (queue.counted_from, queue.taken) = (last_look, 0);
        }
        earliest_arrival
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records a look at `now`, and takes a request from each queue that is `ready`.
    fn round<const N: usize>(
        arrivals: &Arrivals,
        now: Instant,
        ready: [bool; N],
    ) -> (bool, Vec<Instant>) {
        let late = arrivals.begin_look(now);
        arrivals.record_look(now, |index| ready[index]);
        let ready = (0..N).filter(|index| ready[*index]);
        (late, ready.map(|index| arrivals.record_taken(index)).collect())
    }

    #[test]
    fn a_client_that_waited_for_a_busy_loop_may_have_arrived_when_that_began() {
        let arrivals = Arrivals::begin([10, 10].into_iter());
        let start = arrivals.state().last_look;
        let at = |micros| start + Duration::from_micros(micros);
        // While the loop looks often, clients have just arrived.
        assert_eq!(round(&arrivals, at(900), [true, false]), (false, vec![at(900)]));
        assert_eq!(round(&arrivals, at(1800), [true, true]), (false, vec![at(1800); 2]));
        // A request took a second.
        let second = 1_001_800;
        assert_eq!(round(&arrivals, at(second), [true, true]), (true, vec![at(1800); 2]));
        // The second queue was empty in between, the first queue was not.
        assert_eq!(round(&arrivals, at(second + 10), [true, false]), (true, vec![at(1800)]));
        let (late, arrivals_of_clients) = round(&arrivals, at(second + 20), [true, true]);
        assert_eq!((late, arrivals_of_clients), (true, vec![at(1800), at(second + 10)]));
        assert_eq!(round(&arrivals, at(second + 30), [false, false]), (true, vec![]));
        assert_eq!(round(&arrivals, at(second + 40), [true, true]).1, [at(second + 40); 2]);
    }

    #[test]
    fn in_a_queue_that_is_never_empty_clients_arrived_after_as_many_as_it_holds() {
        let arrivals = Arrivals::begin([10].into_iter());
        let start = arrivals.state().last_look;
        let at = |seconds| start + Duration::from_secs(seconds);
        let arrivals_of_clients: Vec<Instant> =
            (1..=40).map(|second| round(&arrivals, at(second), [true]).1[0]).collect();
        assert_eq!(arrivals_of_clients[..11], [start; 11]);
        // Clients that arrived after the 11th was taken may have waited for 22 seconds.
        assert_eq!(arrivals_of_clients[22..33], [at(11); 11]);
        for (second, arrivals_of_clients) in (1..).zip(&arrivals_of_clients) {
            assert!(*arrivals_of_clients + Duration::from_secs(22) >= at(second), "{second}");
        }
    }
}
