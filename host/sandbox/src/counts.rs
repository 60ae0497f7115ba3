//! What is counted that no error tells of.

use std::sync::Arc;

use socketserver::SharedCounters;

/// Which of some counters a [`ComponentHandler`](crate::ComponentHandler) adds
/// to, also in processes that were forked.
#[derive(Debug, Clone)]
pub struct Counts {
    /// The counters.
    pub counters: Arc<SharedCounters>,
    /// The index of the one that counts the instances that were made for
    /// requests. One that a child takes over from its parent counts there.
    pub instances: usize,
    /// The index of the one that counts requests that had more to log than they
    /// may.
    pub log_bytes: usize,
}

impl Counts {
    pub(crate) fn instance(&self) {
        self.counters.add(self.instances, 1);
    }

    pub(crate) fn log_bytes(&self) {
        self.counters.add(self.log_bytes, 1);
    }
}
