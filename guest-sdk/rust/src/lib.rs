//! Request handlers for wasm-socketserver, with the classes and names of Python's
//! `socketserver`.
//!
//! A handler is a type that implements [`BaseRequestHandler`],
//! [`StreamRequestHandler`] or [`DatagramRequestHandler`]. A crate of type `cdylib`
//! exports it with [`export!`]:
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
//! outlives the request: a `static` has its initial value in each request.
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
//! | `self.request.makefile("rb")` | [`cx.request.makefile("rb", None)`](Socket::makefile) |
//! | the module `socket` | [`socket`] |
//! | an exception | an `Err`: see [`Result`], and [`Error`] for errors of sockets |
//! | `socket.socket()`, `create_connection()`, `getaddrinfo()`, `select.select()` | [`network`] |
//! | `print`, `logging` | [`log`] |
//! | `bytes.strip()` | [`strip`] |
//!
//! The feature `allocator`, on by default, installs this crate's allocator as the
//! global allocator. With it most requests need only the memory that an instance starts
//! with, which saves about a third of the cost of a small request. Switch the feature
//! off to install another allocator.
//!
//! # Targets
//!
//! | | `wasm32-unknown-unknown` | `wasm32-wasip2` |
//! |---|---|---|
//! | linker | `wasm-component-ld`, to be configured | Rust's default: a plain `cargo build` makes a component |
//! | imports besides the contract | none | parts of WASI, all of which the server grants |
//! | `println!`, `eprintln!` | lost | lines of the log |
//! | clocks, `std::env`, `std::fs` | panic or fail | available, as far as the operator grants |
//! | `HashMap` | the same keys in each request | random keys |
//!
//! The crate also compiles for other targets, for its documentation and for tests of
//! code that makes no call to the host. A call to the host panics there.

#![deny(missing_docs, unsafe_code)]

mod address;
#[doc(hidden)]
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::undocumented_unsafe_blocks,
    missing_docs,
    unsafe_code,
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
pub mod network;
mod reader;
mod server;
pub mod socket;
mod stream;
#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code, reason = "the only file with unsafe code")]
mod sys;
mod text;
mod writer;

#[doc(hidden)]
pub use {
    datagram::DatagramLifecycle, export::RequestSlot, handler::BaseLifecycle,
    stream::StreamLifecycle,
};

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
