//! The destination of a datagram, for sockets with several addresses, so that the answer
//! leaves from there: `IP_PKTINFO` of `ip(7)`, `IPV6_RECVPKTINFO` of `ipv6(7)`.
//! A client that waits for an answer from the address that it asked accepts no other.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
    sockopt,
};

use rustix::io::Errno;

use crate::address::AddressFamily;

/// The address of this machine that a datagram was sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    /// The address of an IPv4 socket. If the datagram went to several machines, it is the
    /// address from which the kernel would answer.
    V4(Ipv4Addr),
    /// The address of an IPv6 socket, and the interface that received the datagram.
    V6(Ipv6Addr, u32),
}

impl Destination {
    /// Returns the address if only one machine has it. It is an IPv4 address also if an
    /// IPv6 socket received the datagram.
    pub(crate) fn unicast(self) -> Option<IpAddr> {
        let address = match self {
            Destination::V4(address) => address.into(),
            Destination::V6(address, _) => IpAddr::V6(address).to_canonical(),
        };
        let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
        let several = address.is_multicast() || is_broadcast || address.is_unspecified();
        (!several).then_some(address)
    }

    fn from_control_message(message: &ControlMessageOwned) -> Option<Self> {
        match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                let address = Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr));
                Some(Destination::V4(address))
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                Some(Destination::V6(info.ipi6_addr.s6_addr.into(), info.ipi6_ifindex))
            }
            _ => None,
        }
    }
}

/// Makes the kernel report the destination of each datagram of a socket.
pub(crate) fn enable(socket: &impl AsFd, family: AddressFamily) -> io::Result<()> {
    match family {
        AddressFamily::Inet => setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?,
        AddressFamily::Inet6 => setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?,
        AddressFamily::Unix => {}
    }
    Ok(())
}

/// Receives a datagram of at most `max_length` bytes into `data`, from a socket that is
/// [enabled](enable). Returns its sender and its destination.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    data: &mut Vec<u8>,
    max_length: usize,
) -> io::Result<(SocketAddr, Option<Destination>)> {
    data.resize(max_length, 0);
    let mut control = cmsg_space!(libc::in6_pktinfo, libc::in_pktinfo);
    let mut buffer = [IoSliceMut::new(data)];
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut buffer,
        Some(&mut control),
        MsgFlags::empty(),
    )?;
    let destination =
        message.cmsgs()?.find_map(|message| Destination::from_control_message(&message));
    let sender = message.address.and_then(to_std).ok_or(io::ErrorKind::InvalidData)?;
    let received = message.bytes;
    data.truncate(received);
    Ok((sender, destination))
}

/// Returns true if the kernel may still send with a source address of its own choice. The
/// destination of the request may not be an address of this machine any more, or may be a
/// broadcast address; and in the jail of a server with Unix sockets no source can be
/// named.
pub(crate) fn needs_another_source(error: Errno) -> bool {
    matches!(error, Errno::INVAL | Errno::ADDRNOTAVAIL | Errno::NETUNREACH | Errno::PERM)
}

/// Sends a datagram from the destination of another one.
///
/// # Errors
///
/// The errors of `sendmsg(2)`, see [`needs_another_source`].
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    data: &[u8],
    to: SocketAddr,
    from: Destination,
) -> rustix::io::Result<usize> {
    let (v4, v6);
    let info = match from {
        Destination::V4(address) => {
            v4 = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from(address).to_be() },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            ControlMessage::Ipv4PacketInfo(&v4)
        }
        Destination::V6(address, interface) => {
            v6 = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: address.octets() },
                // For other addresses, the route to the client decides.
                ipi6_ifindex: if address.is_unicast_link_local() { interface } else { 0 },
            };
            ControlMessage::Ipv6PacketInfo(&v6)
        }
    };
    let to = SockaddrStorage::from(to);
    let sent = sendmsg(
        socket.as_raw_fd(),
        &[IoSlice::new(data)],
        &[info],
        MsgFlags::MSG_DONTWAIT,
        Some(&to),
    );
    sent.map_err(|error| Errno::from_raw_os_error(error as i32))
}

fn to_std(address: SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddrV4::from(*v4).into());
    }
    address.as_sockaddr_in6().map(|v6| SocketAddrV6::from(*v6).into())
}
