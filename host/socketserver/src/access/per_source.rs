//! The limit on the requests that each source has in flight.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::source::Source;

/// The number of requests in flight of each source that has any. The table has at most
/// as many entries as there are requests.
#[derive(Debug)]
pub(super) struct PerSource {
    max_requests: u32,
    in_flight: Mutex<HashMap<Source, u32>>,
}

/// The permit of a request. Its drop makes it free again.
#[derive(Debug)]
pub(super) struct Permit {
    table: Arc<PerSource>,
    source: Source,
}

impl PerSource {
    pub(super) fn new(max_requests: u32) -> Arc<Self> {
        Arc::new(PerSource { max_requests, in_flight: Mutex::default() })
    }

    fn in_flight(&self) -> MutexGuard<'_, HashMap<Source, u32>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a permit for a request of `source`; `None` if the source has used up its
    /// permits.
    pub(super) fn acquire(self: &Arc<Self>, source: Source) -> Option<Permit> {
        let mut in_flight = self.in_flight();
        match in_flight.entry(source) {
            Entry::Occupied(count) if *count.get() >= self.max_requests => return None,
            Entry::Occupied(mut count) => *count.get_mut() += 1,
            Entry::Vacant(_) if self.max_requests == 0 => return None,
            Entry::Vacant(none) => drop(none.insert(1)),
        }
        Some(Permit { table: Arc::clone(self), source })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.table.in_flight().entry(self.source) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_has_its_permits_and_leaves_no_entry_behind() {
        let table = PerSource::new(2);
        let (one, other) = (Source::User(1), Source::User(2));
        let first = table.acquire(one).unwrap();
        let second = table.acquire(one).unwrap();
        assert!(table.acquire(one).is_none());
        let third = table.acquire(other).unwrap();
        drop(first);
        let fourth = table.acquire(one).unwrap();
        assert!(table.acquire(one).is_none());
        drop((second, third, fourth));
        assert!(table.in_flight().is_empty());
    }

    #[test]
    fn a_limit_of_0_admits_no_request() {
        assert!(PerSource::new(0).acquire(Source::User(1)).is_none());
    }
}
