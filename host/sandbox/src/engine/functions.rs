//! Functions that were compiled before, by which a component compiles faster.
//!
//! Components of one language have most of their functions in common: two handlers in Python
//! differ in their data only. The compiler finds a function by a digest of all that it is made
//! of, so a component gets no other code from here than the compiler would generate for it.
//! The functions are those of a component that the user's own tools have made. No handler that
//! is compiled adds any.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use wasmtime::CacheStore;

/// The beginning of the wire format. A key and its function follow, each after its length.
const HEADER: &[u8; 16] = b"wasm-socketfunc\n";
const LENGTH: usize = 4;

/// A set of compiled functions.
#[derive(Debug, Default)]
pub struct Functions {
    bytes: Vec<u8>,
    /// The place of each function in `bytes`, by its key.
    places: HashMap<Vec<u8>, Range<usize>>,
    new: Option<Mutex<New>>,
}

/// The functions that were used or added since.
#[derive(Debug, Default)]
struct New {
    functions: HashMap<Vec<u8>, Vec<u8>>,
    is_changed: bool,
}

impl Functions {
    /// The most bytes of a set: 512 MiB. Those of CPython have 27 MB.
    pub const MAX: u64 = 512 << 20;

    /// Reads a set that [`to_bytes`](Self::to_bytes) has returned. The functions after a damaged
    /// one are left out.
    pub fn new(bytes: Vec<u8>) -> Self {
        let mut places = HashMap::new();
        let mut at = if bytes.starts_with(HEADER) { HEADER.len() } else { bytes.len() };
        while let Some((key, place)) = entry(&bytes, at) {
            at = place.end;
            places.insert(bytes[key].to_vec(), place);
        }
        Functions { bytes, places, new: None }
    }

    /// Keeps the functions that are compiled from now on.
    #[must_use]
    pub fn recording(self) -> Self {
        Functions { new: Some(Mutex::default()), ..self }
    }

    /// Returns true if a function was compiled that was not there.
    pub(crate) fn is_changed(&self) -> bool {
        let new = self.new.as_ref().map(|new| new.lock().unwrap_or_else(PoisonError::into_inner));
        new.is_some_and(|new| new.is_changed)
    }

    /// Returns the functions of the components that were compiled since
    /// [`recording`](Self::recording), or `None` if all of them were there before, or were
    /// found nowhere.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let new = self.new.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = HEADER.to_vec();
        for (key, function) in &new.functions {
            for part in [key, function] {
                bytes.extend(u32::try_from(part.len()).ok()?.to_le_bytes());
                bytes.extend(part);
            }
        }
        (new.is_changed && bytes.len() as u64 <= Functions::MAX).then_some(bytes)
    }

    fn keep(&self, key: &[u8], function: &[u8], is_new: bool) {
        if let Some(new) = &self.new {
            let mut new = new.lock().unwrap_or_else(PoisonError::into_inner);
            new.functions.insert(key.to_vec(), function.to_vec());
            new.is_changed |= is_new;
        }
    }
}

impl CacheStore for Functions {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let function = &self.bytes[self.places.get(key)?.clone()];
        self.keep(key, function, false);
        Some(function.into())
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        self.keep(key, &value, true);
        self.new.is_some()
    }
}

/// Returns the places of the key and of the function that begin at `at`.
fn entry(bytes: &[u8], at: usize) -> Option<(Range<usize>, Range<usize>)> {
    let key = part(bytes, at)?;
    let function = part(bytes, key.end)?;
    Some((key, function))
}

fn part(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let begin = at.checked_add(LENGTH)?;
    let length = u32::from_le_bytes(bytes.get(at..begin)?.try_into().ok()?);
    let end = begin.checked_add(usize::try_from(length).ok()?)?;
    (end <= bytes.len()).then_some(begin..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded() -> Functions {
        let functions = Functions::default().recording();
        assert!(functions.insert(b"a", b"first".to_vec()));
        assert!(functions.insert(b"bc", Vec::new()));
        functions
    }

    #[test]
    fn functions_are_found_by_their_keys() {
        let functions = Functions::new(recorded().to_bytes().unwrap());
        assert_eq!(functions.get(b"a").unwrap(), b"first".as_slice());
        assert_eq!(functions.get(b"bc").unwrap(), b"".as_slice());
        assert_eq!(functions.get(b"b"), None);
    }

    #[test]
    fn a_set_that_does_not_record_keeps_nothing() {
        let functions = Functions::new(recorded().to_bytes().unwrap());
        assert!(!functions.insert(b"new", b"function".to_vec()));
        assert_eq!((functions.get(b"new"), functions.to_bytes()), (None, None));
    }

    #[test]
    fn a_set_is_written_anew_only_if_a_function_was_missing() {
        let functions = Functions::new(recorded().to_bytes().unwrap()).recording();
        functions.get(b"a");
        assert_eq!(functions.to_bytes(), None);
        functions.insert(b"new", b"function".to_vec());
        let functions = Functions::new(functions.to_bytes().unwrap());
        // What was not used is gone.
        assert_eq!(functions.get(b"bc"), None);
        assert_eq!(functions.get(b"a").unwrap(), b"first".as_slice());
        assert_eq!(functions.get(b"new").unwrap(), b"function".as_slice());
    }

    #[test]
    fn a_set_that_is_cut_off_or_forged_has_the_functions_before_the_damage() {
        let whole = recorded().to_bytes().unwrap();
        for length in 0..whole.len() {
            let functions = Functions::new(whole[..length].to_vec());
            assert!(functions.places.len() < 2);
        }
        let mut forged = whole.clone();
        forged[HEADER.len()..HEADER.len() + LENGTH].fill(0xff);
        assert!(Functions::new(forged).places.is_empty());
        assert!(Functions::new(whole[1..].to_vec()).places.is_empty());
    }
}
