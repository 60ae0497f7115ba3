//! The addresses that a call takes: those that the interface permits.

use std::net::{IpAddr, SocketAddr};

use socketserver::Address;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress};

use super::Outcome;

/// Returns the address of another socket, to connect or to send to.
///
/// # Errors
///
/// `invalid-argument`: it is of another family, or does not say where to.
pub(super) fn remote(
    family: IpAddressFamily,
    address: IpSocketAddress,
) -> Result<SocketAddr, ErrorCode> {
    let address = of_family(family, address)?;
    if address.ip().is_unspecified() || address.port() == 0 {
        return Err(ErrorCode::InvalidArgument);
    }
    Ok(address)
}

/// Returns an address of a family.
///
/// # Errors
///
/// `invalid-argument`: it is of another family. An IPv6 address that stands for an IPv4 address
/// is of none.
pub(super) fn of_family(
    family: IpAddressFamily,
    address: IpSocketAddress,
) -> Result<SocketAddr, ErrorCode> {
    let address = SocketAddr::from(address);
    let fits = match (family, address.ip()) {
        (IpAddressFamily::Ipv4, IpAddr::V4(_)) => true,
        (IpAddressFamily::Ipv6, IpAddr::V6(ip)) => {
            let is_compatible = matches!(ip.segments(), [0, 0, 0, 0, 0, 0, _, _]);
            let has_own_meaning = ip.is_unspecified() || ip.is_loopback();
            ip.to_ipv4_mapped().is_none() && (!is_compatible || has_own_meaning)
        }
        _ => false,
    };
    if fits { Ok(address) } else { Err(ErrorCode::InvalidArgument) }
}

/// Fails with `invalid-argument` for the address of a group of machines.
pub(super) fn check_unicast(address: SocketAddr) -> Result<(), ErrorCode> {
    let is_unicast = match address.ip() {
        IpAddr::V4(ip) => !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_multicast(),
    };
    if is_unicast { Ok(()) } else { Err(ErrorCode::InvalidArgument) }
}

/// Returns an address for a guest.
pub(super) fn to_guest(address: &Address) -> Outcome<IpSocketAddress> {
    let address = address.to_socket_addr().ok_or(ErrorCode::Unknown)?;
    Ok(address.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_of_one_family() {
        for (family, text, valid) in [
            (IpAddressFamily::Ipv4, "127.0.0.1:1", true),
            (IpAddressFamily::Ipv4, "[::1]:1", false),
            (IpAddressFamily::Ipv6, "[::1]:1", true),
            (IpAddressFamily::Ipv6, "[2001:db8::1]:1", true),
            (IpAddressFamily::Ipv6, "127.0.0.1:1", false),
            (IpAddressFamily::Ipv6, "[::ffff:127.0.0.1]:1", false),
            (IpAddressFamily::Ipv6, "[::127.0.0.1]:1", false),
            (IpAddressFamily::Ipv4, "0.0.0.0:1", false),
            (IpAddressFamily::Ipv6, "[::]:1", false),
            (IpAddressFamily::Ipv4, "127.0.0.1:0", false),
        ] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(remote(family, address.into()).is_ok(), valid, "{text}");
        }
        for (text, valid) in [
            ("224.0.0.1:1", false),
            ("255.255.255.255:1", false),
            ("[ff02::1]:1", false),
            ("0.0.0.0:0", true),
        ] {
            assert_eq!(check_unicast(text.parse().unwrap()).is_ok(), valid, "{text}");
        }
    }
}
