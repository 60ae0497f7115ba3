//! UDP datagrams with a forged source address.

use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

/// Sends a datagram with the source address `source` to `server`. Returns `None` if this user
/// may not forge addresses.
pub fn send_spoofed(source: SocketAddr, server: SocketAddr, data: &[u8]) -> Option<()> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP)).ok()?;
    socket.set_header_included_v4(true).unwrap();
    let [from, to] = [source, server].map(|address| match address.ip() {
        IpAddr::V4(ip) => ip.octets(),
        IpAddr::V6(_) => panic!("{address}"),
    });
    // An IPv4 header for UDP with 64 hops. The kernel fills in the length and the checksum.
    let ip = [&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0], &from[..], &to].concat();
    let length = u16::try_from(8 + data.len()).unwrap();
    let header = [source.port(), server.port(), length, 0].map(u16::to_be_bytes).concat();
    let packet = [&ip, &header, data].concat();
    socket.send_to(&packet, &SocketAddr::new(server.ip(), 0).into()).unwrap();
    Some(())
}
