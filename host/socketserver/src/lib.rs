//! Python's `socketserver` module in Rust.
//!
//! A [`Server`] listens, takes requests and has each answered by a handler:
//!
//! ```
//! use std::time::Duration;
//! use socketserver::{BaseRequestHandler, Context, HandlerError, RequestHandlerClass, Server};
//!
//! #[derive(Default)]
//! struct MyTCPHandler;
//!
//! impl BaseRequestHandler for MyTCPHandler {
//!     fn handle(&mut self, cx: &Context<'_>) -> Result<(), HandlerError> {
//!         let data = cx.request.recv(1024)?;
//!         cx.request.sendall(&data.trim_ascii().to_ascii_uppercase())?;
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::builder(RequestHandlerClass::<MyTCPHandler>::new())
//!     .bind("tcp://127.0.0.1:0".parse()?)
//!     .build()?;
//! # server.shutdown_handle().request_shutdown();
//! server.serve_forever(Duration::from_millis(500))?;
//! # Ok(())
//! # }
//! ```
//!
//! # From Python's names to these
//!
//! The three axes that Python mixes by inheritance are apart here: where a
//! server listens is an [`Endpoint`], how it runs requests is a
//! [`Concurrency`], and what a subclass would override is a [`Hooks`].
//!
//! | Python | here |
//! |---|---|
//! | **for the caller** | |
//! | `BaseServer` | [`Server`] |
//! | `TCPServer(address, Handler)`, `UDPServer`, `UnixStreamServer`, `UnixDatagramServer` | [`Server::builder`]`(handler).bind(endpoint).build()`, or [`ServerClass`] |
//! | `ThreadingMixIn`, `ThreadingTCPServer`, `ThreadingUDPServer`, `ThreadingUnixStreamServer`, `ThreadingUnixDatagramServer` | [`Concurrency::Threading`], or [`ServerClass`] |
//! | `ForkingMixIn`, `ForkingTCPServer`, `ForkingUDPServer`, `ForkingUnixStreamServer`, `ForkingUnixDatagramServer` | [`Concurrency::Forking`], or [`ServerClass`] |
//! | `serve_forever(poll_interval)` | [`Server::serve_forever`] |
//! | `handle_request()` | [`Server::handle_request`] |
//! | `shutdown()` | [`Server::shutdown`], [`ShutdownHandle`] |
//! | `server_close()`, leaving `with` | [`Server::server_close`], dropping the server |
//! | `fileno()` | [`Server::fileno`] |
//! | `socket` | [`Server::socket`] |
//! | `server_address` | [`Server::server_address`], [`Server::endpoints`] |
//! | `collect_children()`, `active_children` | [`Server::collect_children`], [`Server::active_children`] |
//! | **to be set** | |
//! | `request_queue_size` | [`ServerBuilder::request_queue_size`] |
//! | `allow_reuse_address` | [`ServerBuilder::allow_reuse_address`] |
//! | `allow_reuse_port` | [`ServerBuilder::allow_reuse_port`] |
//! | `timeout` | [`ServerBuilder::timeout`] |
//! | `daemon_threads` | [`Threading::daemon_threads`] |
//! | `block_on_close` | [`Threading::block_on_close`], [`Forking::block_on_close`] |
//! | `max_children` | [`Forking::max_children`] |
//! | `max_packet_size` | [`ServerBuilder::max_packet_size`] |
//! | `address_family`, `socket_type` | part of the [`Endpoint`]; read in [`ServerInfo`] |
//! | **to be overridden** | |
//! | `verify_request()` | [`Hooks::verify_request`], with the rules in [`access`] |
//! | `handle_error()` | [`Hooks::handle_error`] |
//! | `handle_timeout()` | [`Hooks::handle_timeout`] |
//! | `service_actions()` | [`Hooks::service_actions`] |
//! | `RequestHandlerClass`, `finish_request()` | [`RequestHandler`], [`RequestHandlerClass`] |
//! | `BaseRequestHandler` | [`BaseRequestHandler`], with its attributes in [`Context`] |
//! | `StreamRequestHandler` | the same; `rfile` is `BufReader::new(cx.request)`, `wfile` the request itself or a `BufWriter` |
//! | `DatagramRequestHandler` | the same; `rfile` is [`Request::data`], `wfile` a `Vec` for [`Request::sendto`] |
//! | `SystemExit` in a handler | [`SystemExit`] |
//! | **fixed** | |
//! | `server_bind()`, `server_activate()` | in [`ServerBuilder::build`] |
//! | `get_request()`, `process_request()`, `shutdown_request()`, `close_request()` | in the loop |
//! | `self.request`, `data, socket = self.request` | [`Request`], with [`Request::data`] |
//!
//! What Python does not have: [`Concurrency::Workers`], several sockets for one
//! server, [`ListenOptions`], [`ServerBuilder::graceful_shutdown`],
//! [`Hooks::after_fork_in_child`], [`Hooks::request_finished`], [`Request::keep`],
//! [`Request::came_after`], and the limits of a [`Request`].
//!
//! # Where things are
//!
//! | file | what it holds |
//! |---|---|
//! | `address`, `endpoint`, `listen_options` | addresses, where a server listens, and the options of that socket |
//! | `socket`, `unix_path`, `stale_socket` | the socket that takes requests, and the file of a Unix one, or of one before it |
//! | `packet_info`, `own_addresses` | which of a socket's addresses was asked, and which are the server's own |
//! | `request`, `sockopt`, `credentials` | the request, the options of its socket, who is at the other end |
//! | `descriptor_passing` | what becomes of descriptors that clients pass along |
//! | `access` | who is served: the rules of super-servers, for `verify_request` |
//! | `wait`, `patience` | the one place where a request waits for its socket, and for how long |
//! | `traffic` | how many bytes it moves, and may move |
//! | `handler`, `hooks` | what a program brings: a handler, and what it overrides |
//! | `builder`, `class` | making a server; Python's names for some |
//! | `server`, `serve`, `control` | using it, its loop, ending that |
//! | `drain` | a graceful end: clients that waited are served, later ones refused |
//! | `arrivals` | when clients came that had to wait |
//! | `concurrency` | running requests: one at a time, in threads, in processes |
//! | `capacity` | how many requests the machine can hold |
//! | `error`, `reason`, `bind_hint` | errors, why requests fail and who is to blame, hints for addresses that cannot be bound |
//! | `text` | text that somebody else wrote, made safe to print |
//! | `sys` | forking, shared memory, credentials, turns, and the only unsafe code |

#![deny(missing_docs)]
#![deny(unsafe_code)]

pub mod access;
mod address;
mod arrivals;
mod bind_hint;
mod builder;
mod capacity;
mod child;
mod class;
mod concurrency;
mod control;
mod credentials;
mod descriptor_passing;
mod drain;
mod endpoint;
mod error;
mod handler;
mod hooks;
mod listen_options;
mod own_addresses;
mod packet_info;
mod patience;
mod reason;
mod request;
mod serve;
mod server;
mod socket;
mod sockopt;
mod stale_socket;
mod sys;
mod text;
mod traffic;
mod unix_path;
mod wait;

pub use address::{Address, AddressFamily, SocketType, UnixAddress};
pub use bind_hint::BindHint;
pub use builder::ServerBuilder;
pub use capacity::{Capacity, Needs, memory_of_this_machine};
pub use child::in_child;
pub use class::{ClassError, ServerClass};
pub use concurrency::{Concurrency, Forking, Threading, Workers};
pub use control::ShutdownHandle;
pub use credentials::PeerCredentials;
pub use descriptor_passing::kernel_refuses_descriptors;
pub use endpoint::{Endpoint, EndpointError};
pub use error::{BuildError, HandlerError, ServeError, ShutdownError, SystemExit};
pub use handler::{
    BaseRequestHandler, Context, RequestHandler, RequestHandlerClass, ServerInfo, outcome,
};
pub use hooks::{DefaultHooks, DropReason, Hooks};
pub use listen_options::{KeepAlive, ListenOption, ListenOptions, OptionError};
pub use patience::{IdleTimeout, WallTimeout};
pub use reason::{Blame, Reason};
pub use request::Request;
pub use server::Server;
pub use sys::{Shared, SharedData};
pub use text::printable;
pub use traffic::{ReceiveLimit, SendLimit};
