use crate::Error;
use crate::bindings::socketserver::handler::types;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// The address of one end of a socket.
///
/// In Python this is a tuple or, for Unix sockets, a `str` or `bytes`.
///
/// [`Display`](fmt::Display) writes it in the usual form: `127.0.0.1:9999`,
/// `[::1]:9999`, with a scope `[fe80::1%2]:9999`, `/run/app.sock`, and `@name` for
/// an abstract name. An unnamed socket is the empty string, as in Python.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// Python's `(host, port)`.
    Ipv4(SocketAddrV4),
    /// Python's `(host, port, flowinfo, scope_id)`.
    Ipv6(SocketAddrV6),
    /// The name of a Unix socket.
    Unix(UnixAddress),
}

/// The name of a Unix socket. Names are bytes, not text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UnixAddress {
    /// A socket that is not bound, as the sockets of most clients. Python's `''`.
    Unnamed,
    /// A path in the host's file system.
    Pathname(Vec<u8>),
    /// An abstract name (Linux), without its leading zero byte.
    Abstract(Vec<u8>),
}

impl Address {
    /// Returns the IP address, or `None` for a Unix socket. Python's `address[0]`.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ipv4(address) => Some((*address.ip()).into()),
            Self::Ipv6(address) => Some((*address.ip()).into()),
            Self::Unix(_) => None,
        }
    }

    /// Returns the port, or `None` for a Unix socket. Python's `address[1]`.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Ipv4(address) => Some(address.port()),
            Self::Ipv6(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => Self::Ipv4(address),
            SocketAddr::V6(address) => Self::Ipv6(address),
        }
    }
}

/// Fails with [`Error::AddressFamilyNotSupported`] for the address of a Unix socket.
impl TryFrom<&Address> for SocketAddr {
    type Error = Error;

    fn try_from(address: &Address) -> Result<Self, Error> {
        match address {
            Address::Ipv4(address) => Ok((*address).into()),
            Address::Ipv6(address) => Ok((*address).into()),
            Address::Unix(_) => Err(Error::AddressFamilyNotSupported),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipv4(address) => address.fmt(f),
            Self::Ipv6(address) => address.fmt(f),
            Self::Unix(name) => name.fmt(f),
        }
    }
}

impl fmt::Display for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unnamed => Ok(()),
            Self::Pathname(path) => f.write_str(&String::from_utf8_lossy(path)),
            Self::Abstract(name) => write!(f, "@{}", String::from_utf8_lossy(name)),
        }
    }
}

impl From<types::Address> for Address {
    fn from(address: types::Address) -> Self {
        match address {
            types::Address::Ipv4(types::Ipv4Address { host, port }) => {
                let ip = Ipv4Addr::from(<[u8; 4]>::from(host));
                Self::Ipv4(SocketAddrV4::new(ip, port))
            }
            types::Address::Ipv6(types::Ipv6Address { host, port, flowinfo, scope_id }) => {
                let ip = Ipv6Addr::from(<[u16; 8]>::from(host));
                Self::Ipv6(SocketAddrV6::new(ip, port, flowinfo, scope_id))
            }
            types::Address::Unix(types::UnixAddress::Unnamed) => Self::Unix(UnixAddress::Unnamed),
            types::Address::Unix(types::UnixAddress::Pathname(path)) => {
                Self::Unix(UnixAddress::Pathname(path))
            }
            types::Address::Unix(types::UnixAddress::Abstract(name)) => {
                Self::Unix(UnixAddress::Abstract(name))
            }
        }
    }
}

impl From<&Address> for types::Address {
    fn from(address: &Address) -> Self {
        match address {
            Address::Ipv4(address) => Self::Ipv4(types::Ipv4Address {
                host: address.ip().octets().into(),
                port: address.port(),
            }),
            Address::Ipv6(address) => Self::Ipv6(types::Ipv6Address {
                host: address.ip().segments().into(),
                port: address.port(),
                flowinfo: address.flowinfo(),
                scope_id: address.scope_id(),
            }),
            Address::Unix(UnixAddress::Unnamed) => Self::Unix(types::UnixAddress::Unnamed),
            Address::Unix(UnixAddress::Pathname(path)) => {
                Self::Unix(types::UnixAddress::Pathname(path.clone()))
            }
            Address::Unix(UnixAddress::Abstract(name)) => {
                Self::Unix(types::UnixAddress::Abstract(name.clone()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv4() -> Address {
        types::Address::Ipv4(types::Ipv4Address { host: (127, 0, 0, 1), port: 9999 }).into()
    }

    fn ipv6(scope_id: u32) -> Address {
        let host = (0xfe80, 0, 0, 0, 0, 0, 0, 1);
        types::Address::Ipv6(types::Ipv6Address { host, port: 9999, flowinfo: 0, scope_id }).into()
    }

    #[test]
    fn ip_addresses_are_displayed_in_their_usual_form() {
        assert_eq!(ipv4().to_string(), "127.0.0.1:9999");
        assert_eq!(ipv6(0).to_string(), "[fe80::1]:9999");
        assert_eq!(ipv6(2).to_string(), "[fe80::1%2]:9999");
    }

    #[test]
    fn unix_names_are_displayed_with_an_at_sign_if_abstract() {
        let unix = |name: types::UnixAddress| Address::from(types::Address::Unix(name)).to_string();
        assert_eq!(unix(types::UnixAddress::Unnamed), "");
        assert_eq!(unix(types::UnixAddress::Pathname(b"/run/app.sock".to_vec())), "/run/app.sock");
        assert_eq!(unix(types::UnixAddress::Abstract(b"app".to_vec())), "@app");
    }

    #[test]
    fn ip_and_port_are_none_for_unix_sockets() {
        assert_eq!(ipv4().ip(), Some(IpAddr::from([127, 0, 0, 1])));
        assert_eq!(ipv4().port(), Some(9999));
        assert_eq!(ipv6(0).ip(), Some(IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1])));
        let unix = Address::Unix(UnixAddress::Unnamed);
        assert_eq!((unix.ip(), unix.port()), (None, None));
    }

    #[test]
    fn an_address_converts_to_the_contract_and_back() {
        let host = (0xfe80, 1, 2, 3, 4, 5, 6, 7);
        let ipv6 = types::Ipv6Address { host, port: 9999, flowinfo: 8, scope_id: 9 };
        for address in [
            ipv4(),
            types::Address::Ipv6(ipv6).into(),
            Address::Unix(UnixAddress::Unnamed),
            Address::Unix(UnixAddress::Pathname(b"/run/\xff".to_vec())),
            Address::Unix(UnixAddress::Abstract(b"app".to_vec())),
        ] {
            let converted = types::Address::from(&address);
            assert_eq!(Address::from(converted), address);
        }
    }
}
