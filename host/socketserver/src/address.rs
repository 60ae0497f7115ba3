//! The addresses of sockets.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::{SocketAddrAny, SocketAddrUnix};
use socket2::SockAddr;

use crate::text::printable;

/// The address of one end of a socket: in Python's `socket` module a tuple, a `str` or
/// `bytes`.
///
/// It prints as `127.0.0.1:9999`, `[::1]:9999`, or as a [`UnixAddress`] does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// `AF_INET`: Python's `(host, port)`.
    Inet(SocketAddrV4),
    /// `AF_INET6`: Python's `(host, port, flowinfo, scope_id)`.
    Inet6(SocketAddrV6),
    /// `AF_UNIX`.
    Unix(UnixAddress),
}

/// The address of a Unix socket.
///
/// It prints as the path, as `@name`, or as `(unnamed)`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum UnixAddress {
    /// No name: the socket was never bound, as most clients' sockets. Python's `''`.
    Unnamed,
    /// A path in the file system.
    Pathname(PathBuf),
    /// A Linux abstract name, without its leading zero byte.
    Abstract(Vec<u8>),
}

/// The family of an address: Python's `AF_*` constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressFamily {
    /// IPv4.
    Inet,
    /// IPv6.
    Inet6,
    /// Unix sockets.
    Unix,
}

/// The type of a socket: Python's `SOCK_*` constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SocketType {
    /// A stream of bytes, such as TCP.
    Stream,
    /// Datagrams, such as UDP.
    Dgram,
}

impl Address {
    /// Returns the family that a socket needs to use this address.
    pub fn family(&self) -> AddressFamily {
        match self {
            Address::Inet(_) => AddressFamily::Inet,
            Address::Inet6(_) => AddressFamily::Inet6,
            Address::Unix(_) => AddressFamily::Unix,
        }
    }

    /// Returns the address as a type of the standard library; `None` for a Unix socket.
    pub fn to_socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Address::Inet(address) => Some(SocketAddr::V4(*address)),
            Address::Inet6(address) => Some(SocketAddr::V6(*address)),
            Address::Unix(_) => None,
        }
    }

    /// Returns an address that the kernel returned.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](io::ErrorKind::Unsupported) for an address of another family.
    pub fn from_kernel(address: &SockAddr) -> io::Result<Address> {
        if let Some(address) = address.as_socket() {
            return Ok(address.into());
        }
        let unix = if let Some(path) = address.as_pathname() {
            UnixAddress::Pathname(path.to_owned())
        } else if let Some(name) = address.as_abstract_namespace() {
            UnixAddress::Abstract(name.to_owned())
        } else if address.is_unnamed() {
            UnixAddress::Unnamed
        } else {
            let family = address.family();
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("the address family {family} is not supported"),
            ));
        };
        Ok(Address::Unix(unix))
    }

    /// Converts the address of a client that was accepted.
    pub(crate) fn from_client(address: Option<SocketAddrAny>) -> io::Result<Address> {
        let address = address.ok_or(io::ErrorKind::InvalidData)?;
        let Ok(unix) = SocketAddrUnix::try_from(address.clone()) else {
            return Address::from_sender(Some(address));
        };
        let path = unix.path_bytes().map(|path| OsStr::from_bytes(path).into());
        let name = unix.abstract_name().map(<[u8]>::to_vec);
        let unix = path.map(UnixAddress::Pathname).or_else(|| name.map(UnixAddress::Abstract));
        Ok(unix.unwrap_or(UnixAddress::Unnamed).into())
    }

    /// Converts the sender address of an IP datagram.
    pub(crate) fn from_sender(address: Option<SocketAddrAny>) -> io::Result<Address> {
        let address = address.ok_or(io::ErrorKind::InvalidData)?;
        Ok(SocketAddr::try_from(address)?.into())
    }

    /// Returns the address for a call of the kernel.
    ///
    /// # Errors
    ///
    /// The path (`ENAMETOOLONG`) or the name is longer than the kernel allows.
    pub fn to_kernel(&self) -> io::Result<SockAddr> {
        match self {
            Address::Inet(address) => Ok((*address).into()),
            Address::Inet6(address) => Ok((*address).into()),
            // The path of a client may be one byte longer than a path with its zero byte.
            Address::Unix(UnixAddress::Pathname(path)) => {
                SockAddr::unix(path).map_err(|_| Errno::NAMETOOLONG.into())
            }
            Address::Unix(UnixAddress::Abstract(name)) => {
                let name = [b"\0", name.as_slice()].concat();
                SockAddr::unix(OsStr::from_bytes(&name))
            }
            Address::Unix(UnixAddress::Unnamed) => SockAddr::unix(""),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => Address::Inet(address),
            SocketAddr::V6(address) => Address::Inet6(address),
        }
    }
}

impl From<UnixAddress> for Address {
    fn from(address: UnixAddress) -> Self {
        Address::Unix(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Inet(address) => address.fmt(f),
            Address::Inet6(address) => address.fmt(f),
            Address::Unix(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mark, name) = match self {
            UnixAddress::Unnamed => return f.write_str("(unnamed)"),
            UnixAddress::Pathname(path) => ("", path.as_os_str().as_bytes()),
            UnixAddress::Abstract(name) => ("@", name.as_slice()),
        };
        // Clients choose these names, which could contain terminal escapes.
        write!(f, "{mark}{}", printable(&String::from_utf8_lossy(name), usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_too_long_is_an_error() {
        let path = |length| Address::Unix(UnixAddress::Pathname("p".repeat(length).into()));
        assert!(path(107).to_kernel().is_ok());
        let error = path(108).to_kernel().unwrap_err();
        assert_eq!(Errno::from_io_error(&error), Some(Errno::NAMETOOLONG));
    }

    #[test]
    fn the_names_of_clients_are_escaped() {
        for (name, printed) in [
            ("a\x1b[2J\n\u{9b}", r"@a\u{1b}[2J\n\u{9b}"),
            ("a\u{202e}b\u{2028}c\u{200b}\u{feff}", r"@a\u{202e}b\u{2028}c\u{200b}\u{feff}"),
            ("é 中", "@é 中"),
        ] {
            let address = UnixAddress::Abstract(name.into());
            assert_eq!(address.to_string(), printed);
        }
    }
}
