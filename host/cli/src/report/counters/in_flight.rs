//! The table of requests in flight: who they are, and since when.

use std::cell::Cell;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use socketserver::{Address, Request, shared_data};

use super::Counters;
use super::numbers::{get, replace, set};

/// The requests that the table has room for. It does not have those beyond.
const ROOM: usize = 512;

/// The most places that a request looks for a free one.
const ATTEMPTS: u64 = 4;

/// The most requests that are shown.
const MAX_SHOWN: usize = 50;

/// The bit of a ticket whose place is not filled yet.
const FILLING: u64 = 1 << 63;

thread_local! {
    /// The place at which the next request of this thread looks first: mostly that of its last
    /// request. So threads take neither places nor cache lines from each other.
    static NEXT_PLACE: Cell<Option<u64>> = const { Cell::new(None) };
}

shared_data! {
    /// The table that processes share.
    #[derive(Debug)]
    pub struct SharedTable {
        /// The place at which the next thread begins.
        next: AtomicU64,
        places: [Place; ROOM],
    }
}

shared_data! {
    /// A request in flight.
    #[derive(Debug)]
    struct Place {
        /// Even if the place is free. Each request adds one when it comes and when it ends, so no
        /// two of them have the same.
        ticket: AtomicU64,
        /// The time at which it began, in microseconds of the monotonic clock.
        begun: AtomicU64,
        /// The worker that has it, or 0.
        worker: AtomicU64,
        peer: SharedPeer,
    }
}

shared_data! {
    /// The address of a client.
    #[derive(Debug)]
    pub struct SharedPeer {
        /// 4 and 6 for IP addresses, 1 for a Unix socket; and the port in the upper bits.
        kind: AtomicU64,
        ip: [AtomicU64; 2],
    }
}

/// A request that is shown.
#[derive(Debug, Clone, Serialize)]
pub struct InFlight {
    /// The client.
    pub peer: String,
    /// The time since it began.
    pub microseconds: u64,
}

/// Frees the place of a request when it is dropped. Copies in other processes may be dropped too.
pub struct Tracked {
    counters: Arc<Counters>,
    place: usize,
    ticket: u64,
}

impl Drop for Tracked {
    fn drop(&mut self) {
        if let Some(place) = self.counters.shared.table.places.get(self.place) {
            replace(&place.ticket, self.ticket, end_of(self.ticket));
        }
    }
}

/// Returns the ticket of a place that the request with this one has left.
fn end_of(ticket: u64) -> u64 {
    (ticket & !FILLING).wrapping_add(1) & !FILLING
}

/// Returns true if the place of this ticket has a request.
fn is_taken(ticket: u64) -> bool {
    ticket % 2 == 1
}

impl SharedTable {
    /// Writes a request into a free place, if one is found soon.
    pub fn enter(
        counters: &Arc<Counters>,
        worker: u64,
        request: &Request,
        client: &Address,
    ) -> Option<Tracked> {
        let table = &counters.shared.table;
        let first = NEXT_PLACE.get().unwrap_or_else(|| table.next.fetch_add(1, Relaxed));
        for attempt in 0..ATTEMPTS {
            let number = first.wrapping_add(attempt);
            let index = usize::try_from(number % ROOM as u64).unwrap_or_default();
            let place = &table.places[index];
            let free = get(&place.ticket);
            let ticket = end_of(free);
            if !is_taken(free) && replace(&place.ticket, free, ticket | FILLING) {
                set(&place.begun, monotonic(request.begun()));
                set(&place.worker, worker);
                place.peer.write(client);
                replace(&place.ticket, ticket | FILLING, ticket);
                NEXT_PLACE.set(Some(number));
                return Some(Tracked { counters: Arc::clone(counters), place: index, ticket });
            }
        }
        NEXT_PLACE.set(Some(first.wrapping_add(ATTEMPTS)));
        None
    }

    /// Frees the places of a worker that has ended.
    pub fn remove_worker(&self, worker: u64) {
        for place in &self.places {
            let ticket = get(&place.ticket);
            if is_taken(ticket) && get(&place.worker) == worker {
                replace(&place.ticket, ticket, end_of(ticket));
            }
        }
    }

    /// Returns the requests that have been in flight for the longest time.
    pub fn oldest(&self) -> Vec<InFlight> {
        let now = now();
        let shown = |place: &Place| {
            let ticket = get(&place.ticket);
            let microseconds = now.saturating_sub(get(&place.begun));
            let found = InFlight { peer: place.peer.read(), microseconds };
            let is_whole =
                is_taken(ticket) && ticket & FILLING == 0 && get(&place.ticket) == ticket;
            is_whole.then_some(found)
        };
        let mut all: Vec<_> = self.places.iter().filter_map(shown).collect();
        all.sort_by_key(|found| std::cmp::Reverse(found.microseconds));
        all.truncate(MAX_SHOWN);
        all
    }
}

impl SharedPeer {
    /// Writes an address.
    pub fn write(&self, address: &Address) {
        let (kind, port, ip) = match address.to_socket_addr() {
            Some(address) => match address.ip() {
                IpAddr::V4(ip) => (4, address.port(), ip.to_ipv6_mapped().octets()),
                IpAddr::V6(ip) => (6, address.port(), ip.octets()),
            },
            None => (1, 0, [0; 16]),
        };
        let [high, low] = [0, 8]
            .map(|at| ip[at..at + 8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte)));
        set(&self.kind, u64::from(port) << 8 | kind);
        set(&self.ip[0], high);
        set(&self.ip[1], low);
    }

    /// Returns the address as text.
    pub fn read(&self) -> String {
        let (kind, [high, low]) = (get(&self.kind), [get(&self.ip[0]), get(&self.ip[1])]);
        let ip = Ipv6Addr::from(u128::from(high) << 64 | u128::from(low));
        let port = (kind >> 8) & 0xffff;
        match (kind & 0xff, ip.to_ipv4_mapped()) {
            (4, Some(ip)) => format!("{ip}:{port}"),
            (6, _) => format!("[{ip}]:{port}"),
            _ => "a Unix socket".to_owned(),
        }
    }
}

/// Returns an instant of the monotonic clock in microseconds. Its distance to another, whose number
/// is known, is not read from a clock.
fn monotonic(instant: Instant) -> u64 {
    static KNOWN: OnceLock<(Instant, u64)> = OnceLock::new();
    let (known, microseconds) = *KNOWN.get_or_init(|| (Instant::now(), now()));
    let distance = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    match instant.checked_duration_since(known) {
        Some(later) => microseconds.saturating_add(distance(later)),
        None => microseconds.saturating_sub(distance(known.duration_since(instant))),
    }
}

/// Returns the time of the monotonic clock in microseconds. All processes have the same.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let time = Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0));
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse::<std::net::SocketAddr>().unwrap().into()
    }

    #[test]
    fn a_request_is_in_the_table_until_its_guard_is_dropped() {
        let counters = Arc::new(Counters::new().unwrap());
        let request = Request::new(std::os::unix::net::UnixStream::pair().unwrap().0);
        let enter =
            |worker, text: &str| SharedTable::enter(&counters, worker, &request, &address(text));
        let first = enter(0, "192.0.2.1:50");
        let second = enter(7, "[2001:db8::1]:60");
        let peers = || -> Vec<String> {
            counters.shared.table.oldest().into_iter().map(|found| found.peer).collect()
        };
        let mut found = peers();
        found.sort();
        assert_eq!(found, ["192.0.2.1:50", "[2001:db8::1]:60"]);
        drop(first);
        assert_eq!(peers(), ["[2001:db8::1]:60"]);
        counters.shared.table.remove_worker(7);
        assert!(peers().is_empty());
        // The place may have another request when the guard is dropped.
        let all: Vec<_> = (0..2 * ROOM).map(|_| enter(0, "192.0.2.2:1")).collect();
        assert_eq!(all.iter().flatten().count(), ROOM);
        drop(second);
        assert_eq!(peers().len(), MAX_SHOWN);
        drop(all);
        assert!(peers().is_empty());
    }
}
