//! The rules about sockets that handlers open, beside the grammar of grants. The host checks
//! them for a guest, and the broker checks them again for a process in the jail.

use std::net::IpAddr;

use rustix::io::Errno;
use socket2::{Domain, Type};
use socketserver::Address;

use crate::network_grants::{HostName, NetworkGrants, Protocol};

/// The numbers of protocols that the kernel takes for TCP and UDP.
const IPPROTO_TCP: i32 = 6;
const IPPROTO_UDP: i32 = 17;

/// The number of addresses that one request remembers of its lookups. Those of earlier lookups
/// are forgotten beyond it.
const MAX_RESOLVED: usize = 256;

impl Protocol {
    /// Returns the kind of a socket that is to be opened. Sockets of kinds for which there is
    /// no grant do not exist for a handler.
    ///
    /// # Errors
    ///
    /// `EPROTONOSUPPORT` for such a socket.
    pub(crate) fn of_new_socket(
        domain: Domain,
        kind: Type,
        protocol: i32,
    ) -> Result<Protocol, Errno> {
        let is_unix = domain == Domain::UNIX;
        if !is_unix && domain != Domain::IPV4 && domain != Domain::IPV6 {
            return Err(Errno::PROTONOSUPPORT);
        }
        match (kind, protocol) {
            (Type::STREAM | Type::DGRAM | Type::SEQPACKET, 0) if is_unix => Ok(Protocol::Unix),
            _ if is_unix => Err(Errno::PROTONOSUPPORT),
            (Type::STREAM, 0 | IPPROTO_TCP) => Ok(Protocol::Tcp),
            (Type::DGRAM, 0 | IPPROTO_UDP) => Ok(Protocol::Udp),
            (Type::RAW, _) => Ok(Protocol::Raw),
            _ => Err(Errno::PROTONOSUPPORT),
        }
    }

    /// Returns the kind of a socket that is open.
    pub(crate) fn of_socket(domain: Domain, kind: Type) -> Protocol {
        match kind {
            _ if domain == Domain::UNIX => Protocol::Unix,
            Type::STREAM => Protocol::Tcp,
            Type::DGRAM => Protocol::Udp,
            _ => Protocol::Raw,
        }
    }
}

/// The addresses to which granted names have led, for one request.
#[derive(Debug, Default)]
pub(crate) struct Resolved(Vec<(HostName, IpAddr)>);

impl Resolved {
    /// Remembers that a granted name has led to an address.
    pub(crate) fn remember(&mut self, name: &HostName, ip: IpAddr) {
        let resolved = (name.clone(), ip.to_canonical());
        if self.0.contains(&resolved) {
            return;
        }
        if self.0.len() >= MAX_RESOLVED {
            self.0.remove(0);
        }
        self.0.push(resolved);
    }

    /// Returns true if the request may connect or send to `address`.
    pub(crate) fn may_connect(
        &self,
        grants: &NetworkGrants,
        protocol: Protocol,
        address: &Address,
    ) -> bool {
        grants.may_connect(protocol, address, |name, ip| {
            self.0.iter().any(|(known, to)| known == name && *to == ip)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_sockets_without_a_grant_do_not_exist() {
        let unknown = Err(Errno::PROTONOSUPPORT);
        for (domain, kind, protocol, expected) in [
            (Domain::IPV4, Type::STREAM, 0, Ok(Protocol::Tcp)),
            (Domain::IPV6, Type::STREAM, 6, Ok(Protocol::Tcp)),
            (Domain::IPV4, Type::STREAM, 132, unknown),
            (Domain::IPV6, Type::DGRAM, 17, Ok(Protocol::Udp)),
            (Domain::IPV4, Type::DGRAM, 1, unknown),
            (Domain::IPV4, Type::RAW, 1, Ok(Protocol::Raw)),
            (Domain::IPV4, Type::SEQPACKET, 0, unknown),
            (Domain::UNIX, Type::SEQPACKET, 0, Ok(Protocol::Unix)),
            (Domain::UNIX, Type::STREAM, 6, unknown),
            (Domain::UNIX, Type::from(4), 0, unknown),
            (Domain::UNIX, Type::RAW, 0, unknown),
            // AF_NETLINK and AF_PACKET.
            (Domain::from(16), Type::RAW, 0, unknown),
            (Domain::PACKET, Type::RAW, 0, unknown),
        ] {
            let found = Protocol::of_new_socket(domain, kind, protocol);
            assert_eq!(found, expected, "{domain:?} {kind:?} {protocol}");
        }
    }

    #[test]
    fn a_port_that_the_kernel_chose_is_that_of_port_0() {
        let listen = vec!["tcp://127.0.0.1:0".parse().unwrap()];
        let grants = NetworkGrants { listen, ..NetworkGrants::default() };
        let bound = "127.0.0.1:4000".parse::<std::net::SocketAddr>().unwrap().into();
        assert!(grants.may_listen_with(Protocol::Tcp, &bound, true));
        assert!(!grants.may_listen_with(Protocol::Tcp, &bound, false));
        assert!(!grants.may_listen_with(Protocol::Udp, &bound, true));
    }

    #[test]
    fn a_request_remembers_so_many_addresses_and_no_more() {
        let name: HostName = "db.example".parse().unwrap();
        let connect = vec!["tcp://db.example:1".parse().unwrap()];
        let grants = NetworkGrants { connect, ..NetworkGrants::default() };
        let address = |last: u8| std::net::SocketAddr::from(([8, 8, 8, last], 1));
        let mut resolved = Resolved::default();
        let may = |resolved: &Resolved, last| {
            resolved.may_connect(&grants, Protocol::Tcp, &address(last).into())
        };
        assert!(!may(&resolved, 1));
        resolved.remember(&name, address(1).ip());
        resolved.remember(&name, address(1).ip());
        assert!(may(&resolved, 1));
        for other in 0..MAX_RESOLVED {
            let [high, low] = u16::try_from(other).unwrap().to_be_bytes();
            resolved.remember(&name, [9, 9, high, low].into());
        }
        assert!(!may(&resolved, 1));
        assert_eq!(resolved.0.len(), MAX_RESOLVED);
    }
}
