//! The resources that a handler has used for a request.

use std::time::{Duration, Instant};

use super::Request;

/// The resources that a handler has used for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// The CPU time of the thread.
    pub cpu_time: Duration,
    /// The most memory at one time, in bytes.
    pub memory: u64,
}

impl Request {
    /// Returns the time at which the server has taken the request from its queue.
    pub fn begun(&self) -> Instant {
        self.0.begun
    }

    /// Reports the resources that the handler has used. This is for the code that runs the
    /// handler; the first report counts.
    pub fn set_usage(&self, usage: Usage) {
        // A second report has no effect.
        let _ = self.0.usage.set(usage);
    }

    /// Returns the resources that the handler has used, if that is measured.
    pub fn usage(&self) -> Option<Usage> {
        self.0.usage.get().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_report_counts() {
        let request = Request::new(std::os::unix::net::UnixStream::pair().unwrap().0);
        assert_eq!(request.usage(), None);
        let usage = |memory| Usage { cpu_time: Duration::from_millis(1), memory };
        request.set_usage(usage(1));
        request.clone().set_usage(usage(2));
        assert_eq!(request.usage(), Some(usage(1)));
    }
}
