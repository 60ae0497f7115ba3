//! Sample request handlers of wasm-socketserver. Each is a component of its
//! own, in its own folder:
//!
//! - `upper`: the handler of Python's documentation.
//! - `echo`: sends everything back until the client has finished.
//!
//! The handlers that only the tests use are in `tests/guests`.
