//! Sample request handlers of wasm-socketserver. Each sample is a component with a
//! folder of its own:
//!
//! - `upper`: the handler of Python's documentation.
//! - `echo`: sends all data back until the client has finished sending.
//! - `line`: sends one line back; reads and writes the connection as files.
//! - `proxy`: forwards a connection to an address that the operator grants.
//! - `dupper`: the handler of Python's documentation, for datagrams.
//! - `decho`: sends each datagram back; reads and writes it as files.
//! - `both`: sends all data back, over TCP and over UDP.
//! - `command`: a command server, without a shell.
//! - `receiver`: receives one message and reports the names of both ends.
//! - `chat-line`: answers each line with a line.
//! - `http-static`: serves the files of a granted directory over HTTP/1.1.
//! - `tftp`: serves the files of a granted directory over TFTP.
//!
//! `tests/guests` has the handlers for tests only.
