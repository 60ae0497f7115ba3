//! The sockets that one guest opens: how many, and where they may lead.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};

use rustix::io::Errno;
use socket2::{Domain, Socket, Type};
use socketserver::{Address, Request};

use crate::broker::Broker;
use crate::broker::client::{BrokeredSocket, Connection};
use crate::host::grants::Grants;
use crate::host::open_files;
use crate::limits::kill::Kill;
use crate::lookup::{Lookup, LookupOutcome};
use crate::network_grants::{HostName, NetworkGrants, Protocol};
use crate::network_rules::Resolved;
use crate::policy::Policy;

/// The number of lookups that one guest does at once, with those that it has left.
const MAX_LOOKUPS: usize = 4;

/// The sockets that one guest opens. Their number and that of its attempts to connect are
/// limited.
pub(crate) struct OpenedSockets {
    pub request: Request,
    grants: Arc<Grants>,
    max_sockets: usize,
    max_connects: u32,
    connects: u32,
    open: Arc<AtomicUsize>,
    /// Has another owner for each lookup that goes on.
    lookups: Arc<()>,
    resolved: Resolved,
    /// The process that opens the sockets, if this one may not.
    broker: Option<Arc<Broker>>,
    /// The connection to it, once it is needed.
    connection: OnceLock<Arc<Connection>>,
}

/// A permit to have one more socket open.
pub(crate) struct Permit {
    open: Arc<AtomicUsize>,
    _of_process: open_files::Permit,
}

impl OpenedSockets {
    pub(crate) fn new(
        request: &Request,
        grants: &Arc<Grants>,
        policy: &Policy,
        broker: Option<Arc<Broker>>,
    ) -> Self {
        OpenedSockets {
            request: request.clone(),
            grants: Arc::clone(grants),
            max_sockets: policy.sockets,
            max_connects: policy.connects,
            connects: 0,
            open: Arc::default(),
            lookups: Arc::default(),
            resolved: Resolved::default(),
            broker,
            connection: OnceLock::new(),
        }
    }

    /// Returns what is granted.
    pub(crate) fn grants(&self) -> &NetworkGrants {
        &self.grants.network
    }

    /// Returns the permit for one more socket.
    ///
    /// # Errors
    ///
    /// `EMFILE` if the guest has as many as it may, `ENFILE` if all guests together have.
    pub(crate) fn permit(&self) -> Result<Permit, Errno> {
        let within = |count: usize| count.checked_add(1).filter(|count| *count <= self.max_sockets);
        let of_process = self.grants.files.permit().ok_or(Errno::NFILE)?;
        self.open.fetch_update(SeqCst, SeqCst, within).map_err(|_| Errno::MFILE)?;
        Ok(Permit { open: Arc::clone(&self.open), _of_process: of_process })
    }

    /// Opens a socket. The caller has checked that the guest may have one of this kind.
    ///
    /// # Errors
    ///
    /// The errors of [`permit`](Self::permit), of the broker and of `socket(2)`.
    pub(crate) fn socket(&self, domain: Domain, kind: Type, protocol: i32) -> io::Result<Request> {
        let permit = self.permit()?;
        if let Some(connection) = self.connection()? {
            let socket = connection.socket(domain, kind, protocol)?;
            return permit.open_elsewhere(&self.request, socket);
        }
        let socket = Socket::new(domain, kind.nonblocking(), Some(protocol.into()))?;
        permit.open(&self.request, socket)
    }

    /// Opens two Unix sockets that are connected to each other.
    ///
    /// # Errors
    ///
    /// The errors of [`permit`](Self::permit), of the broker and of `socketpair(2)`.
    pub(crate) fn socketpair(&self, kind: Type) -> io::Result<(Request, Request)> {
        let (first, second) = (self.permit()?, self.permit()?);
        let request = &self.request;
        if let Some(connection) = self.connection()? {
            let (one, other) = connection.socketpair(kind)?;
            return Ok((
                first.open_elsewhere(request, one)?,
                second.open_elsewhere(request, other)?,
            ));
        }
        let (one, other) = Socket::pair(Domain::UNIX, kind.nonblocking(), None)?;
        Ok((first.open(request, one)?, second.open(request, other)?))
    }

    /// Looks up a granted name, while the request waits, and remembers where it leads.
    ///
    /// # Errors
    ///
    /// The request reached a limit, or the broker is gone.
    pub(crate) async fn look_up(
        &mut self,
        granted: &HostName,
        lookup: Lookup,
    ) -> io::Result<LookupOutcome> {
        let outcome = match self.connection()? {
            Some(connection) => connection.look_up(&lookup, &self.request).await?,
            None => lookup.run_in_thread(&self.request).await?,
        };
        for found in outcome.iter().flatten() {
            self.resolved.remember(granted, found.address.ip());
        }
        Ok(outcome)
    }

    /// Returns the connection to the broker, if there is one.
    fn connection(&self) -> io::Result<Option<&Arc<Connection>>> {
        let Some(broker) = &self.broker else { return Ok(None) };
        if let Some(connection) = self.connection.get() {
            return Ok(Some(connection));
        }
        let connection = broker.connection(&self.request)?;
        Ok(Some(self.connection.get_or_init(|| connection)))
    }

    /// Counts an attempt to connect, or a connection that the guest accepts.
    pub(crate) fn count_connect(&mut self) -> Result<(), Kill> {
        if self.connects >= self.max_connects {
            return Err(Kill::Connects { limit: self.max_connects });
        }
        self.connects += 1;
        Ok(())
    }

    /// Returns the permit for one more lookup beside the guest, for as long as it goes on.
    pub(crate) fn lookup(&self) -> Option<impl Send + 'static> {
        (Arc::strong_count(&self.lookups) <= MAX_LOOKUPS).then(|| Arc::clone(&self.lookups))
    }

    /// Returns true if another process opens the sockets and looks up the names.
    pub(crate) fn has_broker(&self) -> bool {
        self.broker.is_some()
    }

    /// Remembers that a granted name has led to an address.
    pub(crate) fn remember(&mut self, name: &HostName, ip: IpAddr) {
        self.resolved.remember(name, ip);
    }

    /// Returns true if the guest may connect or send to `address`.
    pub(crate) fn may_connect(&self, protocol: Protocol, address: &Address) -> bool {
        self.resolved.may_connect(self.grants(), protocol, address)
    }
}

impl Permit {
    /// Gives the permit to a socket of the guest of `request`, which keeps it until its end.
    pub(crate) fn open(self, request: &Request, socket: Socket) -> io::Result<Request> {
        let opened = request.open(socket)?;
        opened.keep(self);
        Ok(opened)
    }

    /// Gives the permit to a socket on which the broker makes the calls with an address.
    fn open_elsewhere(
        self,
        request: &Request,
        (socket, calls): BrokeredSocket,
    ) -> io::Result<Request> {
        let opened = request.open_elsewhere(socket, calls)?;
        opened.keep(self);
        Ok(opened)
    }

    /// Gives the permit to a socket that was accepted.
    pub(crate) fn keep_in(self, opened: &Request) {
        opened.keep(self);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.open.fetch_sub(1, SeqCst);
    }
}
