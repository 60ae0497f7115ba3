//! The sockets that one guest opens: how many, and where they may lead.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use rustix::io::Errno;
use socket2::{Domain, Socket, Type};
use socketserver::{Address, Request};

use crate::host::grants::Grants;
use crate::host::open_files;
use crate::limits::kill::Kill;
use crate::network_grants::{HostName, NetworkGrants, Protocol};
use crate::policy::Policy;

/// The number of addresses that one request remembers of its lookups. Those of earlier lookups
/// are forgotten beyond it.
const MAX_RESOLVED: usize = 256;

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
    /// The addresses to which granted names have led.
    resolved: Vec<(HostName, IpAddr)>,
}

/// A permit to have one more socket open.
pub(crate) struct Permit {
    open: Arc<AtomicUsize>,
    _of_process: open_files::Permit,
}

impl OpenedSockets {
    pub(crate) fn new(request: &Request, grants: &Arc<Grants>, policy: &Policy) -> Self {
        OpenedSockets {
            request: request.clone(),
            grants: Arc::clone(grants),
            max_sockets: policy.sockets,
            max_connects: policy.connects,
            connects: 0,
            open: Arc::default(),
            lookups: Arc::default(),
            resolved: Vec::new(),
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
    /// Those of [`permit`](Self::permit) and of `socket(2)`.
    pub(crate) fn socket(&self, domain: Domain, kind: Type, protocol: i32) -> io::Result<Request> {
        let permit = self.permit()?;
        let socket = Socket::new(domain, kind.nonblocking(), Some(protocol.into()))?;
        permit.open(&self.request, socket)
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

    /// Remembers that a granted name has led to an address.
    pub(crate) fn remember(&mut self, name: &HostName, ip: IpAddr) {
        let resolved = (name.clone(), ip.to_canonical());
        if self.resolved.contains(&resolved) {
            return;
        }
        if self.resolved.len() >= MAX_RESOLVED {
            self.resolved.remove(0);
        }
        self.resolved.push(resolved);
    }

    /// Returns true if the guest may connect or send to `address`.
    pub(crate) fn may_connect(&self, protocol: Protocol, address: &Address) -> bool {
        self.grants().may_connect(protocol, address, |name, ip| {
            self.resolved.iter().any(|(known, to)| known == name && *to == ip)
        })
    }
}

impl Permit {
    /// Gives the permit to a socket of the guest of `request`, which keeps it until its end.
    pub(crate) fn open(self, request: &Request, socket: Socket) -> io::Result<Request> {
        let opened = request.open(socket)?;
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
