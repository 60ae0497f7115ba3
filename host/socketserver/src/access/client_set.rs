//! Clients, named by their network, user or group.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use crate::{Address, PeerCredentials};

/// A set of clients, for the rules of [`Access`](super::Access).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientSet {
    /// The clients with an IP address in this network. The IPv4 clients of an IPv6
    /// socket are IPv4 clients, and `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
    Network(IpNet),
    /// The processes of the user with this number, over Unix sockets.
    User(u32),
    /// The processes whose primary group has this number, over Unix sockets.
    /// Supplementary groups do not count.
    Group(u32),
}

impl ClientSet {
    /// Returns true if this depends on [`PeerCredentials`].
    pub(super) fn needs_credentials(self) -> bool {
        !matches!(self, ClientSet::Network(_))
    }

    /// Returns true if `client` is in the set. `peer` is `None` for IP clients.
    pub(crate) fn includes(self, client: &Address, peer: Option<PeerCredentials>) -> bool {
        match self {
            ClientSet::Network(network) => {
                ip(client).is_some_and(|ip| canonical(network).contains(&ip))
            }
            ClientSet::User(uid) => peer.is_some_and(|peer| peer.uid == uid),
            ClientSet::Group(gid) => peer.is_some_and(|peer| peer.gid == gid),
        }
    }
}

/// Returns the IP address of a client. For an IPv4 client of an IPv6 socket, it is the
/// IPv4 address.
pub(super) fn ip(client: &Address) -> Option<IpAddr> {
    client.to_socket_addr().map(|client| client.ip().to_canonical())
}

/// Parses a network such as `10.0.0.0/8` or `2001:db8::/32`, or one address.
///
/// # Errors
///
/// The text is neither. The error is a sentence that says what to write.
pub fn network(text: &str) -> Result<IpNet, String> {
    // The standard library refuses numbers such as 010, which some programs take for octal.
    let address = text.split_once('/').map_or(text, |(address, _)| address).parse::<IpAddr>();
    let network = address.ok().and_then(|address| {
        if text.contains('/') { text.parse().ok() } else { Some(IpNet::from(address)) }
    });
    let network = network.ok_or("write a network such as 10.0.0.0/8, or an address")?;
    Ok(canonical(network))
}

/// Returns the IPv4 network for an IPv4-mapped IPv6 network, and other networks as they
/// are.
fn canonical(network: IpNet) -> IpNet {
    const MAPPED: u8 = 96;
    if let IpNet::V6(v6) = network
        && v6.prefix_len() >= MAPPED
        && let Some(v4) = v6.addr().to_ipv4_mapped()
        && let Ok(v4) = Ipv4Net::new(v4, v6.prefix_len() - MAPPED)
    {
        return IpNet::V4(v4);
    }
    network
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::address::UnixAddress;

    fn has(network_: &str, client: &str) -> bool {
        let client: SocketAddr = client.parse().unwrap();
        ClientSet::Network(network(network_).unwrap()).includes(&client.into(), None)
    }

    #[test]
    fn a_network_has_its_own_addresses_and_no_others() {
        assert!(has("127.0.0.2", "127.0.0.2:1"));
        assert!(!has("127.0.0.2", "127.0.0.1:1"));
        assert!(!has("127.0.0.2", "127.0.0.3:1"));
        assert!(has("10.0.0.0/8", "10.255.255.255:1"));
        assert!(!has("10.0.0.0/8", "11.0.0.0:1"));
        assert!(has("2001:db8::/32", "[2001:db8::1]:1"));
        assert!(!has("2001:db8::/32", "[2001:db9::1]:1"));
        assert!(has("0.0.0.0/0", "8.8.8.8:1"));
        assert!(!has("0.0.0.0/0", "[2001:db8::1]:1"));
    }

    #[test]
    fn an_ipv4_mapped_address_is_an_ipv4_address() {
        assert!(has("127.0.0.2", "[::ffff:127.0.0.2]:1"));
        assert!(has("::ffff:127.0.0.2", "127.0.0.2:1"));
        assert!(has("::ffff:10.0.0.0/104", "10.1.2.3:1"));
        assert!(!has("::ffff:10.0.0.0/104", "11.1.2.3:1"));
        let written = ClientSet::Network("::ffff:127.0.0.2/128".parse().unwrap());
        let client: SocketAddr = "127.0.0.2:1".parse().unwrap();
        assert!(written.includes(&client.into(), None), "also if `network` has not parsed it");
    }

    #[test]
    fn a_user_or_group_includes_only_its_own_processes() {
        let unix = Address::Unix(UnixAddress::Unnamed);
        let peer = Some(PeerCredentials { uid: 7, gid: 8 });
        assert!(ClientSet::User(7).includes(&unix, peer));
        assert!(ClientSet::Group(8).includes(&unix, peer));
        for other in
            [ClientSet::User(8), ClientSet::User(0), ClientSet::Group(7), ClientSet::Group(0)]
        {
            assert!(!other.includes(&unix, peer), "{other:?}");
            assert!(!other.includes(&unix, None), "{other:?}");
        }
        assert!(!ClientSet::Network("0.0.0.0/0".parse().unwrap()).includes(&unix, peer));
    }

    /// As in CPython's `ipaddress.ip_network`, a prefix length has ASCII digits only, and may
    /// begin with zeros; the numbers of an address may not.
    #[test]
    fn a_prefix_length_may_begin_with_zeros() {
        for (text, same) in [("10.0.0.0/08", "10.0.0.0/8"), ("2001:db8::/032", "2001:db8::/32")] {
            assert_eq!(network(text).unwrap(), network(same).unwrap());
        }
        for wrong in ["10.0.0.0/+8", "10.0.0.0/ 8", "10.0.0.0/0_8", "10.0.0.0/", "010.0.0.0/8"] {
            assert!(network(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn other_texts_are_errors() {
        for wrong in ["", "localhost", "10.0.0.0/33", "10.0.0", "::/129", "10.0.0.0/-1"] {
            assert!(network(wrong).is_err(), "{wrong}");
        }
    }
}
