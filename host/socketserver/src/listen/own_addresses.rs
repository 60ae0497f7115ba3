//! The addresses that a server's own datagram sockets answer at.
//!
//! A datagram from one of them is not served: its answer would go to a socket of
//! the server, which would take it for a request, answer it, and so on for ever.
//! Anyone who can forge the address of a sender could begin that.
//!
//! Most sockets answer from the address that they are bound to. A socket on a
//! wildcard address answers from any address of this machine, with its own port.
//! So only a sender with such a port is looked at more closely, which is rare:
//!
//! - The addresses of the machine are asked for, once in a second at most. In the
//!   jail they cannot be, and are those of the start.
//! - An address that such a datagram was sent to is one of the machine's too. A
//!   socket on a wildcard address answers from there, so by the time that its answer
//!   could come back as a question, the address is known, even if it is newer.
//!
//! A Unix name is compared as it is written. That a client's name leads to a socket
//! of the server by another way (a link, a relative path) is not looked for: it would
//! take a look at a file system that may be slow and a client's. It does no harm,
//! because the answer that arrives there comes from the name that the server bound.

use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use socket2::SockRef;

use crate::address::{Address, SocketType, UnixAddress};
use crate::listen::listener::Listener;
use crate::listen::packet_info::Destination;

/// How old what is known of the machine's addresses may be.
const FRESH: Duration = Duration::from_secs(1);

/// How many addresses are remembered because a datagram came to them. A machine can
/// have whole networks as its own.
const MOST_SEEN: usize = 256;

/// The addresses that the datagram sockets of one server answer at.
#[derive(Debug)]
pub(crate) struct OwnAddresses {
    udp: Vec<Udp>,
    unix: Vec<UnixAddress>,
    machine: Mutex<Machine>,
}

/// Where one UDP socket answers from.
#[derive(Debug)]
struct Udp {
    bound: SocketAddr,
    /// From any address of this machine, as its own is a wildcard, or is not one
    /// machine's alone.
    anywhere: bool,
    /// Whether it has IPv4 clients.
    v4: bool,
}

/// The addresses of this machine.
#[derive(Debug, Default)]
struct Machine {
    addresses: HashSet<IpAddr>,
    asked: Option<Instant>,
    /// Addresses that datagrams came to, the oldest first.
    seen: VecDeque<IpAddr>,
}

impl OwnAddresses {
    /// Those of these sockets.
    pub(crate) fn new(listeners: &[Listener]) -> Self {
        let datagrams =
            listeners.iter().filter(|listener| listener.info().socket_type == SocketType::Dgram);
        let (mut udp, mut unix, mut machine) = (Vec::new(), Vec::new(), Machine::default());
        machine.refresh(Instant::now());
        for listener in datagrams {
            match &listener.info().server_address {
                Address::Unix(address) => unix.push(address.clone()),
                Address::Inet(bound) => udp.push(Udp::new((*bound).into(), true, &machine)),
                Address::Inet6(bound) => {
                    let fd = listener.as_fd();
                    let v4 = !SockRef::from(&fd).only_v6().unwrap_or(false);
                    udp.push(Udp::new((*bound).into(), v4, &machine));
                }
            }
        }
        OwnAddresses { udp, unix, machine: Mutex::new(machine) }
    }

    /// Whether a datagram that came from `sender`, and was sent to `destination`,
    /// comes from a socket of the server, for all that can be told.
    pub(crate) fn contain(&self, sender: &Address, destination: Option<Destination>) -> bool {
        let sender = match sender {
            Address::Unix(sender) => return self.unix.contains(sender),
            Address::Inet(sender) => SocketAddr::V4(*sender),
            Address::Inet6(sender) => SocketAddr::V6(*sender),
        };
        let same_port = |udp: &&Udp| udp.bound.port() == sender.port();
        self.udp.iter().filter(same_port).any(|udp| {
            udp.is_bound_to(&sender)
                || udp.is_anywhere(&sender) && self.is_here(&sender, destination)
        })
    }

    fn is_here(&self, sender: &SocketAddr, destination: Option<Destination>) -> bool {
        let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        machine.refresh(Instant::now());
        if let Some(destination) = destination.and_then(Destination::unicast) {
            machine.see(destination);
        }
        machine.has(sender.ip().to_canonical())
    }
}

impl Udp {
    fn new(bound: SocketAddr, v4: bool, machine: &Machine) -> Self {
        let ip = bound.ip().to_canonical();
        // A multicast or a broadcast address is not the machine's.
        let anywhere = ip.is_unspecified() || !machine.has(ip);
        Udp { bound, anywhere, v4 }
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

    /// Whether it can send from an address of that family.
    fn is_anywhere(&self, sender: &SocketAddr) -> bool {
        let sends =
            if sender.ip().to_canonical().is_ipv4() { self.v4 } else { self.bound.is_ipv6() };
        self.anywhere && sends
    }
}

impl Machine {
    /// Whether `address`, which is canonical, leads to this machine.
    fn has(&self, address: IpAddr) -> bool {
        // What is sent to the wildcard address arrives here, too.
        address.is_loopback() && !is_loopback_broadcast(address)
            || address.is_unspecified()
            || self.addresses.contains(&address)
            || self.seen.contains(&address)
    }

    fn see(&mut self, address: IpAddr) {
        if self.seen.contains(&address) {
            return;
        }
        if self.seen.len() == MOST_SEEN {
            self.seen.pop_front();
        }
        self.seen.push_back(address);
    }

    /// Asks the kernel if that was long ago. In the jail the kernel does not tell, and
    /// what is known stays as it is.
    fn refresh(&mut self, now: Instant) {
        if self.asked.is_some_and(|asked| now.duration_since(asked) < FRESH) {
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
        // What has come to an address may be older than its move to another machine.
        self.seen.clear();
    }
}

/// It is in the network of the loopback addresses, and no socket answers from it.
fn is_loopback_broadcast(address: IpAddr) -> bool {
    address == IpAddr::from([127, 255, 255, 255])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_datagrams_came_to_is_the_machine_s_until_it_tells_otherwise() {
        let mut machine = Machine::default();
        let new: IpAddr = [192, 0, 2, 1].into();
        let now = Instant::now();
        machine.refresh(now);
        assert!(!machine.has(new));
        machine.see(new);
        machine.refresh(now);
        assert!(machine.has(new));
        machine.refresh(now + FRESH);
        assert!(!machine.has(new), "it may have moved");
    }

    #[test]
    fn few_addresses_are_remembered() {
        let mut machine = Machine::default();
        let address =
            |number: usize| IpAddr::from(std::net::Ipv6Addr::from_bits(number as u128 + 9));
        for number in 0..=MOST_SEEN {
            machine.see(address(number));
            machine.see(address(number));
        }
        assert_eq!(machine.seen.len(), MOST_SEEN);
        assert!(!machine.has(address(0)) && machine.has(address(MOST_SEEN)));
    }

    #[test]
    fn loopback_and_the_wildcard_lead_here_and_networks_do_not() {
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
    fn a_socket_answers_from_where_it_is_bound_and_a_wildcard_from_its_families() {
        let machine = Machine::default();
        let udp = |bound: &str, v4| Udp::new(bound.parse().unwrap(), v4, &machine);
        let sender = |text: &str| text.parse::<SocketAddr>().unwrap();
        let bound = udp("127.0.0.1:5", true);
        assert!(!bound.anywhere && bound.is_bound_to(&sender("[::ffff:127.0.0.1]:5")));
        let scoped = udp("[fe80::1%2]:5", false);
        assert!(scoped.is_bound_to(&sender("[fe80::1]:5")));
        assert!(!scoped.is_bound_to(&sender("[fe80::1%3]:5")));
        let (v4, v6) = (sender("10.0.0.1:5"), sender("[2001:db8::1]:5"));
        let mapped = sender("[::ffff:10.0.0.1]:5");
        let families = |udp: &Udp| [&v4, &mapped, &v6].map(|sender| udp.is_anywhere(sender));
        assert_eq!(families(&udp("0.0.0.0:5", true)), [true, true, false]);
        assert_eq!(families(&udp("[::]:5", true)), [true, true, true]);
        assert_eq!(families(&udp("[::]:5", false)), [false, false, true]);
        assert_eq!(families(&udp("239.1.2.3:5", true)), [true, true, false]);
        assert_eq!(families(&bound), [false, false, false]);
    }
}
