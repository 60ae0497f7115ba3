//! Python's `socketserver` module in Rust.
//!
//! A [`Server`] listens, takes requests, and calls a handler for each request:
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
//! Python mixes three axes by inheritance, which are separate here: an [`Endpoint`] is
//! the place where a server listens, a [`Concurrency`] is the way in which it runs
//! requests, and [`Hooks`] are the methods that a subclass would override.
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
//! | `self.server` with attributes of the program | a field of the handler or of the [`Hooks`]; see the example `shared_state` |
//! | **fixed** | |
//! | `server_bind()`, `server_activate()` | in [`ServerBuilder::build`] |
//! | `get_request()`, `process_request()`, `shutdown_request()`, `close_request()` | in the loop |
//! | `self.request`, `data, socket = self.request` | [`Request`], with [`Request::data`] |
//!
//! Python does not have: [`Concurrency::Workers`], several sockets for one
//! server, [`ListenOptions`], [`ServerBuilder::listen_on`], [`ServerBuilder::proxies`], [`service`],
//! [`ServerBuilder::graceful_shutdown`],
//! [`Hooks::after_fork_in_child`], [`Hooks::request_finished`], [`Request::keep`],
//! [`Request::earliest_arrival`], [`Request::is_last_of_process`], [`Request::server_hostname`], the limits of a
//! [`Request`], and its async calls ([`block_on`]).
//!
//! # How to
//!
//! | task | example |
//! |---|---|
//! | serve TCP, UDP, or several sockets | `echo`, `udp`, `multiplex` |
//! | share state between handlers, as `self.server` does in Python | `shared_state` |
//! | shut down at a signal | `shutdown_by_signal` |
//! | test a handler without a server | `test_a_handler` |
//! | serve one request | `handle_request` |
//! | refuse clients by rules | `access_control` |
//!
//! # Where things are
//!
//! | path in `src` | contents |
//! |---|---|
//! | `server/` | the server: its builder, its loop, its shutdown, its graceful end |
//! | `listen/` | listening sockets: endpoints, their options, the files of Unix sockets |
//! | `request/` | the request: its transport, deadlines, limits and options |
//! | `concurrency/` | the ways of running requests: one at a time, in threads, in processes |
//! | `proxy/` | the PROXY protocol: clients that a proxy names |
//! | `tls/` | TLS: certificates, keys and sessions |
//! | `access/` | rules that refuse clients, for `verify_request` |
//! | `handler`, `hooks` | the code of the program: its handler, and the methods that it overrides |
//! | `service` | what a service manager such as systemd passes to the program |
//! | `server_info` | facts about a server, and its defaults |
//! | `address` | the addresses of sockets |
//! | `capacity` | the number of requests that the machine can hold |
//! | `error`, `reason` | errors, the reasons for which requests fail, and the party to blame |
//! | `text` | untrusted text, made safe to print |
//! | `poll` | `poll(2)` with a deadline |
//! | `before_wait` | the last thing that a thread does before it waits |
//! | `sys` | forking, shared memory, credentials, and the only unsafe code |

#![deny(missing_docs)]
#![deny(unsafe_code)]

pub mod access;
mod address;
mod before_wait;
mod capacity;
mod concurrency;
mod elsewhere;
mod error;
mod handler;
mod hooks;
mod listen;
mod poll;
mod proxy;
mod reactor;
mod reason;
mod request;
mod server;
mod server_info;
pub mod service;
mod sys;
mod text;
mod tls;

pub use address::{Address, AddressFamily, SocketType, UnixAddress};
pub use capacity::{Capacity, Needs, memory_of_this_machine};
pub use concurrency::{
    Concurrency, ConcurrencyKind, Fibers, Forking, Threading, WorkerConcurrency, Workers,
    run_in_child,
};
pub use elsewhere::{drop_elsewhere, runs_tasks};
pub use error::{BuildError, HandlerError, ServeError, ShutdownError, SystemExit};
pub use handler::{
    BaseRequestHandler, Context, RequestHandler, RequestHandlerClass, combine_results,
};
pub use hooks::{DefaultHooks, DropReason, Hooks};
pub use listen::bind_hint::BindHint;
pub use listen::bound_socket::{BoundSocket, BoundSocketError};
pub use listen::descriptor_passing::{kernel_refuses_descriptors, refuse_descriptors};
pub use listen::endpoint::{Endpoint, EndpointError};
pub use listen::options::{KeepAlive, ListenOptions, OptionError, UrlOption};
pub use proxy::ProxyProtocol;
pub use reason::{Blame, Reason};
pub use request::address_calls::AddressCalls;
pub use request::credentials::PeerCredentials;
pub use request::deadlines::{IdleTimeout, WallTimeout};
pub use request::opened::Ready;
pub use request::readiness::Readiness;
pub use request::sockopt::SETTABLE_OPTIONS;
pub use request::traffic::{ReceiveLimit, SendLimit};
pub use request::wait::block_on;
pub use request::{Request, Usage};
pub use server::Server;
pub use server::builder::ServerBuilder;
pub use server::class::{ClassError, ServerClass};
pub use server::control::ShutdownHandle;
pub use server::defer::DeferAccept;
pub use server_info::ServerInfo;
pub use sys::{Shared, SharedData};
pub use text::printable;
pub use tls::{ClientAuth, TlsCipher, TlsError, TlsServer, TlsSettings, TlsVersion};
