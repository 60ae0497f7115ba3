//! `--allow` and `--deny`: a network includes exactly its own addresses, and IPv4 addresses in
//! both forms.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use libfuzzer_sys::fuzz_target;
use socketserver::{Address, PeerCredentials};
use socketserver_fuzz::check_message;

use crate::client_set::{ClientSet, network};

#[path = "../../../host/socketserver/src/access/client_set.rs"]
#[allow(dead_code, reason = "it is about users and groups, too")]
mod client_set;

fuzz_target!(|text: &str| {
    let parsed = match network(text) {
        Ok(parsed) => parsed,
        Err(error) => return check_message(error),
    };
    assert_eq!(network(&parsed.to_string()), Ok(parsed), "{parsed}");
    match parsed {
        IpNet::V4(v4) => {
            let (first, last) = (v4.network().to_bits(), v4.broadcast().to_bits());
            assert_eq!(u64::from(last - first), (1 << (32 - v4.prefix_len())) - 1);
            let mapped = format!("{}/{}", v4.addr().to_ipv6_mapped(), v4.prefix_len() + 96);
            assert_eq!(network(&mapped), Ok(parsed));
            let at = |bits| Ipv4Addr::from_bits(bits);
            check(parsed, at(first), true);
            check(parsed, at(last), true);
            first.checked_sub(1).into_iter().for_each(|bits| check(parsed, at(bits), false));
            last.checked_add(1).into_iter().for_each(|bits| check(parsed, at(bits), false));
        }
        IpNet::V6(v6) => {
            let (first, last) = (v6.network().to_bits(), v6.broadcast().to_bits());
            let at = |bits| Ipv6Addr::from_bits(bits);
            let has = |ip: Ipv6Addr| is_in(parsed, &SocketAddr::new(ip.into(), 1).into());
            let is_v4 = |ip: Ipv6Addr| ip.to_ipv4_mapped().is_some();
            assert_eq!(has(at(first)), !is_v4(at(first)), "{parsed}");
            assert_eq!(has(at(last)), !is_v4(at(last)), "{parsed}");
            assert!(!first.checked_sub(1).is_some_and(|bits| has(at(bits))), "{parsed}");
            assert!(!last.checked_add(1).is_some_and(|bits| has(at(bits))), "{parsed}");
        }
    }
});

/// Checks whether a client is in the network, with an IPv4 socket and with an IPv6 socket.
fn check(network: IpNet, client: Ipv4Addr, expected: bool) {
    for ip in [IpAddr::V4(client), IpAddr::V6(client.to_ipv6_mapped())] {
        let client = SocketAddr::new(ip, 1).into();
        assert_eq!(is_in(network, &client), expected, "{network} {ip}");
    }
}

fn is_in(network: IpNet, client: &Address) -> bool {
    ClientSet::Network(network).includes(client, None)
}
