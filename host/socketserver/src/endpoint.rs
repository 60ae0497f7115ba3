//! Where a server listens, written as a URL.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs};
use std::str::FromStr;

use thiserror::Error;

use crate::address::{Address, SocketType, UnixAddress};
use crate::text::printable;

/// The longest text that is parsed: a host name has 253 characters at most.
const LONGEST: usize = 300;
/// What an endpoint looks like.
const FORMS: &str = "tcp://HOST:PORT, udp://HOST:PORT, unix://PATH or unixgram://PATH";
/// The longest path of a Unix socket, or abstract name, in bytes.
const LONGEST_PATH: usize = 107;

/// Where a server listens, and for what: `tcp://HOST:PORT` or `unix://PATH` for
/// streams, `udp://HOST:PORT` or `unixgram://PATH` for datagrams. `@NAME` in the
/// place of a path is a Linux abstract name.
///
/// The host is an IPv4 address, an IPv6 address in brackets, a name (the first
/// address that it has is taken, IPv4 before IPv6, so that `localhost` is
/// `127.0.0.1` as in Python), or nothing for every IPv4 address, which is
/// Python's `''`. Port 0 asks the kernel for a free one.
///
/// ```
/// let endpoint: socketserver::Endpoint = "tcp://[::1]:9999".parse()?;
/// assert_eq!(endpoint.to_string(), "tcp://[::1]:9999");
/// # Ok::<(), socketserver::EndpointError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    socket_type: SocketType,
    address: Address,
}

/// Why a text is not an [`Endpoint`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// It does not begin with a scheme.
    #[error("`{}` has no scheme: write {FORMS}", printable(.0, LONGEST))]
    NoScheme(String),
    /// The scheme is not served.
    #[error("`{}://` is not served: write {FORMS}", printable(.0, LONGEST))]
    Scheme(String),
    /// There is no port, or it is not a number from 0 to 65535.
    #[error("`{}` does not end in a port from 0 to 65535: write HOST:PORT", printable(.0, LONGEST))]
    Port(String),
    /// An IPv6 address without its brackets, or with something else in them.
    #[error("`{}` is not an IPv6 address in brackets: write [::1]:PORT", printable(.0, LONGEST))]
    Ipv6(String),
    /// The name has no address.
    #[error("the host `{}` has no address: {reason}", printable(host, LONGEST))]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// A path or name of a Unix socket that the kernel does not take.
    #[error(
        "the path of a Unix socket has 1 to {LONGEST_PATH} bytes, none of them zero: `{}`",
        printable(.0, LONGEST)
    )]
    UnixPath(String),
    /// The text is longer than any address is.
    #[error("an address of {0} characters: the longest has {LONGEST}")]
    TooLong(usize),
}

impl Endpoint {
    /// A TCP server at `address`.
    pub fn tcp(address: SocketAddr) -> Self {
        Endpoint::new(SocketType::Stream, address.into())
    }

    /// A UDP server at `address`.
    pub fn udp(address: SocketAddr) -> Self {
        Endpoint::new(SocketType::Dgram, address.into())
    }

    /// A Unix stream server at `address`.
    pub fn unix(address: UnixAddress) -> Self {
        Endpoint::new(SocketType::Stream, address.into())
    }

    /// A Unix datagram server at `address`.
    pub fn unixgram(address: UnixAddress) -> Self {
        Endpoint::new(SocketType::Dgram, address.into())
    }

    /// A server for sockets of that type at `address`.
    pub fn new(socket_type: SocketType, address: Address) -> Self {
        Endpoint { socket_type, address }
    }

    /// Whether the server takes streams or datagrams.
    pub fn socket_type(&self) -> SocketType {
        self.socket_type
    }

    /// The address to bind, or the one that was bound.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether datagrams that come to the socket may be for any of several addresses
    /// of this machine. Then the kernel tells which with each of them: `IP_PKTINFO`
    /// of `ip(7)`, which takes `recvmsg`.
    pub fn has_packet_info(&self) -> bool {
        let ip = self.address.to_socket_addr().map(|address| address.ip().to_canonical());
        let several = |ip: IpAddr| ip.is_unspecified() || ip.is_multicast();
        self.socket_type == SocketType::Dgram && ip.is_some_and(several)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// Parses one of the forms above; asks the resolver if the host is a name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > LONGEST {
            return Err(EndpointError::TooLong(text.len()));
        }
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| EndpointError::NoScheme(text.to_owned()))?;
        let socket_type = match scheme {
            "tcp" => SocketType::Stream,
            "udp" => SocketType::Dgram,
            "unix" => return unix(rest).map(Endpoint::unix),
            "unixgram" => return unix(rest).map(Endpoint::unixgram),
            _ => return Err(EndpointError::Scheme(scheme.to_owned())),
        };
        let bad_port = || EndpointError::Port(text.to_owned());
        let (host, port) = rest.rsplit_once(':').ok_or_else(bad_port)?;
        // `u16::from_str` takes a sign; a port has none.
        if !port.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(bad_port());
        }
        let port: u16 = port.parse().map_err(|_| bad_port())?;
        Ok(Endpoint::new(socket_type, resolve(host, port)?.into()))
    }
}

fn unix(text: &str) -> Result<UnixAddress, EndpointError> {
    let (name, address) = match text.strip_prefix('@') {
        Some(name) => (name, UnixAddress::Abstract(name.into())),
        None => (text, UnixAddress::Pathname(text.into())),
    };
    if name.is_empty() || name.len() > LONGEST_PATH || name.contains('\0') {
        return Err(EndpointError::UnixPath(text.to_owned()));
    }
    Ok(address)
}

fn resolve(host: &str, port: u16) -> Result<SocketAddr, EndpointError> {
    if host.is_empty() {
        return Ok(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into());
    }
    if host.contains([':', '[', ']']) {
        return host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .and_then(|host| host.parse::<Ipv6Addr>().ok())
            .map(|host| SocketAddrV6::new(host, port, 0, 0).into())
            .ok_or_else(|| EndpointError::Ipv6(host.to_owned()));
    }
    if let Ok(host) = host.parse::<Ipv4Addr>() {
        return Ok(SocketAddrV4::new(host, port).into());
    }
    let failed = |reason: String| EndpointError::Resolve { host: host.to_owned(), reason };
    let addresses: Vec<SocketAddr> =
        (host, port).to_socket_addrs().map_err(|error| failed(error.to_string()))?.collect();
    addresses
        .iter()
        .find(|address| address.is_ipv4())
        .or_else(|| addresses.first())
        .copied()
        .ok_or_else(|| failed("the resolver returned none".to_owned()))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (&self.address, self.socket_type) {
            (Address::Inet(_) | Address::Inet6(_), SocketType::Stream) => "tcp",
            (Address::Inet(_) | Address::Inet6(_), SocketType::Dgram) => "udp",
            (Address::Unix(_), SocketType::Stream) => "unix",
            (Address::Unix(_), SocketType::Dgram) => "unixgram",
        };
        write!(f, "{scheme}://{}", self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_parsed_is_what_is_printed() {
        for text in [
            "tcp://127.0.0.1:0",
            "tcp://0.0.0.0:65535",
            "tcp://[::]:80",
            "tcp://[fe80::1]:1",
            "unix:///run/a.sock",
            "unix://relative",
            "unix://@abstract",
            "udp://127.0.0.1:53",
            "udp://[::1]:0",
            "unixgram:///run/a.sock",
            "unixgram://@abstract",
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn no_host_is_every_ipv4_address_and_localhost_is_ipv4() {
        assert_eq!("tcp://:80".parse::<Endpoint>().unwrap().to_string(), "tcp://0.0.0.0:80");
        assert_eq!(
            "tcp://localhost:80".parse::<Endpoint>().unwrap().to_string(),
            "tcp://127.0.0.1:80"
        );
    }

    #[test]
    fn every_mistake_has_its_own_error() {
        use EndpointError as E;
        let parse = |text: &str| text.parse::<Endpoint>().unwrap_err();
        assert!(matches!(parse(""), E::NoScheme(_)));
        assert!(matches!(parse("127.0.0.1:80"), E::NoScheme(_)));
        assert!(matches!(parse("http://127.0.0.1:80"), E::Scheme(_)));
        for port in [
            "tcp://127.0.0.1",
            "tcp://h:",
            "tcp://h:65536",
            "tcp://h:-1",
            "tcp://h:+1",
            "tcp://h:1x",
            "udp://h",
        ] {
            assert!(matches!(parse(port), E::Port(_)), "{port}");
        }
        for ipv6 in ["tcp://::1:80", "tcp://[::1:80", "tcp://[127.0.0.1]:80", "tcp://]:80"] {
            assert!(matches!(parse(ipv6), E::Ipv6(_)), "{ipv6}");
        }
        let long = format!("unix:///{}", "p".repeat(107));
        for path in ["unix://", "unix://@", "unix://a\0b", "unixgram://", &long] {
            assert!(matches!(parse(path), E::UnixPath(_)), "{path}");
        }
        assert!(matches!(parse("tcp://no.such.host.invalid:80"), E::Resolve { .. }));
        assert!(matches!(parse(&format!("tcp://{}:80", "h".repeat(400))), E::TooLong(_)));
    }

    #[test]
    fn errors_quote_nothing_that_a_terminal_obeys() {
        for text in ["\n", "\x1b://", "tcp://\r", "tcp://[\x07]:1", "unix://\0", "tcp://\x08:1"] {
            let message = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(message.contains('\\') && !message.contains(char::is_control), "{message:?}");
        }
        let address = UnixAddress::Abstract("a\n\u{202e}b".into());
        assert_eq!(address.to_string(), r"@a\n\u{202e}b");
    }
}
