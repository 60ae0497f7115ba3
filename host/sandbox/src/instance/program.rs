//! One request to a program: `run`, whose standard input and output are the client.

use socketserver::{Address, HandlerError, Reason};
use wasmtime_wasi::I32Exit;

use crate::host::state::State;
use crate::host::unreachable::unreachable_client;
use crate::host::wasi::{Stdio, Unsent};
use crate::instance::exports::Run;
use crate::instance::failure::{Step, call_failure, killed};
use crate::instance::request::Failure;
use crate::instance::store::Instantiated;

/// Runs a program to its end, and sends the rest of its output.
///
/// A program that exits has ended by itself, whatever its status: its output is sent, as that of
/// a process is. A program that trapped has not: what it wrote last may be missing, and a
/// datagram is not answered.
pub(super) async fn run_program(
    run: &Run,
    instantiated: &mut Instantiated,
    client_address: &Address,
) -> Result<(), Failure> {
    let result = run.call(instantiated).await;
    let status = match result {
        Ok(status) => status,
        Err(error) => match error.downcast_ref::<I32Exit>() {
            Some(I32Exit(status)) => *status,
            None => return Err(Failure::Killed(trapped(&error, instantiated.store.data()))),
        },
    };
    let sent = match instantiated.store.data().stdio.clone() {
        Some(stdio) => stdio.finish().await,
        None => Ok(()),
    };
    sent.map_err(|unsent| failed_to_send(unsent, client_address))?;
    if status == 0 {
        return Ok(());
    }
    let reason = lost_client(instantiated.store.data()).unwrap_or(Reason::ExitStatus);
    Err(HandlerError::new(reason, status_text(status)).into())
}

/// Returns the text for a status. WASI 0.2 passes on only that the status is not 0, which is 1
/// here, except to components that import a function that is not stable.
fn status_text(status: i32) -> String {
    match status {
        1 => "the program exited with a status other than 0".to_owned(),
        status => format!("the program exited with status {status}"),
    }
}

/// Returns the error of a program that trapped or was ended. Programs that a signal would end
/// when their client is gone, as `SIGPIPE` does, trap instead.
fn trapped(error: &wasmtime::Error, state: &State) -> HandlerError {
    let failure = call_failure(Step::Run, error, state);
    match lost_client(state) {
        Some(reason) if failure.reason() == Reason::Trap => {
            HandlerError::new(reason, failure.to_string())
        }
        _ => failure,
    }
}

fn lost_client(state: &State) -> Option<Reason> {
    let is_gone = state.stdio.as_ref().is_some_and(Stdio::is_client_gone);
    is_gone.then_some(Reason::ConnectionLost)
}

fn failed_to_send(unsent: Unsent, client_address: &Address) -> Failure {
    match unsent {
        Unsent::Limit(kill) => Failure::Killed(killed(Step::Run, kill)),
        Unsent::Failed(error) => {
            use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
            let reason = match error.kind() {
                BrokenPipe | ConnectionAborted | ConnectionReset => Reason::ConnectionLost,
                _ => unreachable_client(client_address, &error).unwrap_or(Reason::Error),
            };
            let why = format!("the output of the program cannot be sent: {error}");
            Failure::Returned(HandlerError::new(reason, why))
        }
    }
}
