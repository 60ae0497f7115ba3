//! Reports of the server: the log, the counters, and the ready lines.
//!
//! | file | content |
//! |---|---|
//! | `log` | setting up the log, and failures that end the program |
//! | `log_text` | the log as text: quotes and colours |
//! | `log_writer`, `log_limit` | standard error as a log that blocks nothing, and its limit |
//! | `access_log` | the lines about each request |
//! | `counters/` | the counters, which all processes share |
//! | `certificates` | the certificates, and when they expire |
//! | `output` | standard output and standard error, written without waiting |
//! | `relay` | the process that writes where writing has to wait |

pub mod access_log;
pub mod certificates;
pub mod counters;
pub mod log;
mod log_limit;
pub mod log_text;
pub mod log_writer;
pub mod output;
pub mod relay;

pub use log::LogFormat;
pub use output::printable_path;
