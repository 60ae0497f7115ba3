//! The error of a failed request, with its reason.

use socketserver::{HandlerError, Reason, printable};
use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::host::state::State;
use crate::limits::kill::Kill;
use crate::limits::memory::MemoryRefusal;
use crate::policy::MAX_LOG_LINE;

/// A step of a request, in which the guest runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Instantiate,
    Setup,
    Handle,
    Finish,
    Run,
}

impl Step {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Step::Instantiate => "instantiation",
            Step::Setup => "setup",
            Step::Handle => "handle",
            Step::Finish => "finish",
            Step::Run => "the program",
        }
    }
}

/// Returns the error of a request whose guest returned `message` as its error.
pub(crate) fn guest_error(step: Step, message: &str, state: &State) -> HandlerError {
    let message = format!("{} failed: {}", step.as_str(), printable(message, MAX_LOG_LINE));
    HandlerError::new(state.client_lost.unwrap_or(Reason::Error), message)
}

/// Returns the error of a request whose guest trapped, was ended by the host, or could not
/// be called.
pub(crate) fn call_failure(step: Step, error: &wasmtime::Error, state: &State) -> HandlerError {
    let (mut reason, why) = explain(error, state);
    if step == Step::Instantiate && reason == Reason::Call {
        // The preflight has shown that instances can be created. So the machine lacks
        // something.
        reason = Reason::NoInstance;
    }
    HandlerError::new(reason, format!("{} was ended: {why}", step.as_str()))
}

fn explain(error: &wasmtime::Error, state: &State) -> (Reason, String) {
    if let Some(kill) = error.downcast_ref::<Kill>() {
        return (kill_reason(*kill), kill.to_string());
    }
    if error.is::<I32Exit>() {
        let why = "it called exit, and there is no request yet that could end";
        return (Reason::Exit, why.to_owned());
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return (Reason::NoInstance, error.root_cause().to_string());
    }
    let cause = error.root_cause().to_string();
    // wasmtime has a type for a full table of the host, and only a text for a full table of
    // the guest.
    if matches!(error.downcast_ref(), Some(ResourceTableError::Full))
        || cause.contains("handle limit exceeded")
    {
        return (Reason::Handles, "it holds as many handles as it may".to_owned());
    }
    let mut why = printable(&cause, MAX_LOG_LINE);
    match state.memory.refusal() {
        Some(MemoryRefusal::Own { wanted, limit }) => {
            let refused = format!("it wanted {wanted} bytes in all, the limit is {limit}");
            why = format!("{why}; before that it was refused memory: {refused}");
            return (Reason::Memory, why);
        }
        Some(MemoryRefusal::Total { limit }) => {
            let refused = format!("all instances together may have {limit} bytes");
            why = format!("{why}; before that it was refused memory: {refused}");
            return (Reason::MemoryTotal, why);
        }
        None => {}
    }
    if let Some(names) = error.downcast_ref::<WasmBacktrace>().and_then(function_names) {
        why = format!("{why} (in {names})");
    }
    let reason = match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => Reason::Stack,
        Some(_) => Reason::Trap,
        None => Reason::Call,
    };
    (reason, why)
}

/// Returns the error of a request that the host ended beside a call of the guest.
pub(crate) fn killed(step: Step, kill: Kill) -> HandlerError {
    HandlerError::new(kill_reason(kill), format!("{} was ended: {kill}", step.as_str()))
}

fn kill_reason(kill: Kill) -> Reason {
    match kill {
        Kill::CpuTime { .. } => Reason::CpuTime,
        Kill::MemoryTotal { .. } => Reason::MemoryTotal,
        Kill::Idle { .. } => Reason::IdleTimeout,
        Kill::Outbound { .. } => Reason::Outbound,
        Kill::Connects { .. } => Reason::Connects,
        Kill::Sleep { .. } => Reason::Sleep,
        Kill::WallTime { .. } => Reason::WallTime,
        Kill::Received { .. } => Reason::Received,
        Kill::Sent { .. } => Reason::Sent,
        Kill::ClientGone => Reason::ConnectionLost,
    }
}

/// Returns the names of the innermost functions that have names.
fn function_names(trace: &WasmBacktrace) -> Option<String> {
    let names: Vec<String> = trace
        .frames()
        .iter()
        .filter_map(wasmtime::FrameInfo::func_name)
        .take(4)
        .map(|name| printable(name, 100))
        .collect();
    (!names.is_empty()).then(|| names.join(" < "))
}
