//! Sample request handlers of wasm-socketserver. Each is a component of its
//! own, in its own folder:
//!
//! - `upper`: the handler of Python's documentation.
//! - `echo`: sends everything back until the client has finished.
//! - `line`: sends one line back, read and written as files.
//! - `dupper`: the handler of Python's documentation, for datagrams.
//! - `decho`: sends each datagram back, read and written as files.
//! - `both`: sends everything back, over TCP and over UDP.
//!
//! The handlers that only the tests use are in `tests/guests`.
