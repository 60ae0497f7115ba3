//! The grants of sockets that a handler opens: their grammar, and what each permits.
//!
//! | written | permits |
//! |---|---|
//! | `tcp://HOST:PORTS`, `udp://HOST:PORTS` | addresses of a host or a network, with a port, a range of ports, or any port (`*`) |
//! | `unix://PATH`, `unix://@NAME` | one Unix socket |
//!
//! `HOST` is a name, an address or a network: `db.example`, `10.0.0.1`, `10.0.0.0/8`,
//! `[::1]`, `[2001:db8::/32]`. A name permits its public addresses only: what it leads to is
//! decided by others.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;

use ipnet::IpNet;
use socketserver::{Address, UnixAddress, printable};
use thiserror::Error;

use crate::public_address::is_public;

/// The operator's grants for sockets that a handler opens. By default it may open none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkGrants {
    /// The addresses to which it may connect and send.
    pub connect: Vec<SocketGrant>,
    /// The addresses to which it may bind sockets, and where it may listen.
    pub listen: Vec<SocketGrant>,
    /// The names that it may look up, beside those of `connect`.
    pub resolve: Vec<HostName>,
    /// Set if it may open raw sockets, which reach every address. The kernel asks for
    /// `CAP_NET_RAW` too.
    pub raw: bool,
}

/// A kind of socket that can be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// Unix sockets of each type.
    Unix,
    /// Raw sockets.
    Raw,
}

/// The permission to use some addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketGrant(Target);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Ip { protocol: Protocol, host: Host, ports: RangeInclusive<u16> },
    Unix(UnixAddress),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Network(IpNet),
    Name(HostName),
}

/// The name of a host, in lower case and without a dot at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName(String);

/// The error of a text that is no grant. It says what to write.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct GrantError(String);

/// The longest name of a host, in bytes.
const LONGEST_NAME: usize = 253;
/// The number of bytes of a wrong word that an error quotes.
const LONGEST_SHOWN: usize = 100;

impl Protocol {
    /// Returns the scheme of its grants.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Unix => "unix",
            Protocol::Raw => "raw",
        }
    }
}

impl NetworkGrants {
    /// Returns true if nothing is granted.
    pub fn is_empty(&self) -> bool {
        self == &NetworkGrants::default()
    }

    /// Returns true if a handler may look up some names.
    pub fn has_names(&self) -> bool {
        !self.resolve.is_empty() || self.connect.iter().any(|grant| grant.name().is_some())
    }

    /// Returns true if a handler may open a socket of this kind.
    pub(crate) fn may_open(&self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::Raw => self.raw,
            _ => self.connect.iter().chain(&self.listen).any(|one| one.protocol() == protocol),
        }
    }

    /// Returns true if a handler may connect or send to `address`. `resolved` tells if a name
    /// has led to an address.
    pub(crate) fn may_connect(
        &self,
        protocol: Protocol,
        address: &Address,
        resolved: impl Fn(&HostName, IpAddr) -> bool,
    ) -> bool {
        if protocol == Protocol::Raw {
            return self.raw;
        }
        self.connect.iter().any(|grant| grant.permits(protocol, address, &resolved))
    }

    /// Returns true if a handler may bind a socket to `address`, or listen there. A socket
    /// that connects has any free port of its machine without asking, so it may bind one.
    pub(crate) fn may_bind(&self, protocol: Protocol, address: &Address) -> bool {
        let any_port = address.to_socket_addr().is_some_and(|address| address.port() == 0);
        match protocol {
            Protocol::Raw => self.raw,
            Protocol::Tcp | Protocol::Udp if any_port && self.connects(protocol) => true,
            _ => self.may_listen(protocol, address),
        }
    }

    /// Returns true if a handler may wait for connections at `address`.
    pub(crate) fn may_listen(&self, protocol: Protocol, address: &Address) -> bool {
        self.listen.iter().any(|grant| grant.permits(protocol, address, &|_, _| false))
    }

    /// Returns true if a handler may wait for connections with a socket whose address is
    /// `bound`. The kernel may have chosen its port.
    pub(crate) fn may_listen_with(
        &self,
        protocol: Protocol,
        bound: &Address,
        has_bound_any_port: bool,
    ) -> bool {
        if self.may_listen(protocol, bound) {
            return true;
        }
        let asked = bound.to_socket_addr().filter(|_| has_bound_any_port);
        asked.is_some_and(|mut asked| {
            asked.set_port(0);
            self.may_listen(protocol, &asked.into())
        })
    }

    fn connects(&self, protocol: Protocol) -> bool {
        self.connect.iter().any(|grant| grant.protocol() == protocol)
    }

    /// Returns the granted name if a handler may look `name` up.
    pub(crate) fn may_resolve(&self, name: &str) -> Option<&HostName> {
        let granted = self.connect.iter().filter_map(SocketGrant::name).chain(&self.resolve);
        let name = HostName::from_str(name).ok()?;
        granted.into_iter().find(|granted| **granted == name)
    }
}

impl SocketGrant {
    fn protocol(&self) -> Protocol {
        match &self.0 {
            Target::Ip { protocol, .. } => *protocol,
            Target::Unix(_) => Protocol::Unix,
        }
    }

    fn name(&self) -> Option<&HostName> {
        match &self.0 {
            Target::Ip { host: Host::Name(name), .. } => Some(name),
            _ => None,
        }
    }

    fn permits(
        &self,
        wanted: Protocol,
        address: &Address,
        resolved: &impl Fn(&HostName, IpAddr) -> bool,
    ) -> bool {
        match (&self.0, address.to_socket_addr()) {
            (Target::Ip { protocol, host, ports }, Some(address)) => {
                // The IPv4 address of an IPv6 socket is an IPv4 address.
                let ip = address.ip().to_canonical();
                let host = match host {
                    Host::Network(network) => network.contains(&ip),
                    Host::Name(name) => is_public(ip) && resolved(name, ip),
                };
                *protocol == wanted && host && ports.contains(&address.port())
            }
            (Target::Unix(granted), None) => {
                wanted == Protocol::Unix && is_same_name(granted, address)
            }
            _ => false,
        }
    }

    /// Parses a grant of an address where a handler listens, which has no name.
    ///
    /// # Errors
    ///
    /// The text is no such grant.
    pub fn parse_listen(text: &str) -> Result<Self, GrantError> {
        let grant = SocketGrant::from_str(text)?;
        if grant.name().is_some() {
            return Err(wrong(text, "has a name, and a socket is bound to an address"));
        }
        Ok(grant)
    }

    /// Returns the text that is parsed as this grant. `Display` has escapes for the names of Unix
    /// sockets.
    pub fn to_text(&self) -> String {
        match &self.0 {
            Target::Unix(UnixAddress::Pathname(path)) => format!("unix://{}", path.display()),
            Target::Unix(UnixAddress::Abstract(name)) => {
                format!("unix://@{}", String::from_utf8_lossy(name))
            }
            _ => self.to_string(),
        }
    }

    /// Returns the directory in which the socket of a grant is, if the grant is a path.
    pub fn directory(&self) -> Option<&Path> {
        match &self.0 {
            Target::Unix(UnixAddress::Pathname(path)) => {
                let directory = path.parent()?;
                Some(if directory.as_os_str().is_empty() { Path::new(".") } else { directory })
            }
            _ => None,
        }
    }

    /// Returns the grant that permits exactly this address.
    pub(crate) fn of_address(protocol: Protocol, address: &Address) -> String {
        match address {
            Address::Unix(address) => format!("unix://{address}"),
            address => {
                let canonical = address.to_socket_addr().map(|address| {
                    SocketAddr::new(address.ip().to_canonical(), address.port()).to_string()
                });
                format!("{}://{}", protocol.as_str(), canonical.unwrap_or_default())
            }
        }
    }
}

impl FromStr for SocketGrant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| {
            wrong(text, "has no scheme: write tcp://HOST:PORT, udp://HOST:PORT or unix://PATH")
        })?;
        let protocol = match scheme {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "unix" => return unix(text, rest),
            _ => return Err(wrong(text, "has another scheme than tcp, udp and unix")),
        };
        let no_port = || wrong(text, "has no port: write HOST:PORT, HOST:FIRST-LAST or HOST:*");
        let (host, ports) = rest.rsplit_once(':').ok_or_else(no_port)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match (bracketed, socketserver::access::network(bracketed.unwrap_or(host))) {
            (None, Ok(IpNet::V6(_))) => {
                return Err(wrong(text, "has an IPv6 address without brackets: write [ADDRESS]"));
            }
            (_, Ok(network)) => Host::Network(network.trunc()),
            (None, Err(_)) => Host::Name(HostName::from_str(host)?),
            (Some(_), Err(why)) => return Err(wrong(text, &why)),
        };
        let ports = ports_of(ports).ok_or_else(|| {
            wrong(text, "has a port that is neither a number, a range FIRST-LAST, nor *")
        })?;
        Ok(SocketGrant(Target::Ip { protocol, host, ports }))
    }
}

/// Returns true if the names are the same letter for letter. Paths are equal in other cases too.
fn is_same_name(granted: &UnixAddress, address: &Address) -> bool {
    match (granted, address) {
        (UnixAddress::Pathname(granted), Address::Unix(UnixAddress::Pathname(path))) => {
            granted.as_os_str() == path.as_os_str()
        }
        (granted, address) => *address == Address::Unix(granted.clone()),
    }
}

fn unix(text: &str, path: &str) -> Result<SocketGrant, GrantError> {
    let address = match path.strip_prefix('@') {
        Some("") => None,
        Some(name) => Some(UnixAddress::Abstract(name.as_bytes().to_vec())),
        None if path.is_empty() => None,
        None => Some(UnixAddress::Pathname(path.into())),
    };
    let address = address.ok_or_else(|| wrong(text, "has no path"))?;
    Ok(SocketGrant(Target::Unix(address)))
}

fn ports_of(text: &str) -> Option<RangeInclusive<u16>> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten()
    };
    match text.split_once('-') {
        _ if text == "*" => Some(0..=u16::MAX),
        None => number(text).map(|port| port..=port),
        Some((first, last)) => {
            let ports = number(first)?..=number(last)?;
            (!ports.is_empty()).then_some(ports)
        }
    }
}

fn wrong(text: &str, why: &str) -> GrantError {
    GrantError(format!("`{}` {why}", printable(text, LONGEST_SHOWN)))
}

impl FromStr for HostName {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        // Standards differ in what such a name is in DNS (IDNA 2003 and 2008), and so in whose it is.
        if !text.is_ascii() {
            let why = "is not ASCII: write the name as DNS has it, such as `xn--bcher-kva.example`";
            return Err(wrong(text, why));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let label =
            |label: &str| !label.is_empty() && label.len() <= 63 && label.bytes().all(known);
        // The last label of an address has digits only, that of a name has not.
        let is_number = name.rsplit('.').next().is_some_and(|last| {
            last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x")
        });
        if name.len() > LONGEST_NAME || !name.split('.').all(label) || is_number {
            return Err(wrong(text, "is neither a network, an address, nor the name of a host"));
        }
        Ok(HostName(name.to_ascii_lowercase()))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SocketGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (protocol, host, ports) = match &self.0 {
            Target::Ip { protocol, host, ports } => (protocol, host, ports),
            Target::Unix(address) => return write!(f, "unix://{address}"),
        };
        write!(f, "{}://", protocol.as_str())?;
        match host {
            Host::Name(name) => write!(f, "{name}")?,
            Host::Network(network) => {
                let single = network.prefix_len() == network.max_prefix_len();
                match (network, single) {
                    (IpNet::V4(network), true) => write!(f, "{}", network.addr())?,
                    (IpNet::V4(network), false) => write!(f, "{network}")?,
                    (IpNet::V6(network), true) => write!(f, "[{}]", network.addr())?,
                    (IpNet::V6(network), false) => write!(f, "[{network}]")?,
                }
            }
        }
        match (*ports.start(), *ports.end()) {
            (0, u16::MAX) => f.write_str(":*"),
            (first, last) if first == last => write!(f, ":{first}"),
            (first, last) => write!(f, ":{first}-{last}"),
        }
    }
}

#[cfg(test)]
#[path = "network_grants_tests.rs"]
mod tests;
