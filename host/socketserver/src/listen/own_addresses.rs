//! The addresses from which a server's own datagram sockets answer.
//!
//! A datagram from such an address is not served: its answer would go to a socket of
//! the server, which would take it for a request and answer it, without end.
//! An attacker who can forge the sender of a datagram could begin that.
//!
//! Most sockets answer from the address that they are bound to. A socket on a
//! wildcard address answers from any address of this machine, with its own port.
//! So only a sender with such a port is checked further, which is rare:
//!
//! - The server asks the kernel for the addresses of the machine, at most once in a
//!   second. In a jail it cannot, and uses the addresses of the start.
//! - The destination of such a datagram is an address of the machine too. A
//!   socket on a wildcard address answers from there, so the address is known before
//!   that answer can come back as a request, even if the address is new.
//!
//! A Unix name is compared as it is written. The server does not check whether the name
//! of a client leads to its own socket in another way, such as a link or a relative path:
//! that would read a file system that may be slow and belong to the client. It does no
//! harm, because the answer that arrives there comes from the name that the server
//! bound.

use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use socket2::SockRef;

use super::listener::Listener;
use super::packet_info::Destination;
use crate::address::{Address, SocketType, UnixAddress};

/// The time for which the machine's addresses stay valid.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The largest number of addresses that are remembered because a datagram came to them. A
/// machine can have whole networks as its addresses.
const MAX_DESTINATIONS: usize = 256;

/// The addresses from which the datagram sockets of one server answer.
#[derive(Debug)]
pub(crate) struct OwnAddresses {
    udp: Vec<UdpSource>,
    unix: Vec<UnixAddress>,
    machine: Mutex<Machine>,
}

/// The addresses from which one UDP socket answers.
#[derive(Debug)]
struct UdpSource {
    bound: SocketAddr,
    /// Set if it answers from any address of this machine, because its own is a wildcard,
    /// or is shared with other machines.
    anywhere: bool,
    /// Set if it has IPv4 clients.
    has_v4: bool,
}

/// The addresses of this machine.
#[derive(Debug, Default)]
struct Machine {
    addresses: HashSet<IpAddr>,
    /// The time at which the kernel was last asked.
    asked: Option<Instant>,
    /// Addresses that datagrams came to, the oldest first.
    destinations: VecDeque<IpAddr>,
}

impl OwnAddresses {
    /// Returns the addresses of these sockets.
    pub(crate) fn new(listeners: &[Listener]) -> Self {
        let datagrams =
            listeners.iter().filter(|listener| listener.info().socket_type == SocketType::Dgram);
        let (mut udp, mut unix, mut machine) = (Vec::new(), Vec::new(), Machine::default());
        machine.refresh(Instant::now());
        for listener in datagrams {
            match &listener.info().server_address {
                Address::Unix(address) => unix.push(address.clone()),
                Address::Inet(bound) => udp.push(UdpSource::new((*bound).into(), true, &machine)),
                Address::Inet6(bound) => {
                    let fd = listener.as_fd();
                    let v4 = !SockRef::from(&fd).only_v6().unwrap_or(false);
                    udp.push(UdpSource::new((*bound).into(), v4, &machine));
                }
            }
        }
        OwnAddresses { udp, unix, machine: Mutex::new(machine) }
    }

    /// Returns true if a datagram from `sender` to `destination` comes from a socket of the
    /// server, as far as that can be known.
    pub(crate) fn contain(&self, sender: &Address, destination: Option<Destination>) -> bool {
        let sender = match sender {
            Address::Unix(sender) => return self.unix.contains(sender),
            Address::Inet(sender) => SocketAddr::V4(*sender),
            Address::Inet6(sender) => SocketAddr::V6(*sender),
        };
        let same_port = |udp: &&UdpSource| udp.bound.port() == sender.port();
        self.udp.iter().filter(same_port).any(|udp| {
            udp.is_bound_to(&sender)
                || udp.can_send_from_family_of(&sender)
                    && self.is_of_this_machine(&sender, destination)
        })
    }

    fn is_of_this_machine(&self, sender: &SocketAddr, destination: Option<Destination>) -> bool {
        let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        machine.refresh(Instant::now());
        if let Some(destination) = destination.and_then(Destination::unicast) {
            machine.remember(destination);
        }
        machine.has(sender.ip().to_canonical())
    }
}

impl UdpSource {
    fn new(bound: SocketAddr, has_v4: bool, machine: &Machine) -> Self {
        let ip = bound.ip().to_canonical();
        // A multicast or broadcast address is not an address of the machine.
        let anywhere = ip.is_unspecified() || !machine.has(ip);
        UdpSource { bound, anywhere, has_v4 }
    }

    fn is_bound_to(&self, sender: &SocketAddr) -> bool {
        let scope = |address: &SocketAddr| match address {
            SocketAddr::V6(address) if address.scope_id() != 0 => Some(address.scope_id()),
            _ => None,
        };
        let other_scope =
            scope(&self.bound).zip(scope(sender)).is_some_and(|(mine, theirs)| mine != theirs);
        !other_scope && self.bound.ip().to_canonical() == sender.ip().to_canonical()
    }

    /// Returns true if the socket can send from several addresses, also of that family.
    fn can_send_from_family_of(&self, sender: &SocketAddr) -> bool {
        let sends =
            if sender.ip().to_canonical().is_ipv4() { self.has_v4 } else { self.bound.is_ipv6() };
        self.anywhere && sends
    }
}

impl Machine {
    /// Returns true if `address`, which is canonical, leads to this machine.
    fn has(&self, address: IpAddr) -> bool {
        // A datagram to the wildcard address arrives here, too.
        address.is_loopback() && !is_loopback_broadcast(address)
            || address.is_unspecified()
            || self.addresses.contains(&address)
            || self.destinations.contains(&address)
    }

    fn remember(&mut self, address: IpAddr) {
        if self.destinations.contains(&address) {
            return;
        }
        if self.destinations.len() == MAX_DESTINATIONS {
            self.destinations.pop_front();
        }
        self.destinations.push_back(address);
    }

    /// Asks the kernel for the addresses again if they are too old. In a jail the kernel
    /// refuses, and the known addresses stay.
    fn refresh(&mut self, now: Instant) {
        if self.asked.is_some_and(|asked| now.duration_since(asked) < MAX_AGE) {
            return;
        }
        self.asked = Some(now);
        let Ok(interfaces) = getifaddrs() else { return };
        let addresses = interfaces.filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        });
        self.addresses = addresses.collect();
        // An address may have moved to another machine since a datagram came to it.
        self.destinations.clear();
    }
}

/// Returns true for the broadcast address of the loopback network, from which no socket
/// answers.
fn is_loopback_broadcast(address: IpAddr) -> bool {
    address == IpAddr::from([127, 255, 255, 255])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_an_address_of_the_machine_until_the_next_refresh() {
        let mut machine = Machine::default();
        let new: IpAddr = [192, 0, 2, 1].into();
        let now = Instant::now();
        machine.refresh(now);
        assert!(!machine.has(new));
        machine.remember(new);
        machine.refresh(now);
        assert!(machine.has(new));
        machine.refresh(now + MAX_AGE);
        assert!(!machine.has(new), "it may have moved");
    }

    #[test]
    fn the_number_of_remembered_destinations_is_bounded() {
        let mut machine = Machine::default();
        let address =
            |number: usize| IpAddr::from(std::net::Ipv6Addr::from_bits(number as u128 + 9));
        for number in 0..=MAX_DESTINATIONS {
            machine.remember(address(number));
            machine.remember(address(number));
        }
        assert_eq!(machine.destinations.len(), MAX_DESTINATIONS);
        assert!(!machine.has(address(0)) && machine.has(address(MAX_DESTINATIONS)));
    }

    #[test]
    fn loopback_and_wildcard_addresses_lead_here_and_broadcasts_do_not() {
        let machine = Machine::default();
        for (address, is_here) in [
            ("127.0.0.1", true),
            ("127.200.3.4", true),
            ("::1", true),
            ("0.0.0.0", true),
            ("::", true),
            ("127.255.255.255", false),
            ("255.255.255.255", false),
            ("224.0.0.1", false),
            ("ff02::1", false),
            ("192.0.2.1", false),
        ] {
            assert_eq!(machine.has(address.parse().unwrap()), is_here, "{address}");
        }
    }

    #[test]
    fn a_bound_socket_answers_from_its_address_and_a_wildcard_from_its_families() {
        let machine = Machine::default();
        let udp = |bound: &str, v4| UdpSource::new(bound.parse().unwrap(), v4, &machine);
        let sender = |text: &str| text.parse::<SocketAddr>().unwrap();
        let bound = udp("127.0.0.1:5", true);
        assert!(!bound.anywhere && bound.is_bound_to(&sender("[::ffff:127.0.0.1]:5")));
        let scoped = udp("[fe80::1%2]:5", false);
        assert!(scoped.is_bound_to(&sender("[fe80::1]:5")));
        assert!(!scoped.is_bound_to(&sender("[fe80::1%3]:5")));
        let (v4, v6) = (sender("10.0.0.1:5"), sender("[2001:db8::1]:5"));
        let mapped = sender("[::ffff:10.0.0.1]:5");
        let families =
            |udp: &UdpSource| [&v4, &mapped, &v6].map(|sender| udp.can_send_from_family_of(sender));
        assert_eq!(families(&udp("0.0.0.0:5", true)), [true, true, false]);
        assert_eq!(families(&udp("[::]:5", true)), [true, true, true]);
        assert_eq!(families(&udp("[::]:5", false)), [false, false, true]);
        assert_eq!(families(&udp("239.1.2.3:5", true)), [true, true, false]);
        assert_eq!(families(&bound), [false, false, false]);
    }
}
