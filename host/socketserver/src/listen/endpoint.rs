//! Where a server listens, written as a URL.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs};
use std::str::FromStr;

use nix::net::if_::if_nametoindex;
use thiserror::Error;

use crate::address::{Address, SocketType, UnixAddress};
use crate::listen::options::{
    ListenOptions, OptionError, behind_address, interface, split_interface,
};
use crate::text::printable;

/// The longest address that is parsed: a host name has 253 characters at most.
const LONGEST: usize = 300;
/// The longest list of options.
const LONGEST_OPTIONS: usize = 1000;
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
/// Python's `''`. Port 0 asks the kernel for a free one. A link-local IPv6 address
/// has a zone: `[fe80::1%eth0]`, also as `[fe80::1%25eth0]` (RFC 6874), or the number
/// of the interface.
///
/// Behind a question mark there may be [`ListenOptions`]. So in the path of a Unix
/// socket a question mark is `%3F`, and a percent sign before `3F` or `25` is `%25`;
/// any other is itself.
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
    /// The name of the interface that `address` has a number of.
    zone: Option<Box<str>>,
    options: Box<ListenOptions>,
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
    /// There is no network interface of that name for the zone of an IPv6 address.
    #[error("the zone `{}` is no network interface of this machine", printable(.0, LONGEST))]
    Zone(String),
    /// The options are longer than all of them can be.
    #[error("options of {0} characters: the most have {LONGEST_OPTIONS}")]
    OptionsTooLong(usize),
    /// An option that there is not, or that is wrong.
    #[error(transparent)]
    Option(OptionError),
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
        Endpoint { socket_type, address, zone: None, options: Box::default() }
    }

    /// The same, with these options of its socket in the place of those that it has.
    #[must_use]
    pub fn with_options(self, options: ListenOptions) -> Self {
        Endpoint { options: Box::new(options), ..self }
    }

    /// The options of its socket.
    pub fn options(&self) -> &ListenOptions {
        &self.options
    }

    /// The same, with the address that the kernel has bound it to.
    pub(crate) fn bound(&self, address: Address) -> Self {
        Endpoint { address, ..self.clone() }
    }

    /// The scheme of its URL.
    pub(crate) fn scheme(&self) -> &'static str {
        match (&self.address, self.socket_type) {
            (Address::Inet(_) | Address::Inet6(_), SocketType::Stream) => "tcp",
            (Address::Inet(_) | Address::Inet6(_), SocketType::Dgram) => "udp",
            (Address::Unix(_), SocketType::Stream) => "unix",
            (Address::Unix(_), SocketType::Dgram) => "unixgram",
        }
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

    /// Parses one of the forms above; asks the resolver if the host is a name, and the
    /// kernel if it has a zone.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (text, query) = match text.split_once('?') {
            Some((text, query)) => (text, Some(query)),
            None => (text, None),
        };
        if text.len() > LONGEST {
            return Err(EndpointError::TooLong(text.len()));
        }
        let endpoint = without_options(text)?;
        let Some(query) = query else { return Ok(endpoint) };
        if query.len() > LONGEST_OPTIONS {
            return Err(EndpointError::OptionsTooLong(query.len()));
        }
        let options = ListenOptions::parse(query, endpoint.scheme(), &endpoint.address);
        Ok(endpoint.with_options(options.map_err(EndpointError::Option)?))
    }
}

fn without_options(text: &str) -> Result<Endpoint, EndpointError> {
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
    let (address, zone) = resolve(host, port)?;
    Ok(Endpoint { zone, ..Endpoint::new(socket_type, address.into()) })
}

fn unix(text: &str) -> Result<UnixAddress, EndpointError> {
    let path = decoded(text);
    let (name, address) = match path.strip_prefix('@') {
        Some(name) => (name, UnixAddress::Abstract(name.into())),
        None => (&*path, UnixAddress::Pathname((&*path).into())),
    };
    if name.is_empty() || name.len() > LONGEST_PATH || name.contains('\0') {
        return Err(EndpointError::UnixPath(text.to_owned()));
    }
    Ok(address)
}

/// What stands for something else in a path that options may follow.
const ENCODED: [(&str, char); 3] = [("%3F", '?'), ("%3f", '?'), ("%25", '%')];

fn decoded(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let encoded = ENCODED.iter().find(|(encoded, _)| rest.starts_with(encoded));
        let (length, plain) = encoded.map_or((first.len_utf8(), first), |(_, plain)| (3, *plain));
        decoded.push(plain);
        rest = &rest[length..];
    }
    decoded
}

fn encoded(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for (place, character) in path.char_indices() {
        match character {
            '?' => encoded.push_str("%3F"),
            '%' if ENCODED.iter().any(|(text, _)| path[place..].starts_with(text)) => {
                encoded.push_str("%25");
            }
            other => encoded.push(other),
        }
    }
    encoded
}

/// An IPv6 address in brackets, with its zone.
fn ipv6(host: &str) -> Option<(Ipv6Addr, Option<&str>)> {
    let host = host.strip_prefix('[')?.strip_suffix(']')?;
    let (address, zone) = split_interface(host);
    Some((address.parse().ok()?, zone))
}

/// The number of a network interface, and its name if it was given as such.
fn zone(text: &str) -> Result<(u32, Option<Box<str>>), EndpointError> {
    let unknown = || EndpointError::Zone(text.to_owned());
    if text.bytes().all(|digit| digit.is_ascii_digit()) {
        let number = text.parse().ok().filter(|number| *number != 0);
        return number.map(|number| (number, None)).ok_or_else(unknown);
    }
    let name = interface(text).ok_or_else(unknown)?;
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
        let (address, text) = ipv6(host).ok_or_else(|| EndpointError::Ipv6(host.to_owned()))?;
        let (scope, name) = text.map(zone).transpose()?.unwrap_or_default();
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
        write!(f, "{}://", self.scheme())?;
        match (&self.address, &self.zone) {
            (Address::Inet6(address), zone) if address.scope_id() != 0 => {
                let number = address.scope_id().to_string();
                let zone = behind_address(zone.as_deref().unwrap_or(&number));
                write!(f, "[{}{zone}]:{}", address.ip(), address.port())?;
            }
            (Address::Unix(address), _) => f.write_str(&encoded(&address.to_string()))?,
            (address, _) => write!(f, "{address}")?,
        }
        if self.options.is_empty() { Ok(()) } else { write!(f, "?{}", self.options) }
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
    fn no_host_is_every_ipv4_address_and_localhost_is_ipv4() {
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
    fn errors_quote_nothing_that_a_terminal_obeys() {
        for text in ["\n", "\x1b://", "tcp://\r", "tcp://[\x07]:1", "unix://\0", "tcp://\x08:1"] {
            let message = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(message.contains('\\') && !message.contains(char::is_control), "{message:?}");
        }
        let address = UnixAddress::Abstract("a\n\u{202e}b".into());
        assert_eq!(address.to_string(), r"@a\n\u{202e}b");
    }
}
