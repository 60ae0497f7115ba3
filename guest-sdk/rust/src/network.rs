//! Sockets that a handler opens: the functions of Python's module `socket` that reach beyond
//! the request, and `select`.
//!
//! The operator grants addresses with `--connect`, `--listen-grant`, `--resolve` and `--raw`.
//! Everything else fails with [`Error::Denied`], and the log of the host names the option that
//! would permit it.
//!
//! ```
//! use socketserver_guest::{BaseRequestHandler, Context, Result, network};
//!
//! #[derive(Default)]
//! struct Ask;
//!
//! impl BaseRequestHandler for Ask {
//!     fn handle(&mut self, cx: &mut Context) -> Result {
//!         let database = network::create_connection(("db.example", 5432), None, None)?;
//!         database.sendall(b"hello")?;
//!         cx.request.sendall(&database.recv(1024)?)?;
//!         Ok(())
//!     }
//! }
//! ```

use crate::bindings::socketserver::handler::{network as host, sockets, types};
use crate::{Address, AddressFamily, Error, Socket, SocketKind};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// `AI_PASSIVE` of [`getaddrinfo`]: without a host, the addresses are for
/// [`bind`](Socket::bind).
pub const AI_PASSIVE: i32 = 1;
/// `AI_NUMERICHOST` of [`getaddrinfo`]: the host is an address.
pub const AI_NUMERICHOST: i32 = 4;

/// The error of a failed lookup of a name. Each variant but `Denied` is a number of Python's
/// exception `gaierror`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LookupError {
    /// The operator did not grant the name. `PermissionError`.
    Denied,
    /// `EAI_AGAIN`: the name servers did not answer in time.
    Again,
    /// `EAI_BADFLAGS`.
    BadFlags,
    /// `EAI_FAIL`.
    Fail,
    /// `EAI_FAMILY`.
    Family,
    /// `EAI_MEMORY`.
    Memory,
    /// `EAI_NONAME`: there is no such name, or it has no address.
    NoName,
    /// `EAI_SERVICE`.
    Service,
    /// `EAI_SOCKTYPE`.
    SockType,
    /// `EAI_SYSTEM`.
    System,
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Denied => "permission denied",
            Self::Again => "temporary failure in name resolution",
            Self::BadFlags => "bad value for ai_flags",
            Self::Fail => "non-recoverable failure in name resolution",
            Self::Family => "ai_family not supported",
            Self::Memory => "memory allocation failure",
            Self::NoName => "name or service not known",
            Self::Service => "service not supported for ai_socktype",
            Self::SockType => "ai_socktype not supported",
            Self::System => "system error",
        })
    }
}

impl std::error::Error for LookupError {}

impl From<LookupError> for io::Error {
    fn from(error: LookupError) -> Self {
        let kind = match error {
            LookupError::Denied => io::ErrorKind::PermissionDenied,
            LookupError::Again => io::ErrorKind::TimedOut,
            LookupError::NoName => io::ErrorKind::NotFound,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

impl From<host::LookupError> for LookupError {
    fn from(error: host::LookupError) -> Self {
        match error {
            host::LookupError::Denied => Self::Denied,
            host::LookupError::Again => Self::Again,
            host::LookupError::Badflags => Self::BadFlags,
            host::LookupError::Fail => Self::Fail,
            host::LookupError::Family => Self::Family,
            host::LookupError::Memory => Self::Memory,
            host::LookupError::Noname => Self::NoName,
            host::LookupError::Service => Self::Service,
            host::LookupError::Socktype => Self::SockType,
            host::LookupError::System => Self::System,
        }
    }
}

/// One result of [`getaddrinfo`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressInfo {
    /// The family of a socket for the address.
    pub family: AddressFamily,
    /// The type of a socket for the address.
    pub kind: SocketKind,
    /// The protocol of a socket for the address.
    pub proto: i32,
    /// The address.
    pub address: Address,
}

/// The sockets that [`select`] found to be ready, by their places in its lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// The sockets from which a call would not wait.
    pub readers: Vec<usize>,
    /// The sockets to which a call would not wait.
    pub writers: Vec<usize>,
    /// The sockets with an exceptional condition, such as urgent data.
    pub exceptional: Vec<usize>,
}

/// Opens a socket. `proto` is 0 for the default. Python's `socket.socket(family, type, proto)`.
///
/// The socket is closed when its last clone is dropped.
///
/// # Errors
///
/// Returns [`Error::Denied`] if the operator granted no such sockets,
/// [`Error::TooManyOpenFiles`] if the handler has as many as it may, and the errors of
/// `socket(2)`.
pub fn socket(family: AddressFamily, kind: SocketKind, proto: i32) -> Result<Socket, Error> {
    Ok(Socket::new(host::create_socket(family_to_host(family), kind_to_host(kind), proto)?))
}

/// Opens two Unix sockets that are connected to each other. Python's
/// `socket.socketpair(AF_UNIX, type)`.
///
/// # Errors
///
/// As [`socket`].
pub fn socketpair(kind: SocketKind) -> Result<(Socket, Socket), Error> {
    let (one, other) = host::socketpair(types::Family::AfUnix, kind_to_host(kind), 0)?;
    Ok((Socket::new(one), Socket::new(other)))
}

/// Connects to a host and a port over TCP: looks the host up, and tries each of its
/// addresses until one answers. Each attempt has `timeout`, which is the timeout of the socket
/// then. Python's `socket.create_connection(address, timeout, source_address)`.
///
/// # Errors
///
/// Returns a [`LookupError`], or the [`Error`] of the last attempt.
pub fn create_connection(
    (host, port): (&str, u16),
    timeout: Option<Duration>,
    source_address: Option<&Address>,
) -> io::Result<Socket> {
    let port = port.to_string();
    let found = getaddrinfo(Some(host), Some(&port), None, Some(SocketKind::Stream), 0, 0)?;
    let mut last = LookupError::NoName.into();
    for AddressInfo { family, kind, proto, address } in found {
        let connected = socket(family, kind, proto).and_then(|socket| {
            if timeout.is_some() {
                socket.settimeout(timeout)?;
            }
            if let Some(source) = source_address {
                socket.bind(source)?;
            }
            socket.connect(&address)?;
            Ok(socket)
        });
        match connected {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

/// Returns the addresses of a host and of a port, which is a decimal number. `flags` is a sum
/// such as [`AI_PASSIVE`]. Python's `socket.getaddrinfo(host, port, family, type, proto,
/// flags)`, without the canonical name.
///
/// # Errors
///
/// Returns [`LookupError::Denied`] for a name that the operator did not grant, and the other
/// errors of `getaddrinfo(3)`.
pub fn getaddrinfo(
    host: Option<&str>,
    port: Option<&str>,
    family: Option<AddressFamily>,
    kind: Option<SocketKind>,
    proto: i32,
    flags: i32,
) -> Result<Vec<AddressInfo>, LookupError> {
    let (family, kind) = (family.map(family_to_host), kind.map(kind_to_host));
    let found = host::getaddrinfo(host, port, family, kind, proto, flags)?;
    Ok(found
        .into_iter()
        .map(|one| AddressInfo {
            family: family_from_host(one.family),
            kind: kind_from_host(one.socket_type),
            proto: one.proto,
            address: one.address.into(),
        })
        .collect())
}

/// Returns the first IPv4 address of a host. Python's `socket.gethostbyname(hostname)`.
///
/// # Errors
///
/// As [`getaddrinfo`].
pub fn gethostbyname(host: &str) -> Result<Ipv4Addr, LookupError> {
    let (family, kind) = (Some(AddressFamily::Inet), Some(SocketKind::Stream));
    let found = getaddrinfo(Some(host), None, family, kind, 0, 0)?;
    let first = found.iter().find_map(|one| match one.address.ip() {
        Some(IpAddr::V4(ip)) => Some(ip),
        _ => None,
    });
    first.ok_or(LookupError::NoName)
}

/// Waits until one of the sockets is ready, or until `timeout` is over: then all lists are
/// empty. Without a timeout it waits as long as the request may. The request socket may be
/// one of the sockets. Python's `select.select(rlist, wlist, xlist, timeout)`.
///
/// # Errors
///
/// Returns [`Error::Closed`] if a socket is closed, and [`Error::NotSupported`] for the socket
/// of a datagram request.
pub fn select(
    readers: &[&Socket],
    writers: &[&Socket],
    exceptional: &[&Socket],
    timeout: Option<Duration>,
) -> Result<Ready, Error> {
    let timeout = timeout.map(|timeout| timeout.as_secs_f64());
    let lists = (resources(readers), resources(writers), resources(exceptional));
    let ready = host::select(&lists.0, &lists.1, &lists.2, timeout)?;
    let indices = |list: Vec<u32>| list.into_iter().map(|index| index as usize).collect();
    Ok(Ready {
        readers: indices(ready.readers),
        writers: indices(ready.writers),
        exceptional: indices(ready.exceptional),
    })
}

fn resources<'a>(list: &[&'a Socket]) -> Vec<&'a sockets::Socket> {
    list.iter().map(|one| one.resource()).collect()
}

/// The methods of a socket that a handler opened with [`network`](crate::network). On the
/// request socket they fail with [`Error::NotSupported`].
impl Socket {
    /// Gives the socket a local address. Port 0 stands for any free one. Python's
    /// `bind(address)`.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Denied`] if the operator did not grant the address, and the errors of
    /// `bind(2)`.
    pub fn bind(&self, address: &Address) -> Result<(), Error> {
        Ok(host::bind(self.resource(), &address.into())?)
    }

    /// Lets others connect to the socket. Python's `listen(backlog)`.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Denied`] if the operator did not grant the address of the socket, and
    /// the errors of `listen(2)`.
    pub fn listen(&self, backlog: i32) -> Result<(), Error> {
        Ok(host::listen(self.resource(), backlog)?)
    }

    /// Waits for a connection to a socket that listens, and returns it with the address of
    /// the other end. Python's `accept()`.
    ///
    /// # Errors
    ///
    /// Returns the errors of `accept(2)`.
    pub fn accept(&self) -> Result<(Socket, Address), Error> {
        let (connection, address) = host::accept(self.resource())?;
        Ok((Socket::new(connection), address.into()))
    }

    /// Connects the socket to an address. For a name, see
    /// [`create_connection`](crate::network::create_connection) and
    /// [`getaddrinfo`](crate::network::getaddrinfo). Python's `connect(address)`.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Denied`] if the operator did not grant the address,
    /// [`Error::InProgress`] if the timeout is zero, and the errors of `connect(2)`.
    pub fn connect(&self, address: &Address) -> Result<(), Error> {
        Ok(host::connect(self.resource(), &address.into())?)
    }

    /// Connects as [`connect`](Self::connect), and returns 0, or the number of the error on
    /// Linux. Python's `connect_ex(address)`.
    pub fn connect_ex(&self, address: &Address) -> i32 {
        host::connect_ex(self.resource(), &address.into())
    }
}

fn family_to_host(family: AddressFamily) -> types::Family {
    match family {
        AddressFamily::Inet => types::Family::AfInet,
        AddressFamily::Inet6 => types::Family::AfInet6,
        AddressFamily::Unix => types::Family::AfUnix,
    }
}

fn family_from_host(family: types::Family) -> AddressFamily {
    match family {
        types::Family::AfInet => AddressFamily::Inet,
        types::Family::AfInet6 => AddressFamily::Inet6,
        types::Family::AfUnix => AddressFamily::Unix,
    }
}

fn kind_to_host(kind: SocketKind) -> types::SocketKind {
    match kind {
        SocketKind::Stream => types::SocketKind::SockStream,
        SocketKind::Dgram => types::SocketKind::SockDgram,
        SocketKind::Seqpacket => types::SocketKind::SockSeqpacket,
        SocketKind::Rdm => types::SocketKind::SockRdm,
        SocketKind::Raw => types::SocketKind::SockRaw,
    }
}

fn kind_from_host(kind: types::SocketKind) -> SocketKind {
    match kind {
        types::SocketKind::SockStream => SocketKind::Stream,
        types::SocketKind::SockDgram => SocketKind::Dgram,
        types::SocketKind::SockSeqpacket => SocketKind::Seqpacket,
        types::SocketKind::SockRdm => SocketKind::Rdm,
        types::SocketKind::SockRaw => SocketKind::Raw,
    }
}
