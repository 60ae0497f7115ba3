//! The server: Python's `BaseServer` and `TCPServer`.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::address::Address;
use crate::arrivals::Arrivals;
use crate::builder::ServerBuilder;
use crate::concurrency::{Core, Dispatcher, Job};
use crate::control::{Control, ShutdownHandle};
use crate::drain;
use crate::endpoint::Endpoint;
use crate::error::{ServeError, ShutdownError};
use crate::handler::RequestHandler;
use crate::hooks::DropReason;
use crate::own_addresses::OwnAddresses;
use crate::socket::Listener;

/// A server that is bound and listening.
///
/// It owns its listening sockets and its loop. Dropping it closes it, as
/// leaving a `with` block does in Python.
pub struct Server {
    pub(crate) core: Arc<Core>,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) control: Arc<Control>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) own_addresses: Arc<OwnAddresses>,
    /// Whether this tells of datagrams that the kernel has dropped: workers share their
    /// sockets, and would tell of the same.
    pub(crate) tells_of_drops: bool,
    pub(crate) arrivals: Arrivals,
    /// The clients that were taken from the queues when the server stopped listening,
    /// and have not been served yet.
    waiting: Mutex<VecDeque<Job>>,
    listeners: Mutex<Option<Arc<[Listener]>>>,
    endpoints: Vec<Endpoint>,
}

impl Server {
    /// Begins a server that answers requests with `handler`.
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

    pub(crate) fn new(
        core: Arc<Core>,
        dispatcher: Dispatcher,
        control: Arc<Control>,
        timeout: Option<Duration>,
        listeners: Arc<[Listener]>,
        own_addresses: Arc<OwnAddresses>,
    ) -> Self {
        Server {
            own_addresses,
            tells_of_drops: true,
            core,
            dispatcher,
            control,
            timeout,
            arrivals: Arrivals::new(&listeners),
            waiting: Mutex::default(),
            endpoints: listeners.iter().map(|listener| listener.endpoint().clone()).collect(),
            listeners: Mutex::new(Some(listeners)),
        }
    }

    /// Where the server listens, in the order in which it was told to, with
    /// the real ports.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The address of the first listening socket, with its real port. It is
    /// still there when the server is closed. Python's `server_address`.
    pub fn server_address(&self) -> &Address {
        self.endpoints[0].address()
    }

    /// The descriptor of the first listening socket, for a `poll` of one's
    /// own; `None` when the server is closed. Python's `fileno`, which is -1
    /// then.
    pub fn fileno(&self) -> Option<RawFd> {
        self.listeners().ok().map(|listeners| listeners[0].fileno())
    }

    /// A second descriptor for the first listening socket, for a `poll` or a
    /// `select` of one's own that outlives a `server_close`. Python's `socket`.
    ///
    /// Errors: the server is closed (`EBADF`), or there is no descriptor to be
    /// had.
    pub fn socket(&self) -> io::Result<OwnedFd> {
        let listeners = self.listeners().map_err(|_| Errno::BADF)?;
        listeners[0].as_fd().try_clone_to_owned()
    }

    /// How many requests may be in flight at once.
    pub fn max_requests(&self) -> usize {
        self.dispatcher.max_requests()
    }

    /// How many children there are now: those of a server that forks for each
    /// request, or its workers. The size of Python's `active_children`.
    pub fn active_children(&self) -> usize {
        self.dispatcher.active_children()
    }

    /// Takes note of children that have ended, without waiting. The loop does
    /// it by itself, in each round. Python's `collect_children`.
    pub fn collect_children(&self) {
        self.dispatcher.collect(&self.core);
    }

    /// Serves requests until `shutdown`. Python's `serve_forever`.
    ///
    /// `poll_interval` is the longest time between two calls of
    /// `service_actions`; Python's default is half a second. Unlike in
    /// CPython, `shutdown` is noticed at once whatever it is.
    ///
    /// A request that is ready when the shutdown is noticed stays in the
    /// backlog for the next run, unless the shutdown is
    /// [graceful](ServerBuilder::graceful_shutdown). The server's `timeout` is not
    /// looked at.
    ///
    /// Errors: the server is closed, or serves already; it forks, and this
    /// process has other threads; a handler that ran in this thread asked for
    /// the end of the process ([`SystemExit`](crate::SystemExit)).
    pub fn serve_forever(&self, poll_interval: Duration) -> Result<(), ServeError> {
        crate::serve::serve_forever(self, poll_interval)
    }

    /// Waits for one request for as long as the server's `timeout` says, and
    /// serves it; calls `handle_timeout` if none came. Python's
    /// `handle_request`.
    ///
    /// It ends after one request also when that one was refused by
    /// `verify_request` or lost in `accept`. Unlike in CPython, a server that
    /// forks takes note of its children here too, and waits while there are
    /// `max_children`.
    ///
    /// Errors: as [`serve_forever`](Self::serve_forever); the server has workers.
    pub fn handle_request(&self) -> Result<(), ServeError> {
        crate::serve::handle_request(self)
    }

    /// Ends `serve_forever`, and waits until it has ended. Python's
    /// `shutdown`.
    ///
    /// As in CPython, before the first `serve_forever` it waits for that to
    /// begin and end; when none is running it returns at once, and the next
    /// `serve_forever` ends at once too. A request that runs in the thread
    /// that serves is waited for, those in other threads are not. The server
    /// still listens afterwards.
    ///
    /// Errors: it was called from the thread that serves, which cannot wait
    /// for itself.
    pub fn shutdown(&self) -> Result<(), ShutdownError> {
        self.control.shutdown()
    }

    /// Something to end this server with from elsewhere.
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        ShutdownHandle(Arc::clone(&self.control))
    }

    /// Takes the clients that wait in the backlog, and then refuses later ones. The end
    /// of `serve_forever` does this where the shutdown is
    /// [graceful](ServerBuilder::graceful_shutdown). The loop, if one runs, ends.
    ///
    /// `server_close` and `server_close_within` serve the clients that were taken; if
    /// neither is called, their connections are closed with the server. This may be
    /// called from any thread, in particular while a request runs in the thread that
    /// serves, and more than once. Workers do it themselves when the loop of their
    /// parent ends.
    ///
    /// No more connections are taken than `request_queue_size` says, and no more than
    /// an eighth of the descriptors that the process may have; a connection that is
    /// made while the last one is taken may be reset.
    pub fn stop_listening(&self) {
        drain::stop_listening(self);
    }

    /// Closes the listening sockets, then waits for the requests in flight as
    /// `block_on_close` says. Closing twice is no error. Python's
    /// `server_close`.
    ///
    /// A handler that closes its own server waits for the others only, where
    /// CPython raises `RuntimeError`. Clients that wait in the backlog are reset
    /// by the kernel; those of a server whose shutdown is
    /// [graceful](ServerBuilder::graceful_shutdown), or that has
    /// [stopped listening](Self::stop_listening), are served first. If
    /// `serve_forever` is running in another thread it ends, where CPython's
    /// would spin.
    pub fn server_close(&self) {
        self.close(None);
    }

    /// As [`server_close`](Self::server_close), but waits for `grace` at most.
    /// Returns how many requests are still in flight, or wait to be; of a server with
    /// workers, how many of them are still there. Called again, it goes on.
    pub fn server_close_within(&self, grace: Duration) -> usize {
        self.close(Instant::now().checked_add(grace))
    }

    fn close(&self, deadline: Option<Instant>) -> usize {
        if self.control.graceful().is_some() {
            self.stop_listening();
        }
        self.close_listeners();
        match drain::serve_waiting(self, deadline) {
            0 => self.dispatcher.close(&self.core, deadline),
            waiting => waiting + self.dispatcher.in_flight(),
        }
    }

    fn close_listeners(&self) {
        if self.take_listeners().is_some() {
            self.control.request_shutdown();
        }
    }

    /// Takes the listening sockets from the server, which is closed from then on.
    pub(crate) fn take_listeners(&self) -> Option<Arc<[Listener]>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn waiting(&self) -> MutexGuard<'_, VecDeque<Job>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn listeners(&self) -> Result<Arc<[Listener]>, ServeError> {
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.clone().ok_or(ServeError::Closed)
    }

    pub(crate) fn report_dropped(&self, listeners: &[Listener]) {
        for listener in listeners.iter().filter(|_| self.tells_of_drops) {
            let count = listener.newly_dropped();
            if count > 0 {
                let (endpoint, reason) = (listener.endpoint(), DropReason::NoRoom);
                self.core.hooks.handle_dropped(endpoint, count.into(), reason);
            }
        }
    }

    pub(crate) fn report_accept_error(&self, listener: &Listener, error: &io::Error) {
        self.core.hooks.handle_accept_error(listener.endpoint(), error);
    }
}

impl Drop for Server {
    /// Closes the server as CPython does, also if the shutdown is graceful: clients that
    /// wait are not served.
    fn drop(&mut self) {
        self.close_listeners();
        self.waiting().clear();
        self.dispatcher.close(&self.core, None);
    }
}
