//! Datagrams with a forged sender, which only root may send.

use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

const UDP: u8 = 17;

/// Sends `data` to `to` with the sender `from`. Returns false if this user may not.
#[must_use]
pub fn forge(from: SocketAddr, to: SocketAddr, data: &[u8]) -> bool {
    let (domain, protocol, head): (_, _, fn(_, _, _) -> _) = match to {
        SocketAddr::V4(_) => (Domain::IPV4, Protocol::UDP, head_of_ipv4),
        // 255 is `IPPROTO_RAW`, which sends a whole packet.
        SocketAddr::V6(_) => (Domain::IPV6, Protocol::from(255), head_of_ipv6),
    };
    let socket = match Socket::new(domain, Type::RAW, Some(protocol)) {
        Ok(socket) => socket,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return false,
        Err(error) => panic!("{error}"),
    };
    if to.is_ipv4() {
        socket.set_header_included_v4(true).unwrap();
    }
    let datagram = datagram(from, to, data);
    let packet = [head(from.ip(), to.ip(), datagram.len()), datagram].concat();
    // A raw IPv6 socket has no port.
    let sent = socket.send_to(&packet, &SocketAddr::new(to.ip(), 0).into());
    match sent.map_err(|error| Errno::from_io_error(&error)) {
        Ok(length) => assert_eq!(length, packet.len()),
        Err(error) => panic!("{from} {to}: {error:?}"),
    }
    true
}

/// The kernel fills in the length and the checksum.
fn head_of_ipv4(from: IpAddr, to: IpAddr, _: usize) -> Vec<u8> {
    [&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, UDP, 0, 0], &octets(from)[..], &octets(to)].concat()
}

fn head_of_ipv6(from: IpAddr, to: IpAddr, length: usize) -> Vec<u8> {
    let length = u16::try_from(length).unwrap().to_be_bytes();
    [&[0x60, 0, 0, 0, length[0], length[1], UDP, 64], &octets(from)[..], &octets(to)].concat()
}

fn datagram(from: SocketAddr, to: SocketAddr, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + data.len()).unwrap();
    let head =
        |checksum: u16| [from.port(), to.port(), length, checksum].map(u16::to_be_bytes).concat();
    let pseudo = [&octets(from.ip())[..], &octets(to.ip()), &[0, UDP], &length.to_be_bytes()];
    let checked = [&pseudo.concat()[..], &head(0), data].concat();
    [&head(checksum(&checked))[..], data].concat()
}

fn checksum(data: &[u8]) -> u16 {
    let words = data
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or_default()));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    match !u16::try_from(sum).unwrap() {
        0 => 0xffff,
        sum => sum,
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
