//! Calls to the broker, and its answers.

use std::ffi::OsStr;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;

use dns_lookup::LookupErrorKind;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use socketserver::{Address, UnixAddress};

use crate::lookup::{Found, Lookup, LookupOutcome};

/// The largest message, in bytes. A datagram over UDP fits.
pub(super) const MAX_MESSAGE: usize = (64 << 10) + 512;

/// The number of a socket on its connection.
pub(super) type SocketId = u32;

/// A call to the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Call<'a> {
    /// A worker asks for the connection of a request.
    Connection,
    Socket {
        domain: i32,
        kind: i32,
        protocol: i32,
    },
    SocketPair {
        kind: i32,
    },
    Bind {
        socket: SocketId,
        address: WireAddress,
    },
    Listen {
        socket: SocketId,
        backlog: i32,
    },
    Connect {
        socket: SocketId,
        address: WireAddress,
    },
    Disconnect {
        socket: SocketId,
    },
    SendTo {
        socket: SocketId,
        address: WireAddress,
        data: &'a [u8],
    },
    LookUp {
        host: Option<&'a str>,
        service: Option<&'a str>,
        hints: [i32; 4],
    },
    Close {
        socket: SocketId,
    },
}

/// An answer of the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    Done,
    /// The new connection is in the message.
    Connection,
    /// The new socket is in the message.
    Socket(SocketId),
    /// Both sockets are in the message.
    SocketPair(SocketId, SocketId),
    Sent(u32),
    Found(Vec<WireFound>),
    /// The number of the error of `getaddrinfo`.
    NotFound(i32),
    /// The `errno` of the call.
    Failed(i32),
}

/// The address of a socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum WireAddress {
    Ipv4 { ip: [u8; 4], port: u16 },
    Ipv6 { ip: [u8; 16], port: u16, flowinfo: u32, scope_id: u32 },
    Unnamed,
    Pathname(Vec<u8>),
    Abstract(Vec<u8>),
}

/// A result of a lookup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WireFound {
    socket_type: i32,
    protocol: i32,
    address: WireAddress,
}

impl Answer {
    pub(super) fn failed(error: &io::Error) -> Self {
        Answer::Failed(error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()))
    }
}

/// Returns the bytes of a message.
pub(super) fn to_bytes(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let bytes = postcard::to_allocvec(message).map_err(|_| Errno::NOMEM)?;
    if bytes.len() > MAX_MESSAGE { Err(Errno::MSGSIZE.into()) } else { Ok(bytes) }
}

/// Returns the message of these bytes.
///
/// # Errors
///
/// `EBADMSG` if they are no message.
pub(super) fn from_bytes<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> io::Result<T> {
    postcard::from_bytes(bytes).map_err(|_| Errno::BADMSG.into())
}

impl From<&Address> for WireAddress {
    fn from(address: &Address) -> Self {
        match address {
            Address::Inet(address) => {
                WireAddress::Ipv4 { ip: address.ip().octets(), port: address.port() }
            }
            Address::Inet6(address) => WireAddress::Ipv6 {
                ip: address.ip().octets(),
                port: address.port(),
                flowinfo: address.flowinfo(),
                scope_id: address.scope_id(),
            },
            Address::Unix(UnixAddress::Unnamed) => WireAddress::Unnamed,
            Address::Unix(UnixAddress::Pathname(path)) => {
                WireAddress::Pathname(path.as_os_str().as_bytes().into())
            }
            Address::Unix(UnixAddress::Abstract(name)) => WireAddress::Abstract(name.clone()),
        }
    }
}

impl From<WireAddress> for Address {
    fn from(address: WireAddress) -> Self {
        match address {
            WireAddress::Ipv4 { ip, port } => Address::Inet(SocketAddrV4::new(ip.into(), port)),
            WireAddress::Ipv6 { ip, port, flowinfo, scope_id } => {
                Address::Inet6(SocketAddrV6::new(ip.into(), port, flowinfo, scope_id))
            }
            WireAddress::Unnamed => UnixAddress::Unnamed.into(),
            WireAddress::Pathname(path) => {
                UnixAddress::Pathname(OsStr::from_bytes(&path).into()).into()
            }
            WireAddress::Abstract(name) => UnixAddress::Abstract(name).into(),
        }
    }
}

/// Returns the number of an error of `getaddrinfo`.
fn number(kind: LookupErrorKind) -> i32 {
    match kind {
        LookupErrorKind::Again => libc::EAI_AGAIN,
        LookupErrorKind::Badflags => libc::EAI_BADFLAGS,
        // No data is no name.
        LookupErrorKind::NoName | LookupErrorKind::NoData => libc::EAI_NONAME,
        LookupErrorKind::Fail => libc::EAI_FAIL,
        LookupErrorKind::Family => libc::EAI_FAMILY,
        LookupErrorKind::Socktype => libc::EAI_SOCKTYPE,
        LookupErrorKind::Service => libc::EAI_SERVICE,
        LookupErrorKind::Memory => libc::EAI_MEMORY,
        LookupErrorKind::System | LookupErrorKind::Unknown | LookupErrorKind::IO => {
            libc::EAI_SYSTEM
        }
    }
}

impl From<LookupOutcome> for Answer {
    fn from(outcome: LookupOutcome) -> Self {
        match outcome {
            Ok(found) => Answer::Found(found.iter().map(WireFound::from).collect()),
            Err(kind) => Answer::NotFound(number(kind)),
        }
    }
}

impl From<&Found> for WireFound {
    fn from(found: &Found) -> Self {
        let address = (&Address::from(found.address)).into();
        WireFound { socket_type: found.socket_type, protocol: found.protocol, address }
    }
}

impl WireFound {
    pub(super) fn into_found(self) -> Option<Found> {
        let address: SocketAddr = Address::from(self.address).to_socket_addr()?;
        Some(Found { socket_type: self.socket_type, protocol: self.protocol, address })
    }

    pub(super) fn ip(&self) -> Option<IpAddr> {
        Address::from(self.address.clone()).to_socket_addr().map(|address| address.ip())
    }
}

impl<'a> From<&'a Lookup> for Call<'a> {
    fn from(lookup: &'a Lookup) -> Self {
        let hints = lookup.hints;
        Call::LookUp {
            host: lookup.host.as_deref(),
            service: lookup.service.as_deref(),
            hints: [hints.flags, hints.address, hints.socktype, hints.protocol],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_they_were_written() {
        let addresses = [
            "1.2.3.4:5".parse::<SocketAddr>().unwrap().into(),
            Address::Inet6(SocketAddrV6::new("fe80::1".parse().unwrap(), 5, 6, 7)),
            UnixAddress::Unnamed.into(),
            UnixAddress::Pathname("/a/\u{1F600}".into()).into(),
            UnixAddress::Abstract(b"a\0b".to_vec()).into(),
        ];
        for address in addresses {
            let wire = WireAddress::from(&address);
            let call = Call::SendTo { socket: 7, address: wire, data: &[1, 2, 255] };
            let bytes = to_bytes(&call).unwrap();
            assert_eq!(from_bytes::<Call<'_>>(&bytes).unwrap(), call);
            let Call::SendTo { address: read, .. } = call else { unreachable!() };
            assert_eq!(Address::from(read), address);
        }
        let most = vec![0; 65_535];
        let address = WireAddress::Pathname(vec![1; 108]);
        assert!(to_bytes(&Call::SendTo { socket: 1, address, data: &most }).is_ok());
    }

    #[test]
    fn bytes_that_are_no_message_are_an_error() {
        for bytes in [&[][..], &[200], &[3, 1], &[1, 255, 255, 255, 255, 255, 255, 255]] {
            assert!(from_bytes::<Call<'_>>(bytes).is_err(), "{bytes:?}");
        }
    }
}
