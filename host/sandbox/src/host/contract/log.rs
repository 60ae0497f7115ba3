//! `interface log`: lines of a guest in the log of the host.

use wasmtime::component::{Linker, WasmStr};
use wasmtime::{Result, StoreContextMut};

use crate::host::bindings::log::Level;
use crate::host::guest_log;
use crate::host::state::State;
use crate::policy::MAX_LOG_LINE;
use socketserver::printable;

pub(super) const NAME: &str = "socketserver:handler/log@0.1.0";

pub(super) fn add_to_linker(linker: &mut Linker<State>) -> Result<()> {
    linker.instance(NAME)?.func_wrap("log", log)
}

/// The message is read where it lies: nothing is copied but what is printed.
fn log(mut store: StoreContextMut<'_, State>, (level, message): (Level, WasmStr)) -> Result<()> {
    if !guest_log::has_room(store.data()) {
        return Ok(());
    }
    let message = printable(&message.to_str(&store)?, MAX_LOG_LINE);
    let level = match level {
        Level::Debug => tracing::Level::DEBUG,
        Level::Info => tracing::Level::INFO,
        Level::Warning => tracing::Level::WARN,
        Level::Error | Level::Critical => tracing::Level::ERROR,
    };
    guest_log::log(store.data_mut(), level, &message);
    Ok(())
}
