//! `interface log`: lines of a guest in the log of the host.

use wasmtime::component::{Linker, WasmStr};
use wasmtime::{Result, StoreContextMut};

use crate::bindings::log::Level;
use crate::policy::{MAX_LOG_LINE, MAX_LOG_LINES};
use crate::state::State;
use crate::text::printable;

pub(super) const NAME: &str = "socketserver:handler/log@0.1.0";

pub(super) fn add_to_linker(linker: &mut Linker<State>) -> Result<()> {
    linker.instance(NAME)?.func_wrap("log", log)
}

/// The message is read where it lies: nothing is copied but what is printed.
fn log(mut store: StoreContextMut<'_, State>, (level, message): (Level, WasmStr)) -> Result<()> {
    let state = store.data_mut();
    if state.log_lines_left == 0 {
        return Ok(());
    }
    state.log_lines_left -= 1;
    let last = state.log_lines_left == 0;
    let message = printable(&message.to_str(&store)?, MAX_LOG_LINE);
    let state = store.data();
    let peer = state.peer.as_ref().map(|peer| peer.client_address.to_string());
    let (handler, peer) = (&*state.handler, peer.as_deref());
    match level {
        Level::Debug => tracing::debug!(target: "guest", handler, peer, "{message}"),
        Level::Info => tracing::info!(target: "guest", handler, peer, "{message}"),
        Level::Warning => tracing::warn!(target: "guest", handler, peer, "{message}"),
        Level::Error | Level::Critical => {
            tracing::error!(target: "guest", handler, peer, "{message}");
        }
    }
    if last {
        tracing::warn!(
            handler,
            peer,
            "the handler logged {MAX_LOG_LINES} lines for this request; what it logs from here on is dropped"
        );
    }
    Ok(())
}
