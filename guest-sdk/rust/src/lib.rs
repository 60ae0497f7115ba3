//! Request handlers for wasm-socketserver, written as Python's `socketserver`
//! writes them.
//!
//! A handler is a type that implements [`BaseRequestHandler`],
//! [`StreamRequestHandler`] or [`DatagramRequestHandler`] and is named in
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
//! | `self.request` | [`cx.request`](Context::request), a [`Socket`], or a [`Datagram`] |
//! | `self.client_address` | [`cx.client_address`](Context::client_address), an [`Address`] |
//! | `self.server` | [`cx.server`](Context::server), a [`Server`] |
//! | `StreamRequestHandler` | [`StreamRequestHandler`] |
//! | `self.connection` | [`cx.connection`](StreamContext::connection) |
//! | `self.rfile`, `self.wfile` | [`cx.rfile`](StreamContext::rfile), [`cx.wfile`](StreamContext::wfile) |
//! | `rfile.readline()`, `readline(n)`, `read(n)`, `read()` | [`readline`](Reader::readline), [`readline_limited`](Reader::readline_limited), [`read_at_most`](Reader::read_at_most), [`read_all`](Reader::read_all) |
//! | `rbufsize`, `wbufsize`, `timeout`, `disable_nagle_algorithm` | [`RBUFSIZE`](StreamRequestHandler::RBUFSIZE), [`WBUFSIZE`](StreamRequestHandler::WBUFSIZE), [`TIMEOUT`](StreamRequestHandler::TIMEOUT), [`DISABLE_NAGLE_ALGORITHM`](StreamRequestHandler::DISABLE_NAGLE_ALGORITHM) |
//! | `DatagramRequestHandler` | [`DatagramRequestHandler`] |
//! | `self.packet`, `self.socket` | [`cx.packet`](DatagramContext::packet), [`cx.socket`](DatagramContext::socket) |
//! | `data, socket = self.request` | `let (data, socket) = &cx.request;` |
//! | `self.request.makefile("rb")` | `BufReader::new(&cx.request)` |
//! | `socket.SOL_SOCKET`, `socket.SO_ERROR`, ... | [`options`] |
//! | an exception | an `Err`; see [`Error`] for those of sockets |
//! | `print`, `logging` | [`log`] |
//! | `bytes.strip()` | [`strip`] |
//!
//! The feature `allocator`, on by default, makes this crate's allocator that of
//! the program: most requests are answered in the memory that an instance
//! begins with, which is a good deal faster. Switch it off to have another.
//!
//! # Targets
//!
//! | | `wasm32-unknown-unknown` | `wasm32-wasip2` |
//! |---|---|---|
//! | the linker | `wasm-component-ld`, to be set | Rust's own choice: a plain `cargo build` makes a component |
//! | imports beside the contract | none | parts of WASI, all of which the server grants |
//! | `println!`, `eprintln!` | lost | lines of the log |
//! | clocks, `std::env`, `std::fs` | panic, or fail | there, as far as the operator grants |
//! | `HashMap` | has the same keys in each request | has random keys |
//!
//! On others the crate compiles, for its documentation and for tests of code that
//! calls no host; calling the host there panics.

#![deny(missing_docs)]

mod address;
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
pub mod bindings;
mod datagram;
mod error;
mod export;
mod handler;
pub mod log;
pub mod options;
mod reader;
mod server;
mod socket;
mod stream;
#[cfg(target_arch = "wasm32")]
mod sys;
mod text;
mod writer;

#[doc(hidden)]
pub use {datagram::Packet, export::Slot, handler::Base, stream::Stream};

pub use address::{Address, UnixAddress};
pub use datagram::{DatagramContext, DatagramRequestHandler};
pub use error::Error;
pub use handler::{BaseRequestHandler, Context, Datagram, Result};
pub use reader::{Reader, SocketIo};
pub use server::{AddressFamily, Server, SocketKind};
pub use socket::{Shutdown, Socket};
pub use stream::{StreamContext, StreamRequestHandler};
pub use text::strip;
pub use writer::Writer;
