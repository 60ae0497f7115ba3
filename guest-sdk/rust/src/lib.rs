//! Request handlers for wasm-socketserver, written as Python's `socketserver`
//! writes them.
//!
//! A handler is a type that implements [`BaseRequestHandler`] and is named in
//! [`export!`], in a crate of type `cdylib`:
//!
//! ```
//! use socketserver_guest::{BaseRequestHandler, Context, Result, export, strip};
//!
//! #[derive(Default)]
//! struct MyTCPHandler;
//!
//! impl BaseRequestHandler for MyTCPHandler {
//!     fn handle(&mut self, cx: &mut Context) -> Result {
//!         let data = cx.request.recv(1024)?;
//!         cx.request.sendall(&strip(&data).to_ascii_uppercase())?;
//!         Ok(())
//!     }
//! }
//!
//! export!(MyTCPHandler);
//! # fn main() {}
//! ```
//!
//! Each request gets a new instance of the component and a new handler. Nothing
//! outlives the request: a `static` starts afresh as the handler's fields do.
//!
//! | Python | here |
//! |---|---|
//! | `BaseRequestHandler` | [`BaseRequestHandler`] |
//! | `self.request` | [`cx.request`](Context::request), a [`Socket`] |
//! | `self.client_address` | [`cx.client_address`](Context::client_address), an [`Address`] |
//! | `self.server` | [`cx.server`](Context::server), a [`Server`] |
//! | `self.request.makefile("rb")` | `BufReader::new(&cx.request)` |
//! | an exception | an `Err`; see [`Error`] for those of sockets |
//! | `print`, `logging` | [`log`] |
//! | `bytes.strip()` | [`strip`] |
//!
//! The feature `allocator`, on by default, makes this crate's allocator that of
//! the program: most requests are answered in the memory that an instance
//! begins with, which is a good deal faster. Switch it off to have another.
//!
//! On any target but `wasm32-unknown-unknown` the crate compiles, for its
//! documentation and for tests of code that calls no host; calling the host
//! there panics.

#![deny(missing_docs)]

mod address;
mod error;
mod handler;
pub mod log;
mod server;
mod socket;
#[cfg(all(target_arch = "wasm32", target_os = "unknown", feature = "allocator"))]
mod sys;
mod text;

/// What the contract in `wit/` becomes. Only [`export!`] names it.
#[doc(hidden)]
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::undocumented_unsafe_blocks,
    missing_docs,
    unsafe_op_in_unsafe_fn,
    unused_qualifications,
    reason = "generated code"
)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "stream-handler",
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "socketserver_guest::bindings",
    });
}

#[doc(hidden)]
pub use handler::Slot;

pub use address::{Address, UnixAddress};
pub use error::Error;
pub use handler::{BaseRequestHandler, Context, Result};
pub use server::{AddressFamily, Server, SocketKind};
pub use socket::{Shutdown, Socket};
pub use text::strip;
