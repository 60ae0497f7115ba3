//! `interface log`: lines of a guest in the host's log.

use wasmtime::component::{Linker, WasmStr};
use wasmtime::{Result, StoreContextMut};

use crate::host::bindings::log::Level;
use crate::host::state::State;
use crate::policy::MAX_LOG_LINE;
use socketserver::printable;

pub(super) const NAME: &str = "socketserver:handler/log@0.1.0";

pub(super) fn add_to_linker(linker: &mut Linker<State>) -> Result<()> {
    linker.instance(NAME)?.func_wrap("log", log)
}

/// Logs a line. The host reads the message in the guest's memory, and copies only what it
/// logs.
fn log(mut store: StoreContextMut<'_, State>, (level, message): (Level, WasmStr)) -> Result<()> {
    if !store.data().log.lock().has_room() {
        return Ok(());
    }
    let message = printable(&message.to_str(&store)?, MAX_LOG_LINE);
    let level = match level {
        Level::Debug => tracing::Level::DEBUG,
        Level::Info => tracing::Level::INFO,
        Level::Warning => tracing::Level::WARN,
        Level::Error | Level::Critical => tracing::Level::ERROR,
    };
    store.data_mut().log_line(level, &message);
    Ok(())
}
