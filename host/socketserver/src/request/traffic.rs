//! The bytes that one request has moved, and may move.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

/// Stands for the absence of a limit.
const NONE: u64 = u64::MAX;

/// The error inside an [`io::Error`] when a client sent more than its request
/// may receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the client sent more than {limit} bytes")]
pub struct ReceiveLimit {
    /// The limit, in bytes.
    pub limit: u64,
}

/// The error inside an [`io::Error`] when a handler would send more than its
/// request may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the handler would send more than {limit} bytes")]
pub struct SendLimit {
    /// The limit, in bytes.
    pub limit: u64,
}

/// The bytes of one direction.
#[derive(Debug)]
pub(crate) struct Bytes {
    moved: AtomicU64,
    limit: AtomicU64,
}

/// The bytes of both directions of one request.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub received: Bytes,
    pub sent: Bytes,
}

impl Traffic {
    /// Returns counts without limits, for a request that has received so many bytes already.
    pub(crate) fn new(received: usize) -> Self {
        let traffic = Traffic { received: Bytes::new(), sent: Bytes::new() };
        traffic.received.add(received);
        traffic
    }
}

impl Bytes {
    fn new() -> Self {
        Bytes { moved: AtomicU64::new(0), limit: AtomicU64::new(NONE) }
    }

    pub(crate) fn add(&self, count: usize) {
        self.moved.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    pub(crate) fn set_limit(&self, limit: Option<u64>) {
        self.limit.store(limit.unwrap_or(NONE), Ordering::Relaxed);
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Returns the part of `wanted` bytes that may still be moved.
    pub(crate) fn remaining(&self, wanted: usize) -> usize {
        let left = self.limit().saturating_sub(self.moved());
        wanted.min(usize::try_from(left).unwrap_or(usize::MAX))
    }
}

impl From<ReceiveLimit> for io::Error {
    fn from(error: ReceiveLimit) -> Self {
        io::Error::other(error)
    }
}

impl From<SendLimit> for io::Error {
    fn from(error: SendLimit) -> Self {
        io::Error::other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_may_move_up_to_the_limit() {
        let bytes = Bytes::new();
        assert_eq!(bytes.remaining(usize::MAX), usize::MAX);
        bytes.set_limit(Some(10));
        bytes.add(4);
        assert_eq!((bytes.remaining(3), bytes.remaining(6), bytes.remaining(7)), (3, 6, 6));
        bytes.add(6);
        assert_eq!((bytes.remaining(1), bytes.moved()), (0, 10));
        bytes.set_limit(Some(5));
        assert_eq!(bytes.remaining(1), 0);
    }
}
