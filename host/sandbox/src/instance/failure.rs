//! Why a request failed, and whose fault it was.

use std::time::Duration;

use socketserver::{HandlerError, Reason};
use thiserror::Error;
use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

use crate::host::state::State;
use crate::limits::memory::Refused;
use crate::policy::MAX_LOG_LINE;
use socketserver::printable;

/// Why the host ended a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Kill {
    #[error("it used up its CPU time of {limit:?}")]
    CpuTime { limit: Duration },
    #[error("the client was silent for {limit:?}, the idle timeout")]
    Idle { limit: Duration },
    #[error("it slept until no byte had moved for {limit:?}, the idle timeout")]
    Sleep { limit: Duration },
    #[error("the request took longer than {limit:?}, its wall time")]
    WallTime { limit: Duration },
    #[error("the client sent more than the {limit} bytes that a request may receive")]
    Received { limit: u64 },
    #[error("it was about to send more than the {limit} bytes that a request may send")]
    Sent { limit: u64 },
}

/// The guest ended its request with `exit`: Python's `SystemExit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("it called exit, and there is no request yet that could end")]
pub(crate) struct Exit {
    /// What it says of itself. In Python nobody looks at it either.
    pub failed: bool,
}

/// Which call into the guest failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Instantiate,
    Setup,
    Handle,
    Finish,
}

impl Step {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Step::Instantiate => "the making of the instance",
            Step::Setup => "setup",
            Step::Handle => "handle",
            Step::Finish => "finish",
        }
    }
}

/// The guest returned `message` as its error.
pub(crate) fn returned(step: Step, message: &str, state: &State) -> HandlerError {
    let message = format!("{} failed: {}", step.as_str(), printable(message, MAX_LOG_LINE));
    if let Some(reason) = state.lost {
        return HandlerError::new(reason, message);
    }
    HandlerError::new(Reason::Error, message)
}

/// A call into the guest did not return: it trapped, was ended, or could not
/// be made.
pub(crate) fn ended(step: Step, error: &wasmtime::Error, state: &State) -> HandlerError {
    let (mut reason, why) = explain(error, state);
    if step == Step::Instantiate && reason == Reason::Call {
        // The load has shown that it can be made: the machine is out of something.
        reason = Reason::NoInstance;
    }
    HandlerError::new(reason, format!("{} was ended: {why}", step.as_str()))
}

fn explain(error: &wasmtime::Error, state: &State) -> (Reason, String) {
    if let Some(kill) = error.downcast_ref::<Kill>() {
        let reason = match kill {
            Kill::CpuTime { .. } => Reason::CpuTime,
            Kill::Idle { .. } => Reason::IdleTimeout,
            Kill::Sleep { .. } => Reason::Sleep,
            Kill::WallTime { .. } => Reason::WallTime,
            Kill::Received { .. } => Reason::Received,
            Kill::Sent { .. } => Reason::Sent,
        };
        return (reason, kill.to_string());
    }
    if let Some(exit) = error.downcast_ref::<Exit>() {
        return (Reason::Exit, exit.to_string());
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return (Reason::NoInstance, error.root_cause().to_string());
    }
    let what = error.root_cause().to_string();
    // wasmtime has a type for the one, and words for the other.
    if matches!(error.downcast_ref(), Some(ResourceTableError::Full))
        || what.contains("handle limit exceeded")
    {
        return (Reason::Handles, "it holds as many handles as it may".to_owned());
    }
    let mut why = printable(&what, MAX_LOG_LINE);
    match state.limits.refused() {
        Some(Refused::Own { wanted, limit }) => {
            let refused = format!("it wanted {wanted} bytes in all, the limit is {limit}");
            why = format!("{why}; before that it was refused memory: {refused}");
            return (Reason::Memory, why);
        }
        Some(Refused::Shared { limit }) => {
            let refused = format!("all instances together may have {limit} bytes");
            why = format!("{why}; before that it was refused memory: {refused}");
            return (Reason::MemoryTotal, why);
        }
        None => {}
    }
    if let Some(place) = error.downcast_ref::<WasmBacktrace>().and_then(backtrace) {
        why = format!("{why} (in {place})");
    }
    let reason = match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => Reason::Stack,
        Some(_) => Reason::Trap,
        None => Reason::Call,
    };
    (reason, why)
}

/// The innermost functions that have names.
fn backtrace(trace: &WasmBacktrace) -> Option<String> {
    let names: Vec<String> = trace
        .frames()
        .iter()
        .filter_map(wasmtime::FrameInfo::func_name)
        .take(4)
        .map(|name| printable(name, 100))
        .collect();
    (!names.is_empty()).then(|| names.join(" < "))
}
