//! The reasons for which the host ends a guest.

use std::time::Duration;

use thiserror::Error;

/// The limit that a request reached: the host ends the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Kill {
    #[error("it used up its CPU time of {limit:?}")]
    CpuTime { limit: Duration },
    #[error("the client was silent for {limit:?}, the idle timeout")]
    Idle { limit: Duration },
    #[error(
        "no byte moved for {limit:?}, the idle timeout, while it waited for a socket that it opened"
    )]
    Outbound { limit: Duration },
    #[error("it was about to make more than the {limit} connections that a request may make")]
    Connects { limit: u32 },
    #[error("it slept until no byte had moved for {limit:?}, the idle timeout")]
    Sleep { limit: Duration },
    #[error("the request took longer than {limit:?}, its wall time")]
    WallTime { limit: Duration },
    #[error("the client sent more than the {limit} bytes that a request may receive")]
    Received { limit: u64 },
    #[error("it was about to send more than the {limit} bytes that a request may send")]
    Sent { limit: u64 },
}
