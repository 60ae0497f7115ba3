//! Making a server.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::address::SocketType;
use crate::bind_hint::BindHint;
use crate::concurrency::{Concurrency, Core, Dispatcher};
use crate::control::Control;
use crate::drain;
use crate::endpoint::Endpoint;
use crate::error::BuildError;
use crate::handler::RequestHandler;
use crate::hooks::{DefaultHooks, Hooks};
use crate::own_addresses::OwnAddresses;
use crate::server::Server;
use crate::socket::{Listener, SocketOptions};
use crate::unix_path::SocketFile;

/// The `timeout` of Python's `ForkingMixIn`.
const FORKING_TIMEOUT: Duration = Duration::from_mins(5);

/// What Python spreads over a constructor, class attributes and base classes.
/// [`Server::builder`] begins one, [`build`](Self::build) ends it.
#[must_use = "`build` makes the server"]
pub struct ServerBuilder {
    handler: Box<dyn RequestHandler>,
    hooks: Box<dyn Hooks>,
    endpoints: Vec<Endpoint>,
    concurrency: Concurrency,
    socket: SocketOptions,
    /// Whether `timeout` was called: the default depends on the concurrency.
    has_timeout: bool,
    stop: Option<OwnedFd>,
    attention: Option<OwnedFd>,
    graceful: bool,
}

impl ServerBuilder {
    pub(crate) fn new(handler: Box<dyn RequestHandler>) -> Self {
        ServerBuilder {
            handler,
            hooks: Box::new(DefaultHooks),
            endpoints: Vec::new(),
            concurrency: Concurrency::Sync,
            socket: SocketOptions {
                request_queue_size: Self::REQUEST_QUEUE_SIZE,
                allow_reuse_address: false,
                allow_reuse_address_of_datagrams: false,
                allow_reuse_port: false,
                max_packet_size: Self::MAX_PACKET_SIZE,
                timeout: None,
                file: SocketFile::default(),
                may_start_threads: true,
            },
            has_timeout: false,
            stop: None,
            attention: None,
            graceful: false,
        }
    }

    /// `SOMAXCONN`: the default backlog, as in CPython 3.15. Older versions
    /// have 5.
    pub const REQUEST_QUEUE_SIZE: u32 = 4096;

    /// The longest datagram that is taken whole by default, in bytes, as in
    /// CPython.
    pub const MAX_PACKET_SIZE: usize = 8192;

    /// Where to listen. Called again, the server listens there as well: one
    /// loop serves all its sockets.
    pub fn bind(mut self, endpoint: Endpoint) -> Self {
        self.endpoints.push(endpoint);
        self
    }

    /// How requests are run; one at a time by default.
    pub fn concurrency(mut self, concurrency: Concurrency) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// What to do beside serving; Python's defaults if not called.
    pub fn hooks(mut self, hooks: impl Hooks) -> Self {
        self.hooks = Box::new(hooks);
        self
    }

    /// How many connections may wait to be accepted. The kernel caps it at
    /// `net.core.somaxconn`, and Linux lets one more in. Python's
    /// `request_queue_size`.
    pub fn request_queue_size(mut self, size: u32) -> Self {
        self.socket.request_queue_size = size;
        self
    }

    /// Whether to bind an address on which connections of an earlier server
    /// are still in `TIME_WAIT`; that one must have allowed it too. Python's
    /// `allow_reuse_address`, false by default: `SO_REUSEADDR`, see `socket(7)`.
    ///
    /// For datagrams it means more: any process whose socket has the option too
    /// can bind the same address, and then receives what is sent there. See
    /// [`allow_reuse_address_for`](Self::allow_reuse_address_for).
    pub fn allow_reuse_address(self, allow: bool) -> Self {
        self.allow_reuse_address_for(SocketType::Stream, allow)
            .allow_reuse_address_for(SocketType::Dgram, allow)
    }

    /// Sets [`allow_reuse_address`](Self::allow_reuse_address) for sockets of one
    /// type only.
    pub fn allow_reuse_address_for(mut self, socket_type: SocketType, allow: bool) -> Self {
        match socket_type {
            SocketType::Stream => self.socket.allow_reuse_address = allow,
            SocketType::Dgram => self.socket.allow_reuse_address_of_datagrams = allow,
        }
        self
    }

    /// Whether other servers may listen on the same address at the same time.
    /// Python's `allow_reuse_port`, false by default.
    pub fn allow_reuse_port(mut self, allow: bool) -> Self {
        self.socket.allow_reuse_port = allow;
        self
    }

    /// The longest datagram that is taken whole, in bytes; the rest of a longer
    /// one is lost. Each request in flight may take that much memory. More than
    /// 16 MiB, which no datagram has, counts as that. Python's `max_packet_size`.
    pub fn max_packet_size(mut self, size: usize) -> Self {
        self.socket.max_packet_size = size.min(16 << 20);
        self
    }

    /// Whether to remove the file of a Unix socket before binding it, if the socket
    /// that made it is closed. Python never does, and fails with `EADDRINUSE`, which
    /// is the default here too; the error carries [`BindHint::StaleSocket`] then.
    ///
    /// Of servers of this crate that start at the same time with the same path, one
    /// gets it, and the others fail with `EADDRINUSE`: they lock the directory
    /// (`flock(2)`) until the path is bound. The file of a server of another program,
    /// bound since the look, is put back: the stale file is exchanged
    /// (`RENAME_EXCHANGE` of `rename(2)`), and what was there is looked at. That cannot
    /// be done on every file system, such as some in networks; and a program that removes
    /// files without a look may remove this server's.
    pub fn remove_stale_socket(mut self, remove: bool) -> Self {
        self.socket.file.remove_stale = remove;
        self
    }

    /// The permissions of the file of a Unix socket, such as `0o660`, whatever
    /// the umask. By default `0o777` less the umask, as in Python.
    pub fn socket_mode(mut self, mode: u32) -> Self {
        self.socket.file.mode = Some(mode);
        self
    }

    /// The user and the group, by number, that the file of a Unix socket is
    /// given to; `None` leaves it with this process's. Only root may give files
    /// away.
    pub fn socket_owner(mut self, user: Option<u32>, group: Option<u32>) -> Self {
        self.socket.file.owner = (user, group);
        self
    }

    /// How long `handle_request` waits for a request; by default without end,
    /// and for 300 seconds if requests are forked. Python's `timeout`.
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.socket.timeout = timeout;
        self.has_timeout = true;
        self
    }

    /// Ends `serve_forever` and `handle_request` when this descriptor becomes
    /// readable, or the other end of it is closed. It is not read: they end at
    /// once from then on.
    ///
    /// A signal handler can write to the other end of a pipe, where a thread
    /// that waits for signals would stand in the way of forking.
    pub fn shutdown_when_readable(mut self, stop: OwnedFd) -> Self {
        self.stop = Some(stop);
        self
    }

    /// Makes a shutdown final, and one that leaves no client behind that had come before
    /// it. False by default, as in Python, where `shutdown` leaves the clients that wait
    /// in the backlog for another run, and `server_close` resets them.
    ///
    /// A graceful `serve_forever` ends with [`Server::stop_listening`], which takes the
    /// clients that wait and refuses later ones. `server_close` and
    /// `server_close_within` serve the clients that were taken as places become free,
    /// in the order in which they came, and wait for them. Datagrams that were in the
    /// socket are served too; later ones are lost.
    pub fn graceful_shutdown(mut self, graceful: bool) -> Self {
        self.graceful = graceful;
        self
    }

    /// Calls `service_actions` at once when this descriptor becomes readable,
    /// and not only when the poll interval is over; in `handle_request`, which does
    /// not call it otherwise, too. It is not read here: `service_actions` has to do
    /// it.
    pub fn service_when_readable(mut self, attention: OwnedFd) -> Self {
        self.attention = Some(attention);
        self
    }

    /// Binds and listens. Python's constructor with `bind_and_activate`.
    ///
    /// Errors: no address; an address that cannot be bound (the sockets that
    /// were bound before it are closed again); a limit that the machine does
    /// not allow.
    pub fn build(mut self) -> Result<Server, BuildError> {
        if self.endpoints.is_empty() {
            return Err(BuildError::NoAddress);
        }
        for endpoint in &self.endpoints {
            endpoint
                .options()
                .check(endpoint.scheme(), endpoint.address())
                .map_err(|error| BuildError::Options { endpoint: endpoint.clone(), error })?;
            self.handler.check_endpoint(endpoint).map_err(|reason| BuildError::WrongHandler {
                endpoint: endpoint.clone(),
                reason,
            })?;
        }
        if matches!(self.concurrency, Concurrency::Forking(_)) {
            self.socket.may_start_threads = false;
            if !self.has_timeout {
                self.socket.timeout = Some(FORKING_TIMEOUT);
            }
        }
        let graceful = self.graceful.then(drain::most_connections);
        let control = Control::new(self.stop.map(Arc::new), self.attention, graceful)?;
        let dispatcher = Dispatcher::new(&self.concurrency, &control)?;
        let listeners = self
            .endpoints
            .iter()
            .map(|endpoint| {
                Listener::bind(endpoint, &self.socket).map_err(|error| {
                    let hint = BindHint::find(endpoint, &self.endpoints, &error);
                    BuildError::Bind { endpoint: endpoint.clone(), error, hint }
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let own = Arc::new(OwnAddresses::new(&listeners));
        let core = Arc::new(Core { handler: self.handler, hooks: self.hooks });
        Ok(Server::new(core, dispatcher, control, self.socket.timeout, listeners.into(), own))
    }
}
