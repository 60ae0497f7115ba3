//! The lines that say where the server listens.

use std::io::{self, Write};
use std::time::Duration;

use socketserver::{Endpoint, SocketType};

use crate::report::log_writer;
use crate::report::output::Output;

/// The time that the ready lines wait for room in standard output.
const MAX_WAIT: Duration = Duration::from_millis(100);

/// Prints a ready line for each address. The program that started the server may have closed
/// the other end of the pipe, or not read from it: the server then serves without the lines.
pub fn print_ready_lines(endpoints: &[Endpoint]) {
    let lines: Vec<_> =
        endpoints.iter().map(|endpoint| format!("listening {endpoint}\n")).collect();
    let lines = lines.concat();
    let is_full = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
    let mut written = Output::Standard.write(lines.as_bytes());
    if written.as_ref().is_err_and(is_full) && Output::Standard.has_room_within(MAX_WAIT) {
        written = Output::Standard.write(lines.as_bytes());
    }
    let is_cut = match &written {
        Ok(count) => *count < lines.len(),
        Err(error) => is_full(error),
    };
    if is_cut {
        tracing::warn!("standard output did not take the lines that say where this listens");
    }
}

/// Returns a sentence about the server, for the service manager.
pub fn status(endpoints: &[Endpoint]) -> String {
    let first = endpoints.first().map(ToString::to_string).unwrap_or_default();
    match endpoints.len() {
        0 | 1 => format!("serving {first}"),
        all => format!("serving {first} and {} more", all - 1),
    }
}

/// Prints to standard error how to try the embedded sample.
pub fn print_example(endpoint: &Endpoint) {
    let Some(address) = endpoint.address().to_socket_addr() else { return };
    if endpoint.socket_type() != SocketType::Stream || endpoint.has_tls() {
        return;
    }
    let text = format!(
        "This is the embedded sample. Try it from another terminal:\n\n    \
         python3 -c \"import socket; s = socket.create_connection(('{}', {})); s.sendall(b'hello world'); print(s.recv(1024))\"\n\n\
         `wasm-socketserver serve HANDLER` serves your own handler; --help says more. Ctrl-C ends the server.\n",
        address.ip(),
        address.port(),
    );
    // The server works without it.
    let _ = log_writer::unlimited().write_all(text.as_bytes());
}
