//! Datagrams of UDP with a sender that is made up.

use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

/// A datagram whose sender claims to be `source`. `None` if this user may not
/// send such.
pub fn spoofed(source: SocketAddr, server: SocketAddr, data: &[u8]) -> Option<()> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP)).ok()?;
    socket.set_header_included_v4(true).unwrap();
    let [from, to] = [source, server].map(|address| match address.ip() {
        IpAddr::V4(ip) => ip.octets(),
        IpAddr::V6(_) => panic!("{address}"),
    });
    // The kernel fills in the length and the checksum: UDP, with 64 hops.
    let ip = [&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0], &from[..], &to].concat();
    let length = u16::try_from(8 + data.len()).unwrap();
    let header = [source.port(), server.port(), length, 0].map(u16::to_be_bytes).concat();
    let packet = [&ip, &header, data].concat();
    socket.send_to(&packet, &SocketAddr::new(server.ip(), 0).into()).unwrap();
    Some(())
}
