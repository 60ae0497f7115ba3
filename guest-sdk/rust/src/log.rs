//! The log of the server, in place of Python's `print` and `logging`.
//!
//! Each call writes one line. The host adds the request that the line belongs to,
//! escapes control characters, cuts long lines and drops lines beyond a limit. No
//! function here fails.

use crate::bindings::socketserver::handler::log as host;
use host::Level;
use std::panic::{PanicHookInfo, set_hook};

/// Writes `message` at the level `DEBUG`. Python's `logging.debug`.
pub fn debug(message: impl AsRef<str>) {
    host::log(Level::Debug, message.as_ref());
}

/// Writes `message` at the level `INFO`. Python's `logging.info`.
pub fn info(message: impl AsRef<str>) {
    host::log(Level::Info, message.as_ref());
}

/// Writes `message` at the level `WARNING`. Python's `logging.warning`.
pub fn warning(message: impl AsRef<str>) {
    host::log(Level::Warning, message.as_ref());
}

/// Writes `message` at the level `ERROR`. Python's `logging.error`.
pub fn error(message: impl AsRef<str>) {
    host::log(Level::Error, message.as_ref());
}

/// Writes `message` at the level `CRITICAL`. Python's `logging.critical`.
pub fn critical(message: impl AsRef<str>) {
    host::log(Level::Critical, message.as_ref());
}

/// Installs a panic hook that logs the message and location of a panic.
pub(crate) fn log_panics() {
    set_hook(Box::new(|panic| critical(describe(panic))));
}

fn describe(panic: &PanicHookInfo<'_>) -> String {
    let message = panic.payload_as_str().unwrap_or("no message");
    match panic.location() {
        Some(location) => format!("panicked at {location}: {message}"),
        None => format!("panicked: {message}"),
    }
}
