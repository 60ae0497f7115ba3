//! The events of a handler that no error reports.

/// Counts events of a [`ComponentHandler`](crate::ComponentHandler) that are not errors of
/// a request. Forked processes call it too.
pub trait HandlerCounters: Send + Sync {
    /// Counts an instance that a request uses: a new one, or the prewarmed one that a child
    /// inherits from its parent.
    fn instance_used(&self);

    /// Counts a request that had more to log than its policy allows.
    fn log_limit_reached(&self);
}
