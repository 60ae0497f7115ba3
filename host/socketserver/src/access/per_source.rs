//! How many requests each source has in flight.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::source::Source;

/// The requests in flight of each source that has some: as many entries as there
/// are requests, at most.
#[derive(Debug)]
pub(super) struct PerSource {
    most: u32,
    in_flight: Mutex<HashMap<Source, u32>>,
}

/// The place of a request. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    table: Arc<PerSource>,
    source: Source,
}

impl PerSource {
    pub(super) fn new(most: u32) -> Arc<Self> {
        Arc::new(PerSource { most, in_flight: Mutex::default() })
    }

    fn in_flight(&self) -> MutexGuard<'_, HashMap<Source, u32>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a request of `source`; `None` if it has them all.
    pub(super) fn take(self: &Arc<Self>, source: Source) -> Option<Place> {
        let mut in_flight = self.in_flight();
        match in_flight.entry(source) {
            Entry::Occupied(count) if *count.get() >= self.most => return None,
            Entry::Occupied(mut count) => *count.get_mut() += 1,
            Entry::Vacant(_) if self.most == 0 => return None,
            Entry::Vacant(none) => drop(none.insert(1)),
        }
        Some(Place { table: Arc::clone(self), source })
    }
}

impl Drop for Place {
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
    fn each_source_has_so_many_places_and_nothing_is_left_of_it() {
        let table = PerSource::new(2);
        let (one, other) = (Source::User(1), Source::User(2));
        let first = table.take(one).unwrap();
        let second = table.take(one).unwrap();
        assert!(table.take(one).is_none());
        let third = table.take(other).unwrap();
        drop(first);
        let fourth = table.take(one).unwrap();
        assert!(table.take(one).is_none());
        drop((second, third, fourth));
        assert!(table.in_flight().is_empty());
    }

    #[test]
    fn none_is_none() {
        assert!(PerSource::new(0).take(Source::User(1)).is_none());
    }
}
