//! Holding an instance to its memory.

use wasmtime::{ResourceLimiter, Result};

use crate::policy::{MAX_CORE_INSTANCES, MAX_MEMORIES, MAX_TABLE_ELEMENTS, MAX_TABLES};

/// What an entry of a table takes on the host.
const TABLE_ELEMENT: usize = size_of::<usize>();

/// The memories and tables of one Store, counted together.
#[derive(Debug)]
pub(crate) struct Limits {
    memory: usize,
    used: usize,
    refused: Option<usize>,
}

impl Limits {
    /// At most `memory` bytes.
    pub(crate) fn new(memory: usize) -> Self {
        Limits { memory, used: 0, refused: None }
    }

    /// The limit in bytes, and how many the guest would have had with what it
    /// was last refused.
    pub(crate) fn refused(&self) -> Option<(usize, usize)> {
        self.refused.map(|wanted| (self.memory, wanted))
    }

    fn grow(&mut self, by: usize) -> bool {
        let wanted = self.used.saturating_add(by);
        if wanted > self.memory {
            self.refused = Some(wanted);
            return false;
        }
        self.used = wanted;
        true
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool> {
        Ok(self.grow(desired.saturating_sub(current)))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool> {
        if desired > MAX_TABLE_ELEMENTS {
            self.refused = Some(desired.saturating_mul(TABLE_ELEMENT));
            return Ok(false);
        }
        Ok(self.grow(desired.saturating_sub(current).saturating_mul(TABLE_ELEMENT)))
    }

    fn instances(&self) -> usize {
        MAX_CORE_INSTANCES as usize
    }

    fn tables(&self) -> usize {
        MAX_TABLES as usize
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_share_one_limit() {
        let mut limits = Limits::new(1000);
        assert!(limits.memory_growing(0, 600, None).unwrap());
        assert!(limits.table_growing(0, 50, None).unwrap());
        assert!(!limits.memory_growing(600, 601, None).unwrap());
        assert_eq!(limits.refused(), Some((1000, 1001)));
        assert!(!limits.memory_growing(0, usize::MAX, None).unwrap());
    }

    #[test]
    fn no_table_is_larger_than_the_pool_has_room_for() {
        let mut limits = Limits::new(usize::MAX);
        assert!(limits.table_growing(0, MAX_TABLE_ELEMENTS, None).unwrap());
        assert!(!limits.table_growing(0, MAX_TABLE_ELEMENTS + 1, None).unwrap());
    }
}
