//! The endpoints that a server listens on, written as URLs.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs};
use std::str::FromStr;

use nix::net::if_::if_nametoindex;
use thiserror::Error;

use crate::address::{Address, SocketType, UnixAddress};
use crate::listen::options::{
    ListenOptions, OptionError, interface_suffix, parse_interface, split_interface,
};
use crate::text::printable;

/// The longest address that is parsed: a host name has 253 characters at most.
const MAX_ADDRESS: usize = 300;
/// The longest list of options, in bytes.
const MAX_OPTIONS: usize = 1000;
/// The forms of an endpoint.
const FORMS: &str =
    "tcp://HOST:PORT, tls://HOST:PORT, udp://HOST:PORT, unix://PATH or unixgram://PATH";
/// The longest path or abstract name of a Unix socket, in bytes.
const MAX_PATH: usize = 107;

/// An address that a server listens on, for streams (`tcp://HOST:PORT`, `unix://PATH`, and with
/// TLS `tls://HOST:PORT`, `tls+unix://PATH`) or for datagrams (`udp://HOST:PORT`, `unixgram://PATH`). `@NAME` in the
/// place of a path is a Linux abstract name.
///
/// The host is an IPv4 address, an IPv6 address in brackets, a name, or nothing for every
/// IPv4 address, which is Python's `''`. The first address of a name is used, IPv4 before
/// IPv6, so that `localhost` is `127.0.0.1` as in Python. Port 0 lets the kernel choose a
/// free port. A link-local IPv6 address
/// has a zone: `[fe80::1%eth0]`, also as `[fe80::1%25eth0]` (RFC 6874), or the number
/// of the interface.
///
/// [`ListenOptions`] may follow a question mark. So in the path of a Unix
/// socket a question mark is written `%3F`, and a percent sign before `3F` or `25` is
/// written `%25`; any other percent sign is written as it is.
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
    /// True if its connections have TLS.
    has_tls: bool,
    /// The name of the interface whose number is in `address`.
    zone: Option<Box<str>>,
    options: Box<ListenOptions>,
}

/// The error of a text that is not an [`Endpoint`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// The text does not begin with a scheme.
    #[error("`{}` has no scheme: write {FORMS}", printable(.0, MAX_ADDRESS))]
    NoScheme(String),
    /// The scheme is unknown.
    #[error("`{}://` is not served: write {FORMS}", printable(.0, MAX_ADDRESS))]
    Scheme(String),
    /// The text has no port, or the port is not a number from 0 to 65535.
    #[error("`{}` does not end in a port from 0 to 65535: write HOST:PORT", printable(.0, MAX_ADDRESS))]
    Port(String),
    /// An IPv6 address has no brackets, or the brackets contain no IPv6 address.
    #[error("`{}` is not an IPv6 address in brackets: write [::1]:PORT", printable(.0, MAX_ADDRESS))]
    Ipv6(String),
    /// The name has no address.
    #[error("the host `{}` has no address: {reason}", printable(host, MAX_ADDRESS))]
    Resolve {
        /// The name.
        host: String,
        /// The error of the resolver.
        reason: String,
    },
    /// The kernel does not accept the path or name of a Unix socket.
    #[error(
        "the path of a Unix socket has 1 to {MAX_PATH} bytes, none of them zero: `{}`",
        printable(.0, MAX_ADDRESS)
    )]
    UnixPath(String),
    /// The text is longer than any address.
    #[error("an address of {0} characters: the longest has {MAX_ADDRESS}")]
    TooLong(usize),
    /// The zone of an IPv6 address is not the name of a network interface.
    #[error("the zone `{}` is no network interface of this machine", printable(.0, MAX_ADDRESS))]
    Zone(String),
    /// The options are longer than all options together can be.
    #[error("options of {0} characters: the most have {MAX_OPTIONS}")]
    OptionsTooLong(usize),
    /// An option is unknown or wrong.
    #[error(transparent)]
    Option(OptionError),
}

impl Endpoint {
    /// Returns the endpoint of a TCP server.
    pub fn tcp(address: SocketAddr) -> Self {
        Endpoint::new(SocketType::Stream, address.into())
    }

    /// Returns the endpoint of a UDP server.
    pub fn udp(address: SocketAddr) -> Self {
        Endpoint::new(SocketType::Dgram, address.into())
    }

    /// Returns the endpoint of a Unix stream server.
    pub fn unix(address: UnixAddress) -> Self {
        Endpoint::new(SocketType::Stream, address.into())
    }

    /// Returns the endpoint of a Unix datagram server.
    pub fn unixgram(address: UnixAddress) -> Self {
        Endpoint::new(SocketType::Dgram, address.into())
    }

    /// Returns the endpoint for sockets of this type at `address`.
    pub fn new(socket_type: SocketType, address: Address) -> Self {
        let options = Box::default();
        Endpoint { socket_type, address, has_tls: false, zone: None, options }
    }

    /// Returns the same endpoint, whose connections have TLS or have none.
    #[must_use]
    pub fn with_tls(self, has_tls: bool) -> Self {
        Endpoint { has_tls, ..self }
    }

    /// Returns true if its connections have TLS.
    pub fn has_tls(&self) -> bool {
        self.has_tls
    }

    /// Replaces the options of its socket.
    #[must_use]
    pub fn with_options(self, options: ListenOptions) -> Self {
        Endpoint { options: Box::new(options), ..self }
    }

    /// Returns the options of its socket.
    pub fn options(&self) -> &ListenOptions {
        &self.options
    }

    /// Returns the same endpoint with the address that the kernel has bound.
    pub(crate) fn with_bound_address(&self, address: Address) -> Self {
        Endpoint { address, ..self.clone() }
    }

    /// Returns the scheme of its URL, without TLS.
    pub(crate) fn scheme(&self) -> &'static str {
        match (&self.address, self.socket_type) {
            (Address::Inet(_) | Address::Inet6(_), SocketType::Stream) => "tcp",
            (Address::Inet(_) | Address::Inet6(_), SocketType::Dgram) => "udp",
            (Address::Unix(_), SocketType::Stream) => "unix",
            (Address::Unix(_), SocketType::Dgram) => "unixgram",
        }
    }

    /// Returns the type of its socket.
    pub fn socket_type(&self) -> SocketType {
        self.socket_type
    }

    /// Returns the address to bind, or the address that was bound.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Returns true if datagrams that come to the socket may be for any of several
    /// addresses of this machine. Then the kernel reports the address of each datagram:
    /// `IP_PKTINFO` of `ip(7)`, which needs `recvmsg(2)`.
    pub fn has_packet_info(&self) -> bool {
        let ip = self.address.to_socket_addr().map(|address| address.ip().to_canonical());
        let several = |ip: IpAddr| ip.is_unspecified() || ip.is_multicast();
        self.socket_type == SocketType::Dgram && ip.is_some_and(several)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// Parses a URL. It asks the resolver if the host is a name, and the
    /// kernel if the host has a zone.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (text, query) = match text.split_once('?') {
            Some((text, query)) => (text, Some(query)),
            None => (text, None),
        };
        if text.len() > MAX_ADDRESS {
            return Err(EndpointError::TooLong(text.len()));
        }
        let endpoint = parse_without_options(text)?;
        let Some(query) = query else { return Ok(endpoint) };
        if query.len() > MAX_OPTIONS {
            return Err(EndpointError::OptionsTooLong(query.len()));
        }
        let options = ListenOptions::parse(query, endpoint.scheme(), &endpoint.address);
        Ok(endpoint.with_options(options.map_err(EndpointError::Option)?))
    }
}

fn parse_without_options(text: &str) -> Result<Endpoint, EndpointError> {
    let (scheme, rest) =
        text.split_once("://").ok_or_else(|| EndpointError::NoScheme(text.to_owned()))?;
    let socket_type = match scheme {
        "tcp" | "tls" => SocketType::Stream,
        "udp" => SocketType::Dgram,
        "unix" => return parse_unix_address(rest).map(Endpoint::unix),
        "tls+unix" => {
            return parse_unix_address(rest).map(|path| Endpoint::unix(path).with_tls(true));
        }
        "unixgram" => return parse_unix_address(rest).map(Endpoint::unixgram),
        _ => return Err(EndpointError::Scheme(scheme.to_owned())),
    };
    let bad_port = || EndpointError::Port(text.to_owned());
    let (host, port) = rest.rsplit_once(':').ok_or_else(bad_port)?;
    // `u16::from_str` accepts a sign; a port has none.
    if !port.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(bad_port());
    }
    let port: u16 = port.parse().map_err(|_| bad_port())?;
    let (address, zone) = resolve(host, port)?;
    let has_tls = scheme == "tls";
    Ok(Endpoint { has_tls, zone, ..Endpoint::new(socket_type, address.into()) })
}

fn parse_unix_address(text: &str) -> Result<UnixAddress, EndpointError> {
    let path = unescape(text);
    let (name, address) = match path.strip_prefix('@') {
        Some(name) => (name, UnixAddress::Abstract(name.into())),
        None => (&*path, UnixAddress::Pathname((&*path).into())),
    };
    if name.is_empty() || name.len() > MAX_PATH || name.contains('\0') {
        return Err(EndpointError::UnixPath(text.to_owned()));
    }
    Ok(address)
}

/// The escapes in a path, which options may follow.
const ESCAPES: [(&str, char); 3] = [("%3F", '?'), ("%3f", '?'), ("%25", '%')];

fn unescape(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let encoded = ESCAPES.iter().find(|(encoded, _)| rest.starts_with(encoded));
        let (length, plain) = encoded.map_or((first.len_utf8(), first), |(_, plain)| (3, *plain));
        decoded.push(plain);
        rest = &rest[length..];
    }
    decoded
}

fn escape(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for (index, character) in path.char_indices() {
        match character {
            '?' => encoded.push_str("%3F"),
            '%' if ESCAPES.iter().any(|(text, _)| path[index..].starts_with(text)) => {
                encoded.push_str("%25");
            }
            other => encoded.push(other),
        }
    }
    encoded
}

/// Parses an IPv6 address in brackets. Returns it with its zone.
fn parse_ipv6(host: &str) -> Option<(Ipv6Addr, Option<&str>)> {
    let host = host.strip_prefix('[')?.strip_suffix(']')?;
    let (address, zone) = split_interface(host);
    Some((address.parse().ok()?, zone))
}

/// Returns the number of a network interface, and its name if `text` is the name.
fn find_interface(text: &str) -> Result<(u32, Option<Box<str>>), EndpointError> {
    let unknown = || EndpointError::Zone(text.to_owned());
    if text.bytes().all(|digit| digit.is_ascii_digit()) {
        let number = text.parse().ok().filter(|number| *number != 0);
        return number.map(|number| (number, None)).ok_or_else(unknown);
    }
    let name = parse_interface(text).ok_or_else(unknown)?;
    let number = if_nametoindex(name.as_str()).map_err(|_| unknown())?;
    Ok((number, Some(name.into())))
}

type Resolved = (SocketAddr, Option<Box<str>>);

fn resolve(host: &str, port: u16) -> Result<Resolved, EndpointError> {
    let plain = |address: SocketAddr| (address, None);
    if host.is_empty() {
        return Ok(plain(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into()));
    }
    if host.contains([':', '[', ']']) {
        let (address, text) =
            parse_ipv6(host).ok_or_else(|| EndpointError::Ipv6(host.to_owned()))?;
        let (scope, name) = text.map(find_interface).transpose()?.unwrap_or_default();
        return Ok((SocketAddrV6::new(address, port, 0, scope).into(), name));
    }
    if let Ok(host) = host.parse::<Ipv4Addr>() {
        return Ok(plain(SocketAddrV4::new(host, port).into()));
    }
    let failed = |reason: String| EndpointError::Resolve { host: host.to_owned(), reason };
    let addresses: Vec<SocketAddr> =
        (host, port).to_socket_addrs().map_err(|error| failed(error.to_string()))?.collect();
    addresses
        .iter()
        .find(|address| address.is_ipv4())
        .or_else(|| addresses.first())
        .map(|address| plain(*address))
        .ok_or_else(|| failed("the resolver returned none".to_owned()))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme() {
            "tcp" if self.has_tls => f.write_str("tls://")?,
            scheme if self.has_tls => write!(f, "tls+{scheme}://")?,
            scheme => write!(f, "{scheme}://")?,
        }
        match (&self.address, &self.zone) {
            (Address::Inet6(address), zone) if address.scope_id() != 0 => {
                let number = address.scope_id().to_string();
                let zone = interface_suffix(zone.as_deref().unwrap_or(&number));
                write!(f, "[{}{zone}]:{}", address.ip(), address.port())?;
            }
            (Address::Unix(address), _) => f.write_str(&escape(&address.to_string()))?,
            (address, _) => write!(f, "{address}")?,
        }
        if self.options.is_empty() { Ok(()) } else { write!(f, "?{}", self.options) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_prints_as_it_was_written() {
        for text in [
            "tcp://127.0.0.1:0",
            "tls://127.0.0.1:443?backlog=7",
            "tls://[fe80::1%lo]:1",
            "tls+unix:///run/a.socket",
            "tcp://0.0.0.0:65535",
            "tcp://[::]:80",
            "tcp://[fe80::1]:1",
            "tcp://[fe80::1%lo]:1",
            "udp://[fe80::1%7]:1",
            "unix:///run/a%3Fb%20c%",
            "unix://@a%2525%3F",
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
    fn no_host_means_every_ipv4_address_and_localhost_is_ipv4() {
        assert_eq!("tcp://:80".parse::<Endpoint>().unwrap().to_string(), "tcp://0.0.0.0:80");
        assert_eq!(
            "tcp://localhost:80".parse::<Endpoint>().unwrap().to_string(),
            "tcp://127.0.0.1:80"
        );
    }

    #[test]
    fn zones_and_paths_may_be_written_in_several_ways() {
        for (text, printed) in [
            ("tcp://[fe80::1%25lo]:80", "tcp://[fe80::1%lo]:80"),
            ("tcp://[fe80::1%25]:80", "tcp://[fe80::1%25]:80"),
            ("tcp://[fe80::1%257]:80", "tcp://[fe80::1%7]:80"),
            ("tcp://[fe80::1%25257]:80", "tcp://[fe80::1%25257]:80"),
            ("tcp://[fe80::1%00257]:80", "tcp://[fe80::1%25257]:80"),
            ("unix:///a%3fb", "unix:///a%3Fb"),
            ("unix:///a%25b", "unix:///a%b"),
            ("unix:///%2525", "unix:///%2525"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), printed);
        }
        let path = "unix:///a%3Fb%253F%25%".parse::<Endpoint>().unwrap();
        assert_eq!(path.address().to_string(), "/a?b%3F%%");
        assert_eq!(path.to_string().parse(), Ok(path));
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
        for zone in ["%none", "%", "%0", "%99999999999", "%l o", "%25none"] {
            assert!(matches!(parse(&format!("tcp://[fe80::1{zone}]:80")), E::Zone(_)), "{zone}");
        }
        for ipv6 in [
            "tcp://::1:80",
            "tcp://[127.0.0.1%lo]:80",
            "tcp://[::1:80",
            "tcp://[127.0.0.1]:80",
            "tcp://]:80",
        ] {
            assert!(matches!(parse(ipv6), E::Ipv6(_)), "{ipv6}");
        }
        let long = format!("unix:///{}", "p".repeat(107));
        for path in ["unix://", "unix://@", "unix://a\0b", "unixgram://", &long] {
            assert!(matches!(parse(path), E::UnixPath(_)), "{path}");
        }
        assert!(matches!(parse("tcp://no.such.host.invalid:80"), E::Resolve { .. }));
        assert!(matches!(parse(&format!("tcp://{}:80", "h".repeat(400))), E::TooLong(_)));
        let options = "rcvbuf=4MiB&".repeat(100);
        assert!(matches!(parse(&format!("tcp://127.0.0.1:80?{options}")), E::OptionsTooLong(_)));
        assert!(matches!(parse("tcp://127.0.0.1:80?x=1"), E::Option(_)));
    }

    #[test]
    fn errors_escape_control_characters() {
        for text in ["\n", "\x1b://", "tcp://\r", "tcp://[\x07]:1", "unix://\0", "tcp://\x08:1"] {
            let message = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(message.contains('\\') && !message.contains(char::is_control), "{message:?}");
        }
        let address = UnixAddress::Abstract("a\n\u{202e}b".into());
        assert_eq!(address.to_string(), r"@a\n\u{202e}b");
    }
}
