//! The server: Python's `BaseServer` and `TCPServer`.
//!
//! | file | contents |
//! |---|---|
//! | this one | [`Server`], as a program uses it |
//! | `parts` | the state of a server, which its loop works on |
//! | `builder`, `class` | the construction of a server, and Python's names for some |
//! | `serve`, `poller` | the loop, and its wait for events |
//! | `post`, `leaders` | the place where threads take requests themselves, and these threads |
//! | `pending`, `defer` | connections that wait in the loop for a header or a first byte, and the settings of the latter |
//! | `accept` | taking one request, and giving it to the dispatcher |
//! | `control` | the shutdown of a running loop |
//! | `drain` | the graceful end: the clients that waited are served |
//! | `worker` | the code of a worker process |

mod accept;
pub(crate) mod builder;
pub(crate) mod class;
pub(crate) mod control;
pub(crate) mod defer;
mod drain;
mod leaders;
mod parts;
pub(crate) mod pending;
mod poller;
pub(crate) mod post;
mod serve;
mod worker;

use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use builder::ServerBuilder;
use control::ShutdownHandle;
use parts::Parts;

use crate::address::Address;
use crate::error::{ServeError, ShutdownError};
use crate::handler::RequestHandler;
use crate::listen::endpoint::Endpoint;

/// A server that is bound and listening.
///
/// It owns its listening sockets and its loop. Dropping it closes it, as
/// leaving a `with` block does in Python.
pub struct Server {
    parts: Arc<Parts>,
    endpoints: Vec<Endpoint>,
}

impl Server {
    /// Returns the builder of a server that answers requests with `handler`.
    ///
    /// ```
    /// use socketserver::{Address, Request, Server};
    ///
    /// let server = Server::builder(|request: &Request, _: &Address, _: &_| {
    ///     request.sendall(&request.recv(1024)?.to_ascii_uppercase())
    /// })
    /// .bind("tcp://127.0.0.1:0".parse()?)
    /// .build()?;
    /// println!("listening {}", server.endpoints()[0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder(handler: impl RequestHandler) -> ServerBuilder {
        ServerBuilder::new(Box::new(handler))
    }

    fn from_parts(parts: Parts, endpoints: Vec<Endpoint>) -> Self {
        Server { parts: Arc::new(parts), endpoints }
    }

    /// Returns the endpoints that the server listens on, in the order in which they were
    /// given to the builder, with the real ports.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Returns the address of the first listening socket, with its real port, also after
    /// the server was closed. Python's `server_address`.
    pub fn server_address(&self) -> &Address {
        self.endpoints[0].address()
    }

    /// Returns the descriptor of the first listening socket, for a `poll` of the
    /// program's own; `None` if the server is closed. Python's `fileno`, which is -1
    /// then.
    pub fn fileno(&self) -> Option<RawFd> {
        self.parts.listeners().ok().map(|listeners| listeners[0].fileno())
    }

    /// Returns a second descriptor for the first listening socket, for a `poll` or a
    /// `select` of the program's own that outlives a `server_close`. Python's `socket`.
    ///
    /// # Errors
    ///
    /// The server is closed (`EBADF`), or no descriptor is free.
    pub fn socket(&self) -> io::Result<OwnedFd> {
        let listeners = self.parts.listeners().map_err(|_| Errno::BADF)?;
        listeners[0].as_fd().try_clone_to_owned()
    }

    /// Returns the number of requests that may be in flight at once.
    pub fn max_requests(&self) -> usize {
        self.parts.dispatcher.max_requests()
    }

    /// Returns the number of children: the processes of a server that forks for each
    /// request, or its workers. The size of Python's `active_children`.
    pub fn active_children(&self) -> usize {
        self.parts.dispatcher.active_children()
    }

    /// Kills the children and workers that have not ended (`SIGKILL`), without waiting for
    /// their end. For a program that ends, and has waited as long as it wants to: a child
    /// that is stopped, for example, does not end by itself.
    pub fn kill_children(&self) {
        self.parts.dispatcher.kill_children();
    }

    /// Reaps the children that have ended, without waiting. The loop does that itself in
    /// each round. Python's `collect_children`.
    pub fn collect_children(&self) {
        self.parts.dispatcher.collect_children(&self.parts.app);
    }

    /// Serves requests until `shutdown`. Python's `serve_forever`.
    ///
    /// `poll_interval` is the longest time between two calls of
    /// `service_actions`; Python's default is half a second. Unlike in
    /// CPython, the loop notices a `shutdown` at once.
    ///
    /// A request that is ready when the shutdown is noticed stays in the
    /// backlog for the next run, unless the shutdown is
    /// [graceful](ServerBuilder::graceful_shutdown). The server's `timeout` has no
    /// effect.
    ///
    /// # Errors
    ///
    /// - The server is closed, or serves already.
    /// - The server forks, and this process has other threads.
    /// - A handler that ran in this thread asked for the end of the process
    ///   ([`SystemExit`](crate::SystemExit)).
    /// - The kernel refused to wait for requests.
    pub fn serve_forever(&self, poll_interval: Duration) -> Result<(), ServeError> {
        serve::serve_forever(&self.parts, poll_interval, worker::start_workers)
    }

    /// Waits for one request, at most for the server's `timeout`, and
    /// serves it. Calls `handle_timeout` if no request came. Python's
    /// `handle_request`.
    ///
    /// It also ends after a request that `verify_request` refused, or that was lost in
    /// `accept`. Unlike in CPython, a server that forks reaps its children here too, and
    /// waits while there are `max_children`.
    ///
    /// # Errors
    ///
    /// As [`serve_forever`](Self::serve_forever); or the server has workers.
    pub fn handle_request(&self) -> Result<(), ServeError> {
        serve::handle_request(&self.parts)
    }

    /// Ends `serve_forever`, and waits until it has ended. Python's
    /// `shutdown`.
    ///
    /// As in CPython, before the first `serve_forever` this waits until that has begun
    /// and ended. Later, when no `serve_forever` runs, it returns at once, and the next
    /// `serve_forever` ends at once too. It waits for a request that runs in the thread
    /// that serves, but not for those in other threads. The server
    /// still listens afterwards.
    ///
    /// # Errors
    ///
    /// The thread that serves has called it, and cannot wait for itself.
    pub fn shutdown(&self) -> Result<(), ShutdownError> {
        self.parts.control.shutdown()
    }

    /// Returns a handle that ends the loop of this server from another thread.
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        ShutdownHandle(Arc::clone(&self.parts.control))
    }

    /// Takes the clients that wait in the backlog, and then refuses later ones. The end
    /// of `serve_forever` does this if the shutdown is
    /// [graceful](ServerBuilder::graceful_shutdown). If the loop runs, it ends.
    ///
    /// `server_close` and `server_close_within` serve the clients that were taken; if
    /// neither is called, their connections are closed with the server. Any thread may
    /// call this, more than once, and while a request runs in the thread that
    /// serves. Workers do it themselves when the loop of their
    /// parent ends.
    ///
    /// At most `request_queue_size` connections are taken, and at most
    /// an eighth of the descriptors that the process may have. A connection that is
    /// made while the last one is taken may be reset.
    pub fn stop_listening(&self) {
        drain::stop_listening(&self.parts, 0);
    }

    /// Closes the listening sockets, then waits for the requests in flight as
    /// `block_on_close` says. Closing twice is no error. Python's
    /// `server_close`.
    ///
    /// A handler that closes its own server waits only for the other requests, where
    /// CPython raises `RuntimeError`. The kernel resets clients that wait in the backlog.
    /// If the shutdown is [graceful](ServerBuilder::graceful_shutdown), or the server has
    /// [stopped listening](Self::stop_listening), they are served first. If
    /// `serve_forever` runs in another thread it ends, where CPython's
    /// would spin.
    pub fn server_close(&self) {
        self.close(None);
    }

    /// Closes the server as [`server_close`](Self::server_close) does, but waits at most
    /// for `grace`. Returns the number of requests that are still in flight or wait; of a
    /// server with workers, the number of workers that are left. Another call goes on
    /// waiting.
    pub fn server_close_within(&self, grace: Duration) -> usize {
        self.close(Instant::now().checked_add(grace))
    }

    fn close(&self, deadline: Option<Instant>) -> usize {
        if self.parts.control.is_graceful() {
            self.stop_listening();
        }
        self.parts.close_listeners();
        match drain::serve_waiting(&self.parts, deadline) {
            0 => self.parts.dispatcher.close(&self.parts.app, deadline),
            waiting => waiting + self.parts.dispatcher.in_flight(),
        }
    }
}

impl Drop for Server {
    /// Closes the server as CPython does. Even if the shutdown is graceful, clients that
    /// wait are not served.
    fn drop(&mut self) {
        self.parts.close_listeners();
        self.parts.waiting().clear();
        self.parts.close_pending();
        self.parts.dispatcher.close(&self.parts.app, None);
    }
}
