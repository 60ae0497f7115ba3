//! Making a server.

use std::time::Duration;

use crate::concurrency::{Concurrency, Core, Dispatcher};
use crate::control::Control;
use crate::endpoint::Endpoint;
use crate::error::BuildError;
use crate::handler::RequestHandler;
use crate::hooks::{DefaultHooks, Hooks};
use crate::server::Server;
use crate::socket::{Listener, SocketOptions};

/// What Python spreads over a constructor, class attributes and base classes.
/// [`Server::builder`] begins one, [`build`](Self::build) ends it.
#[must_use = "`build` makes the server"]
pub struct ServerBuilder {
    handler: Box<dyn RequestHandler>,
    hooks: Box<dyn Hooks>,
    endpoints: Vec<Endpoint>,
    concurrency: Concurrency,
    socket: SocketOptions,
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
                allow_reuse_port: false,
                timeout: None,
            },
        }
    }

    /// `SOMAXCONN`: the default backlog, as in CPython 3.15. Older versions
    /// have 5.
    pub const REQUEST_QUEUE_SIZE: u32 = 4096;

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
    /// `allow_reuse_address`, false by default.
    pub fn allow_reuse_address(mut self, allow: bool) -> Self {
        self.socket.allow_reuse_address = allow;
        self
    }

    /// Whether other servers may listen on the same address at the same time.
    /// Python's `allow_reuse_port`, false by default.
    pub fn allow_reuse_port(mut self, allow: bool) -> Self {
        self.socket.allow_reuse_port = allow;
        self
    }

    /// How long `handle_request` waits for a request; without end by default.
    /// Python's `timeout`.
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.socket.timeout = timeout;
        self
    }

    /// Binds and listens. Python's constructor with `bind_and_activate`.
    ///
    /// Errors: no address; an address that cannot be bound (the sockets that
    /// were bound before it are closed again); a limit that the machine does
    /// not allow.
    pub fn build(self) -> Result<Server, BuildError> {
        if self.endpoints.is_empty() {
            return Err(BuildError::NoAddress);
        }
        let control = Control::new()?;
        let dispatcher = Dispatcher::new(&self.concurrency, &control)?;
        let listeners = self
            .endpoints
            .iter()
            .map(|endpoint| {
                Listener::bind(endpoint, &self.socket)
                    .map_err(|error| BuildError::Bind { endpoint: endpoint.clone(), error })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let core = Core { handler: self.handler, hooks: self.hooks };
        Ok(Server::new(core, dispatcher, control, self.socket.timeout, listeners))
    }
}
