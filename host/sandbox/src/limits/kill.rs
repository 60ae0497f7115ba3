//! The reasons for which the host ends a guest.

use std::io;
use std::time::Duration;

use socketserver::{IdleTimeout, ReceiveLimit, SendLimit, WallTimeout};
use thiserror::Error;

/// The limit that a request reached: the host ends the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Kill {
    #[error("it used up its CPU time of {limit:?}")]
    CpuTime { limit: Duration },
    #[error(
        "it has touched memory that is not left: all instances together may have {limit} bytes"
    )]
    MemoryTotal { limit: usize },
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
    #[error("the client takes no more, and the program wrote on")]
    ClientGone,
    #[error("it was about to send more than the {limit} bytes that a request may send")]
    Sent { limit: u64 },
}

impl Kill {
    /// Returns the limit that the request has reached, if a call on its socket failed because
    /// of it.
    pub(crate) fn of_call(error: &io::Error) -> Option<Self> {
        let inner = error.get_ref()?;
        if let Some(IdleTimeout { limit }) = inner.downcast_ref() {
            return Some(Kill::Idle { limit: *limit });
        }
        if let Some(WallTimeout { limit }) = inner.downcast_ref() {
            return Some(Kill::WallTime { limit: *limit });
        }
        if let Some(ReceiveLimit { limit }) = inner.downcast_ref() {
            return Some(Kill::Received { limit: *limit });
        }
        inner.downcast_ref().map(|SendLimit { limit }| Kill::Sent { limit: *limit })
    }

    /// Returns the limit that the request has reached, if a call on a socket that the guest has
    /// opened failed because of it.
    pub(crate) fn of_opened(error: &io::Error) -> Option<Self> {
        Kill::of_call(error).map(|kill| match kill {
            Kill::Idle { limit } => Kill::Outbound { limit },
            other => other,
        })
    }

    /// Returns the limit that the request has reached, if it slept for too long.
    pub(crate) fn of_sleep(error: &io::Error) -> Option<Self> {
        Kill::of_call(error).map(|kill| match kill {
            Kill::Idle { limit } => Kill::Sleep { limit },
            other => other,
        })
    }
}
