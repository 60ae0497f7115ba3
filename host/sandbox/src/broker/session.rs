//! The calls of one connection: what is checked, and what the broker does.
//!
//! Native code may have taken over the process at the other end. So everything is checked here
//! again, by the same functions of the grants that the host asks for a guest.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dns_lookup::{AddrInfoHints, LookupErrorKind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::connect_unspec;
use socket2::{Domain, Socket, Type};
use socketserver::{Address, printable, refuse_descriptors};

use super::message::{Answer, Call, SocketId, WireFound};
use super::permits::{Permit, Permits};
use crate::lookup::{LONGEST_LOOKUP, Lookup};
use crate::network_grants::{NetworkGrants, Protocol};
use crate::network_rules::Resolved;

/// The longest text about a refused call in the log, in bytes.
const MAX_SHOWN: usize = 200;

/// The budget of one connection, and its use so far.
pub(super) struct Session {
    pub grants: Arc<NetworkGrants>,
    pub max_sockets: usize,
    pub max_connects: u32,
    /// The permits for sockets of all connections together.
    pub permits: Arc<Permits>,
    sockets: BTreeMap<SocketId, OpenSocket>,
    last_id: SocketId,
    connects: u32,
    resolved: Resolved,
    /// Set when the log has named a call that was refused.
    refusal_logged: bool,
}

/// The broker's copy of a socket.
struct OpenSocket {
    socket: Socket,
    protocol: Protocol,
    is_unix: bool,
    has_bound_any_port: bool,
    /// The address to which an attempt to connect has begun.
    connecting: Option<Address>,
    _permit: Permit,
}

/// An answer, and the new sockets that go with it, by their numbers.
pub(super) struct Reply {
    pub answer: Answer,
    pub sockets: Vec<SocketId>,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Reply { answer, sockets: Vec::new() }
    }
}

impl Session {
    pub(super) fn new(
        grants: Arc<NetworkGrants>,
        max_sockets: usize,
        max_connects: u32,
        permits: Arc<Permits>,
    ) -> Self {
        Session {
            grants,
            max_sockets,
            max_connects,
            permits,
            sockets: BTreeMap::new(),
            last_id: 0,
            connects: 0,
            resolved: Resolved::default(),
            refusal_logged: false,
        }
    }

    /// Makes a call for the other end of `connection`.
    pub(super) fn answer(&mut self, call: Call<'_>, connection: BorrowedFd<'_>) -> Reply {
        let answered = match call {
            // Only the connection of a worker has others.
            Call::Connection => Err(Errno::OPNOTSUPP.into()),
            Call::Socket { domain, kind, protocol } => {
                self.open(domain.into(), kind.into(), protocol)
            }
            Call::SocketPair { kind } => self.open_pair(kind.into()),
            Call::Bind { socket, address } => self.bind(socket, &address.into()),
            Call::Listen { socket, backlog } => self.listen(socket, backlog),
            Call::Connect { socket, address } => self.connect(socket, address.into()),
            Call::Disconnect { socket } => self.disconnect(socket),
            Call::SendTo { socket, address, data } => self.send_to(socket, data, &address.into()),
            Call::LookUp { host, service, hints } => {
                let [flags, address, socktype, protocol] = hints;
                let hints = AddrInfoHints { flags, address, socktype, protocol };
                let (host, service) = (host.map(Into::into), service.map(Into::into));
                self.look_up(Lookup { host, service, hints }, connection)
            }
            Call::Close { socket } => self.close(socket),
        };
        answered.unwrap_or_else(|error| Answer::failed(&error).into())
    }

    /// Returns a socket, to be passed to the other end.
    pub(super) fn descriptor(&self, id: SocketId) -> Option<BorrowedFd<'_>> {
        self.sockets.get(&id).map(|open| open.socket.as_fd())
    }

    fn open(&mut self, domain: Domain, kind: Type, protocol: i32) -> io::Result<Reply> {
        let granted = Protocol::of_new_socket(domain, kind, protocol)?;
        if !self.grants.may_open(granted) {
            return Err(self.refused(&format!("socket of {}", granted.as_str())));
        }
        let permit = self.permit()?;
        let socket = Socket::new(domain, kind.nonblocking(), Some(protocol.into()))?;
        let id = self.keep(socket, granted, permit);
        Ok(Reply { answer: Answer::Socket(id), sockets: vec![id] })
    }

    fn open_pair(&mut self, kind: Type) -> io::Result<Reply> {
        let protocol = Protocol::of_new_socket(Domain::UNIX, kind, 0)?;
        if self.grants.is_empty() {
            return Err(self.refused("socketpair"));
        }
        let permit = self.permit()?;
        if self.sockets.len() + 2 > self.max_sockets {
            return Err(Errno::MFILE.into());
        }
        let other_permit = self.permit()?;
        let (one, other) = Socket::pair(Domain::UNIX, kind.nonblocking(), None)?;
        let one = self.keep(one, protocol, permit);
        let other = self.keep(other, protocol, other_permit);
        Ok(Reply { answer: Answer::SocketPair(one, other), sockets: vec![one, other] })
    }

    fn permit(&self) -> Result<Permit, Errno> {
        if self.sockets.len() >= self.max_sockets {
            return Err(Errno::MFILE);
        }
        self.permits.take().ok_or(Errno::NFILE)
    }

    fn keep(&mut self, socket: Socket, protocol: Protocol, permit: Permit) -> SocketId {
        self.last_id = self.last_id.wrapping_add(1);
        if protocol == Protocol::Unix {
            // The process in the jail cannot undo this. Before Linux 6.16 it is not possible.
            let _ = refuse_descriptors(&socket);
        }
        let open = OpenSocket {
            is_unix: protocol == Protocol::Unix,
            socket,
            protocol,
            has_bound_any_port: false,
            connecting: None,
            _permit: permit,
        };
        self.sockets.insert(self.last_id, open);
        self.last_id
    }

    /// Returns a socket for a call with `address`.
    fn socket_for(&mut self, id: SocketId, address: &Address) -> Result<&mut OpenSocket, Errno> {
        let open = self.sockets.get_mut(&id).ok_or(Errno::BADF)?;
        let fits = open.is_unix == matches!(address, Address::Unix(_));
        if fits { Ok(open) } else { Err(Errno::AFNOSUPPORT) }
    }

    fn bind(&mut self, id: SocketId, address: &Address) -> io::Result<Reply> {
        let protocol = self.socket_for(id, address)?.protocol;
        if !self.grants.may_bind(protocol, address) {
            return Err(self.refused(&format!("bind to {}://{address}", protocol.as_str())));
        }
        let open = self.socket_for(id, address)?;
        open.socket.bind(&address.to_kernel()?)?;
        open.has_bound_any_port =
            address.to_socket_addr().is_some_and(|address| address.port() == 0);
        Ok(Answer::Done.into())
    }

    fn listen(&mut self, id: SocketId, backlog: i32) -> io::Result<Reply> {
        let open = self.sockets.get(&id).ok_or(Errno::BADF)?;
        let bound = Address::from_kernel(&open.socket.local_addr()?)?;
        let protocol = open.protocol;
        if !self.grants.may_listen_with(protocol, &bound, open.has_bound_any_port) {
            return Err(self.refused(&format!("listen at {}://{bound}", protocol.as_str())));
        }
        open.socket.listen(backlog)?;
        Ok(Answer::Done.into())
    }

    fn connect(&mut self, id: SocketId, address: Address) -> io::Result<Reply> {
        let open = self.socket_for(id, &address)?;
        let (protocol, goes_on) = (open.protocol, open.connecting.as_ref() == Some(&address));
        if !self.resolved.may_connect(&self.grants, protocol, &address) {
            return Err(self.refused(&format!("connect to {}://{address}", protocol.as_str())));
        }
        if !goes_on {
            if self.connects >= self.max_connects {
                return Err(Errno::DQUOT.into());
            }
            self.connects += 1;
        }
        let open = self.socket_for(id, &address)?;
        let connected = open.socket.connect(&address.to_kernel()?);
        let goes_on = match &connected {
            Ok(()) => false,
            Err(error) => matches!(
                Errno::from_io_error(error),
                // The queue of a Unix socket may be full.
                Some(Errno::INPROGRESS | Errno::ALREADY | Errno::INTR | Errno::AGAIN)
            ),
        };
        open.connecting = goes_on.then_some(address);
        connected.map(|()| Answer::Done.into())
    }

    /// Dissolves the connection of a UDP socket. On TCP that would end a connection of which the
    /// process still has a copy.
    fn disconnect(&mut self, id: SocketId) -> io::Result<Reply> {
        let open = self.sockets.get(&id).ok_or(Errno::BADF)?;
        if open.protocol != Protocol::Udp {
            return Err(Errno::OPNOTSUPP.into());
        }
        connect_unspec(&open.socket)?;
        Ok(Answer::Done.into())
    }

    fn send_to(&mut self, id: SocketId, data: &[u8], address: &Address) -> io::Result<Reply> {
        let protocol = self.socket_for(id, address)?.protocol;
        if !self.resolved.may_connect(&self.grants, protocol, address) {
            return Err(self.refused(&format!("send to {}://{address}", protocol.as_str())));
        }
        let open = self.socket_for(id, address)?;
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        let sent = open.socket.send_to_with_flags(data, &address.to_kernel()?, flags)?;
        Ok(Answer::Sent(u32::try_from(sent).unwrap_or(u32::MAX)).into())
    }

    fn look_up(&mut self, lookup: Lookup, connection: BorrowedFd<'_>) -> io::Result<Reply> {
        let name = lookup.host.clone().unwrap_or_default();
        let granted = self.grants.may_resolve(&name).cloned();
        let Some(granted) = granted.filter(|_| lookup.is_permitted()) else {
            return Err(self.refused(&format!("lookup of {name}")));
        };
        let outcome = match lookup.start(()) {
            Ok(running) => {
                wait_beside(running.done.as_fd(), connection)?;
                running.outcome().unwrap_or(Err(LookupErrorKind::Again))
            }
            Err(_) => Err(LookupErrorKind::Again),
        };
        let answer = Answer::from(outcome);
        if let Answer::Found(found) = &answer {
            let ips = found.iter().filter_map(WireFound::ip);
            ips.for_each(|ip: IpAddr| self.resolved.remember(&granted, ip));
        }
        Ok(answer.into())
    }

    fn close(&mut self, id: SocketId) -> io::Result<Reply> {
        self.sockets.remove(&id).ok_or(Errno::BADF)?;
        Ok(Answer::Done.into())
    }

    /// Returns the error of a call that is not granted. The host of a guest has refused such a
    /// call already, so that it comes from other code in that process.
    fn refused(&mut self, call: &str) -> io::Error {
        if !std::mem::replace(&mut self.refusal_logged, true) {
            let call = printable(call, MAX_SHOWN);
            tracing::error!(call, "a process in the jail asked for a socket that is not granted");
        }
        Errno::ACCESS.into()
    }
}

impl Drop for OpenSocket {
    /// Keeps the close from waiting: native code can have set `SO_LINGER` on its copy.
    fn drop(&mut self) {
        if !self.is_unix {
            let _ = self.socket.set_linger(None);
        }
    }
}

/// Waits until `done` is readable or at its end, until the other end of `connection` is closed,
/// or for as long as a lookup may take.
fn wait_beside(done: BorrowedFd<'_>, connection: BorrowedFd<'_>) -> io::Result<()> {
    let end = Instant::now() + LONGEST_LOOKUP;
    let mut fds = [
        PollFd::from_borrowed_fd(done, PollFlags::IN),
        // Without any events, `poll` returns when the other end is closed.
        PollFd::from_borrowed_fd(connection, PollFlags::empty()),
    ];
    loop {
        let left: Duration = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        match poll(&mut fds, Some(&left)) {
            Err(Errno::INTR) => {}
            polled => return Ok(polled.map(drop)?),
        }
    }
}
