//! Clients at whose address a datagram cannot be answered.

use std::io;

use rustix::io::Errno;
use socketserver::{Address, Reason};

/// Returns the reason if sending to `client` failed because of that client. The client's
/// Unix socket no longer exists, has no name, has a name that is too long or that by now
/// leads to something else, or does not let the host write to it. Or the client claims an
/// address to which no route leads, a broadcast address, port 0, or an address that a socket
/// of the loopback interface cannot reach (`EINVAL`).
pub(crate) fn unreachable_client(client: &Address, error: &io::Error) -> Option<Reason> {
    let errno = Errno::from_io_error(error)?;
    match client {
        Address::Inet(_) | Address::Inet6(_) => match errno {
            Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::ACCESS | Errno::INVAL => {
                Some(Reason::NoAddress)
            }
            _ => None,
        },
        Address::Unix(_) => match errno {
            Errno::CONNREFUSED
            | Errno::NOENT
            | Errno::NOTDIR
            | Errno::LOOP
            | Errno::PROTOTYPE
            | Errno::ACCESS
            | Errno::PERM => Some(Reason::ConnectionLost),
            Errno::DESTADDRREQ | Errno::NAMETOOLONG => Some(Reason::NoAddress),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use super::*;

    #[test]
    fn the_errors_of_an_unreachable_unix_client_are_no_errors_of_a_udp_client() {
        use socketserver::UnixAddress;
        let unix = Address::Unix(UnixAddress::Pathname("/client".into()));
        let udp = Address::from(std::net::SocketAddr::from(([127, 0, 0, 1], 1)));
        for (errno, reason) in [
            (Errno::CONNREFUSED, Some(Reason::ConnectionLost)),
            (Errno::NOENT, Some(Reason::ConnectionLost)),
            (Errno::PROTOTYPE, Some(Reason::ConnectionLost)),
            (Errno::LOOP, Some(Reason::ConnectionLost)),
            (Errno::NOTDIR, Some(Reason::ConnectionLost)),
            (Errno::DESTADDRREQ, Some(Reason::NoAddress)),
            (Errno::NAMETOOLONG, Some(Reason::NoAddress)),
            (Errno::MSGSIZE, None),
            (Errno::NOBUFS, None),
            (Errno::BADF, None),
        ] {
            assert_eq!(unreachable_client(&unix, &errno.into()), reason, "{errno}");
            assert_eq!(unreachable_client(&udp, &errno.into()), None, "{errno}");
        }
        assert_eq!(unreachable_client(&unix, &Errno::ACCESS.into()), Some(Reason::ConnectionLost));
    }

    #[test]
    fn a_client_at_an_invalid_address_has_no_address() {
        for host in [IpAddr::from([127, 0, 0, 1]), Ipv6Addr::LOCALHOST.into()] {
            let client = |port| Address::from(std::net::SocketAddr::from((host, port)));
            let (invalid, large) = (io::Error::from(Errno::INVAL), Errno::MSGSIZE.into());
            assert_eq!(unreachable_client(&client(0), &invalid), Some(Reason::NoAddress));
            assert_eq!(unreachable_client(&client(0), &large), None);
            // A socket of the loopback interface cannot send to another network.
            assert_eq!(unreachable_client(&client(1), &invalid), Some(Reason::NoAddress));
        }
    }

    #[test]
    fn a_client_without_a_route_has_no_address() {
        let client = Address::from(std::net::SocketAddr::from(([192, 0, 2, 1], 1)));
        for errno in [Errno::NETUNREACH, Errno::HOSTUNREACH, Errno::ACCESS] {
            assert_eq!(
                unreachable_client(&client, &errno.into()),
                Some(Reason::NoAddress),
                "{errno}"
            );
        }
    }
}
