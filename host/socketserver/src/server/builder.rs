//! The construction of a server.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use std::{io, mem};

use nix::sys::signal::{SigSet, Signal};

use super::control::Control;
use super::defer::DeferAccept;
use super::parts::Parts;
use super::pending::PendingConnections;
use super::{Server, drain};
use crate::address::SocketType;
use crate::concurrency::{Application, Concurrency};
use crate::error::BuildError;
use crate::handler::RequestHandler;
use crate::hooks::{DefaultHooks, Hooks};
use crate::listen::bind_hint::BindHint;
use crate::listen::bound_socket::BoundSocket;
use crate::listen::endpoint::Endpoint;
use crate::listen::listener::{Listener, SocketOptions};
use crate::listen::own_addresses::OwnAddresses;
use crate::listen::unix_path::SocketFile;
use crate::proxy::ProxyProtocol;
use crate::server_info;
use crate::tls::TlsServer;

/// The `timeout` of Python's `ForkingMixIn`.
const FORKING_TIMEOUT: Duration = Duration::from_mins(5);

/// A place where the server listens.
enum Place {
    /// An address that the server binds.
    Address(Endpoint),
    /// A socket that another process has bound.
    Socket(BoundSocket),
}

impl Place {
    fn endpoint(&self) -> &Endpoint {
        match self {
            Place::Address(endpoint) => endpoint,
            Place::Socket(socket) => socket.endpoint(),
        }
    }

    fn with_tls(self) -> Place {
        match self {
            Place::Address(endpoint) => Place::Address(endpoint.with_tls(true)),
            Place::Socket(socket) => Place::Socket(socket.with_tls(true)),
        }
    }
}

/// The settings of a server: in Python, the arguments of its constructor, its class
/// attributes and its base classes. [`Server::builder`] returns one, and
/// [`build`](Self::build) makes the server.
#[must_use = "`build` makes the server"]
pub struct ServerBuilder {
    handler: Box<dyn RequestHandler>,
    hooks: Box<dyn Hooks>,
    places: Vec<Place>,
    concurrency: Concurrency,
    socket: SocketOptions,
    /// Set if `timeout` was called: the default depends on the concurrency.
    has_timeout: bool,
    stop: Option<OwnedFd>,
    attention: Option<OwnedFd>,
    graceful: bool,
    signals_for_parent: Vec<i32>,
    proxies: Option<ProxyProtocol>,
    defer: Option<DeferAccept>,
    tls: Option<TlsServer>,
}

impl ServerBuilder {
    pub(super) fn new(handler: Box<dyn RequestHandler>) -> Self {
        ServerBuilder {
            handler,
            hooks: Box::new(DefaultHooks),
            places: Vec::new(),
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
            signals_for_parent: Vec::new(),
            proxies: None,
            defer: None,
            tls: None,
        }
    }

    /// The default backlog: `SOMAXCONN`, as in CPython 3.15. Older versions
    /// have 5.
    pub const REQUEST_QUEUE_SIZE: u32 = server_info::REQUEST_QUEUE_SIZE;

    /// The default size of the longest datagram that is taken whole, in bytes, as in
    /// CPython.
    pub const MAX_PACKET_SIZE: usize = server_info::MAX_PACKET_SIZE;

    /// Adds an endpoint to listen on. One loop serves all endpoints of a server.
    pub fn bind(mut self, endpoint: Endpoint) -> Self {
        self.places.push(Place::Address(endpoint));
        self
    }

    /// Adds a socket that another process has bound, such as systemd. The settings of
    /// sockets do not apply to it, except for `max_packet_size` and `timeout`.
    pub fn listen_on(mut self, socket: BoundSocket) -> Self {
        self.places.push(Place::Socket(socket));
        self
    }

    /// Sets the way in which requests run; by default one at a time.
    pub fn concurrency(mut self, concurrency: Concurrency) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// Sets the hooks that the server calls; by default [`DefaultHooks`], as Python's
    /// methods.
    pub fn hooks(mut self, hooks: impl Hooks) -> Self {
        self.hooks = Box::new(hooks);
        self
    }

    /// Sets the number of connections that may wait to be accepted. The kernel lowers it
    /// to `net.core.somaxconn`, and Linux accepts one more. Python's
    /// `request_queue_size`.
    pub fn request_queue_size(mut self, size: u32) -> Self {
        self.socket.request_queue_size = size;
        self
    }

    /// Allows binding an address on which connections of an earlier server
    /// are still in `TIME_WAIT`; that server must have allowed it too. Python's
    /// `allow_reuse_address`, false by default: `SO_REUSEADDR`, see `socket(7)`.
    ///
    /// For datagrams it means more: any process whose socket has the option too
    /// can bind the same address, and then receives the datagrams that are sent there.
    /// See [`allow_reuse_address_for`](Self::allow_reuse_address_for).
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

    /// Allows other servers to listen on the same address at the same time.
    /// Python's `allow_reuse_port`, false by default.
    pub fn allow_reuse_port(mut self, allow: bool) -> Self {
        self.socket.allow_reuse_port = allow;
        self
    }

    /// Sets the size of the longest datagram that is taken whole, in bytes; the rest of a
    /// longer one is lost. Each request in flight may take that much memory. No datagram
    /// has more than 16 MiB, so larger values count as 16 MiB. Python's
    /// `max_packet_size`.
    pub fn max_packet_size(mut self, size: usize) -> Self {
        self.socket.max_packet_size = size.min(16 << 20);
        self
    }

    /// Removes the file at the path of a Unix socket before binding it, if the socket
    /// that made the file is closed. Python never does that, and fails with `EADDRINUSE`,
    /// which is the default here too; the error then contains
    /// [`BindHint::StaleSocket`].
    ///
    /// If servers of this crate start at the same time with the same path, one of them
    /// gets it, and the others fail with `EADDRINUSE`: they lock the directory
    /// (`flock(2)`) until the path is bound. If another program has bound the path after
    /// the check, its file is put back: the stale file is exchanged
    /// (`RENAME_EXCHANGE` of `rename(2)`), and the file that was there is checked. Some
    /// file systems, such as network file systems, cannot do that. And a program that
    /// removes files without a check may remove this server's.
    pub fn remove_stale_socket(mut self, remove: bool) -> Self {
        self.socket.file.remove_stale = remove;
        self
    }

    /// Sets the permissions of the file of a Unix socket, such as `0o660`; the umask does
    /// not apply. By default `0o777` without the bits of the umask, as in Python.
    pub fn socket_mode(mut self, mode: u32) -> Self {
        self.socket.file.mode = Some(mode);
        self
    }

    /// Sets the user and the group, by number, that own the file of a Unix socket;
    /// `None` leaves those of this process. Only root may give files away.
    pub fn socket_owner(mut self, user: Option<u32>, group: Option<u32>) -> Self {
        self.socket.file.owner = (user, group);
        self
    }

    /// Sets the longest time that `handle_request` waits for a request; by default no
    /// limit, and 300 seconds with [`Concurrency::Forking`]. Python's `timeout`.
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.socket.timeout = timeout;
        self.has_timeout = true;
        self
    }

    /// Ends `serve_forever` and `handle_request` when this descriptor becomes
    /// readable, or its other end is closed. The server does not read it, so later calls
    /// end at once too.
    ///
    /// This is for shutdown by a signal: the signal handler writes to the other end of a
    /// pipe. A thread that waits for signals would make forking impossible. The example
    /// `shutdown_by_signal` shows it.
    pub fn shutdown_when_readable(mut self, stop: OwnedFd) -> Self {
        self.stop = Some(stop);
        self
    }

    /// Makes a shutdown final, and serves all clients that came before it. False by
    /// default, as in Python, where `shutdown` leaves the clients in the backlog for
    /// another run, and `server_close` resets them.
    ///
    /// A graceful `serve_forever` ends with [`Server::stop_listening`], which takes the
    /// clients that wait and refuses later ones. `server_close` and
    /// `server_close_within` serve the clients that were taken as permits become free,
    /// in the order in which they came, and wait for them. Datagrams that were in the
    /// socket are served too; later ones are lost.
    pub fn graceful_shutdown(mut self, graceful: bool) -> Self {
        self.graceful = graceful;
        self
    }

    /// Takes connections from proxies only, which name the client of each in a header of the
    /// PROXY protocol. It holds for all sockets of the server, which are for connections.
    pub fn proxies(mut self, proxies: ProxyProtocol) -> Self {
        self.proxies = Some(proxies);
        self
    }

    /// Makes no request of a connection before the first byte of its client has come. It holds
    /// for all sockets of the server, which are for connections. Not done by default.
    pub fn defer_accept(mut self, defer: DeferAccept) -> Self {
        self.defer = Some(defer);
        self
    }

    /// Speaks TLS on the sockets whose endpoints [have it](Endpoint::has_tls), or on all sockets of
    /// the server if none has. Sockets with TLS are for connections. The thread or process of a
    /// request does the handshake before the handler runs.
    pub fn tls(mut self, tls: TlsServer) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Makes forked children and workers leave these signals, by number, to the process that
    /// serves: the signals are blocked in a child from its first instruction, so that a
    /// signal to the whole process group runs the handler of one process. A child that
    /// another process is to end needs `SIGKILL`. No signals by default, as in Python.
    pub fn signals_for_parent(mut self, signals: &[i32]) -> Self {
        self.signals_for_parent = signals.to_vec();
        self
    }

    /// Calls `service_actions` at once when this descriptor becomes readable,
    /// and not only when the poll interval is over. This also holds for
    /// `handle_request`, which does not call it otherwise. `service_actions` must read
    /// the descriptor: the server does not.
    pub fn service_when_readable(mut self, attention: OwnedFd) -> Self {
        self.attention = Some(attention);
        self
    }

    /// Binds, listens and returns the sockets, for a process that serves at them. No handler
    /// is called.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build), as far as sockets go.
    pub fn bind_only(self) -> Result<Vec<BoundSocket>, BuildError> {
        let endpoints = self.checked_endpoints()?;
        let listeners = listen(self.places, &endpoints, &self.socket)?;
        Ok(listeners.iter().map(Listener::to_bound_socket).collect::<io::Result<_>>()?)
    }

    /// Returns the endpoints, whose options fit them.
    fn checked_endpoints(&self) -> Result<Vec<Endpoint>, BuildError> {
        if self.places.is_empty() {
            return Err(BuildError::NoAddress);
        }
        let endpoints: Vec<_> = self.places.iter().map(|place| place.endpoint().clone()).collect();
        for endpoint in &endpoints {
            endpoint
                .options()
                .check(endpoint.scheme(), endpoint.address())
                .map_err(|error| BuildError::Options { endpoint: endpoint.clone(), error })?;
        }
        if let Some(proxies) = &self.proxies {
            let mut checks = endpoints.iter().map(|endpoint| proxies.check_endpoint(endpoint));
            checks.try_for_each(|check| check).map_err(BuildError::Proxies)?;
        }
        if let Some(defer) = &self.defer {
            let mut checks = endpoints.iter().map(|endpoint| defer.check_endpoint(endpoint));
            checks.try_for_each(|check| check).map_err(BuildError::DeferAccept)?;
        }
        Ok(endpoints)
    }

    /// Marks all places as those with TLS if the server has a certificate and marks none.
    fn mark_places_with_tls(&mut self) -> Result<(), BuildError> {
        let endpoints = || self.places.iter().map(Place::endpoint);
        let marked = endpoints().find(|endpoint| endpoint.has_tls());
        let Some(tls) = &self.tls else {
            let without = |it: &Endpoint| BuildError::Tls(format!("{it} needs a certificate"));
            return marked.map_or(Ok(()), |endpoint| Err(without(endpoint)));
        };
        let are_all = marked.is_none();
        let mut checks = endpoints()
            .filter(|endpoint| are_all || endpoint.has_tls())
            .map(|endpoint| tls.check_endpoint(endpoint));
        checks.try_for_each(|check| check).map_err(BuildError::Tls)?;
        if are_all {
            self.places = mem::take(&mut self.places).into_iter().map(Place::with_tls).collect();
        }
        Ok(())
    }

    /// Binds, listens and returns the server. Python's constructor with
    /// `bind_and_activate`.
    ///
    /// # Errors
    ///
    /// - There is no endpoint, or the handler or the options do not fit one.
    /// - An endpoint cannot be bound. The sockets that were bound before it are closed
    ///   again.
    /// - The machine cannot hold as many requests as were asked for.
    /// - A number in [`signals_for_parent`](Self::signals_for_parent) is not a signal.
    pub fn build(mut self) -> Result<Server, BuildError> {
        self.mark_places_with_tls()?;
        let endpoints = self.checked_endpoints()?;
        for endpoint in &endpoints {
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
        let graceful = self.graceful.then(drain::max_connections);
        let control = Control::new(self.stop.map(Arc::new), self.attention, graceful)?;
        let dispatcher =
            self.concurrency.dispatcher(&control, signal_set(&self.signals_for_parent)?)?;
        let listeners = listen(self.places, &endpoints, &self.socket)?;
        let own = Arc::new(OwnAddresses::new(&listeners));
        let app = Arc::new(Application { handler: self.handler, hooks: self.hooks });
        let endpoints = listeners.iter().map(|listener| listener.endpoint().clone()).collect();
        let mut parts =
            Parts::new(app, dispatcher, control, self.socket.timeout, listeners.into(), own);
        parts.pending = PendingConnections::new(self.proxies, self.defer)?;
        parts.tls = self.tls;
        Ok(Server::from_parts(parts, endpoints))
    }
}

/// Listens at the places, which are these endpoints.
fn listen(
    places: Vec<Place>,
    endpoints: &[Endpoint],
    options: &SocketOptions,
) -> Result<Vec<Listener>, BuildError> {
    let listen = |(place, endpoint): (Place, &Endpoint)| {
        let listener = match place {
            Place::Address(endpoint) => Listener::bind(&endpoint, options),
            Place::Socket(socket) => Listener::adopt(socket, options),
        };
        listener.map_err(|error| {
            let hint = BindHint::find(endpoint, endpoints, &error);
            BuildError::Bind { endpoint: endpoint.clone(), error, hint }
        })
    };
    places.into_iter().zip(endpoints).map(listen).collect()
}

/// Returns the set of these signals, if there are any.
fn signal_set(signals: &[i32]) -> io::Result<Option<SigSet>> {
    if signals.is_empty() {
        return Ok(None);
    }
    let mut set = SigSet::empty();
    for signal in signals {
        set.add(Signal::try_from(*signal)?);
    }
    Ok(Some(set))
}
