//! Who may be served.

use std::net::IpAddr;

use ipnet::IpNet;
use socketserver::Address;

/// Parses a network such as `10.0.0.0/8`, or one address.
pub fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let network = network.map_err(|_| "write a network such as 10.0.0.0/8, or an address")?;
    Ok(canonical(network))
}

/// An IPv4 network that is written as one of IPv6 is that of IPv4.
fn canonical(network: IpNet) -> IpNet {
    const MAPPED: u8 = 96;
    if let IpNet::V6(v6) = network
        && v6.prefix_len() >= MAPPED
        && let Some(v4) = v6.addr().to_ipv4_mapped()
        && let Ok(v4) = ipnet::Ipv4Net::new(v4, v6.prefix_len() - MAPPED)
    {
        return IpNet::V4(v4);
    }
    network
}

/// Whether a client is in one of these networks. IPv4 clients of an IPv6 socket
/// are IPv4 clients. Unix sockets are in no network.
pub fn is_in(networks: &[IpNet], client: &Address) -> bool {
    let ip = match client {
        Address::Inet(client) => IpAddr::V4(*client.ip()),
        Address::Inet6(client) => client.ip().to_canonical(),
        Address::Unix(_) => return false,
    };
    networks.iter().any(|network| network.contains(&ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denies(network_: &str, client: &str) -> bool {
        let client: std::net::SocketAddr = client.parse().unwrap();
        is_in(&[network(network_).unwrap()], &client.into())
    }

    #[test]
    fn a_network_is_what_it_says_and_nothing_next_to_it() {
        assert!(denies("127.0.0.2", "127.0.0.2:1"));
        assert!(!denies("127.0.0.2", "127.0.0.1:1"));
        assert!(!denies("127.0.0.2", "127.0.0.3:1"));
        assert!(denies("10.0.0.0/8", "10.255.255.255:1"));
        assert!(!denies("10.0.0.0/8", "11.0.0.0:1"));
        assert!(denies("2001:db8::/32", "[2001:db8::1]:1"));
        assert!(!denies("2001:db8::/32", "[2001:db9::1]:1"));
        assert!(denies("0.0.0.0/0", "8.8.8.8:1"));
        assert!(!denies("0.0.0.0/0", "[2001:db8::1]:1"));
    }

    #[test]
    fn ipv4_in_ipv6_is_ipv4() {
        assert!(denies("127.0.0.2", "[::ffff:127.0.0.2]:1"));
        assert!(denies("::ffff:127.0.0.2", "127.0.0.2:1"));
        assert!(denies("::ffff:10.0.0.0/104", "10.1.2.3:1"));
        assert!(!denies("::ffff:10.0.0.0/104", "11.1.2.3:1"));
    }

    #[test]
    fn mistakes() {
        for wrong in ["", "localhost", "10.0.0.0/33", "10.0.0", "::/129", "10.0.0.0/-1"] {
            assert!(network(wrong).is_err(), "{wrong}");
        }
    }
}
