//! `interface log`: lines of a guest in the log of the host.

use wasmtime::component::{Linker, WasmStr};
use wasmtime::{Result, StoreContextMut};

use crate::bindings::log::Level;
use crate::policy::{MAX_LOG_LINE, Policy};
use crate::state::State;
use crate::text::printable;

pub(super) const NAME: &str = "socketserver:handler/log@0.1.0";

pub(super) fn add_to_linker(linker: &mut Linker<State>) -> Result<()> {
    linker.instance(NAME)?.func_wrap("log", log)
}

/// The message is read where it lies: nothing is copied but what is printed.
fn log(mut store: StoreContextMut<'_, State>, (level, message): (Level, WasmStr)) -> Result<()> {
    let state = store.data_mut();
    let Some(left) = state.log_bytes_left else { return Ok(()) };
    let message = printable(&message.to_str(&store)?, MAX_LOG_LINE);
    let state = store.data_mut();
    state.log_bytes_left = left.checked_sub(message.len().max(Policy::MIN_LOG_LINE));
    let peer = state.peer.as_ref().map(|peer| peer.client_address.to_string());
    let (handler, peer) = (&*state.handler, peer.as_deref());
    if state.log_bytes_left.is_none() {
        let limit = state.log_bytes;
        tracing::warn!(
            handler,
            peer,
            blame = "guest",
            reason = "log-bytes",
            "the handler had more than {limit} bytes to log for this request; this and what it logs from here on is dropped"
        );
        if let Some(counts) = &state.counts {
            counts.log_bytes();
        }
        return Ok(());
    }
    match level {
        Level::Debug => tracing::debug!(target: "guest", handler, peer, "{message}"),
        Level::Info => tracing::info!(target: "guest", handler, peer, "{message}"),
        Level::Warning => tracing::warn!(target: "guest", handler, peer, "{message}"),
        Level::Error | Level::Critical => {
            tracing::error!(target: "guest", handler, peer, "{message}");
        }
    }
    Ok(())
}
