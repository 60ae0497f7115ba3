//! The sources that limits count by.

use std::net::{IpAddr, Ipv4Addr};

use super::client_set::ip;
use crate::address::Address;
use crate::request::credentials::PeerCredentials;

/// The source that a request counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Source {
    V4(Ipv4Addr),
    /// The first half of the address: the owner of one address mostly has all 2^64
    /// addresses with the same first half.
    V6(u64),
    /// The user of a Unix client.
    User(u32),
}

impl Source {
    /// Returns the source of a client; `None` for a Unix client whose user is not known.
    pub(super) fn of_client(client: &Address, peer: Option<PeerCredentials>) -> Option<Source> {
        Some(match ip(client) {
            Some(IpAddr::V4(ip)) => Source::V4(ip),
            Some(IpAddr::V6(ip)) => Source::V6((ip.to_bits() >> 64) as u64),
            None => Source::User(peer?.uid),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::address::UnixAddress;

    fn source(client: &str) -> Source {
        Source::of_client(&client.parse::<SocketAddr>().unwrap().into(), None).unwrap()
    }

    #[test]
    fn an_ipv4_address_is_a_source_also_on_an_ipv6_socket() {
        assert_eq!(source("192.0.2.1:1"), source("192.0.2.1:2"));
        assert_eq!(source("192.0.2.1:1"), source("[::ffff:192.0.2.1]:3"));
        assert_ne!(source("192.0.2.1:1"), source("192.0.2.2:1"));
        assert_ne!(source("[::ffff:192.0.2.1]:1"), source("[::ffff:192.0.2.2]:1"));
    }

    #[test]
    fn the_first_half_of_an_ipv6_address_is_a_source() {
        assert_eq!(source("[2001:db8:1:2::1]:1"), source("[2001:db8:1:2:ffff::2]:1"));
        assert_ne!(source("[2001:db8:1:2::1]:1"), source("[2001:db8:1:3::1]:1"));
    }

    #[test]
    fn a_user_is_a_source_for_all_names_of_its_sockets() {
        let named = Address::Unix(UnixAddress::Abstract(b"a".to_vec()));
        let unnamed = Address::Unix(UnixAddress::Unnamed);
        let peer = |uid, gid| Some(PeerCredentials { uid, gid });
        assert_eq!(Source::of_client(&named, peer(1, 2)), Source::of_client(&unnamed, peer(1, 3)));
        assert_ne!(Source::of_client(&named, peer(1, 2)), Source::of_client(&named, peer(2, 2)));
        assert_eq!(Source::of_client(&named, None), None);
    }
}
