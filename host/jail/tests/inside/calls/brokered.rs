//! Native code uses the sockets that it got from a broker.

use std::mem;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::ptr;

use super::super::{Setup, result};
use super::{Done, call};

const INET: i32 = libc::AF_INET;

fn udp() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

/// Returns an address of IPv4 as the kernel has it.
fn address_of(socket: &UdpSocket) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: 2,
        sin_port: socket.local_addr().unwrap().port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    }
}

/// Returns a message of one byte to `address`.
fn message_to(address: &mut libc::sockaddr_in, part: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: an empty message is all zeros.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_name = ptr::from_mut(address).cast();
    message.msg_namelen = 16;
    (message.msg_iov, message.msg_iovlen) = (part, 1);
    message
}

fn part(byte: &mut [u8; 1]) -> libc::iovec {
    libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 }
}

pub fn socketpair(setup: Setup) -> Done {
    let mut pair = [0; 2];
    setup.enter();
    call!(SYS_socketpair, libc::AF_UNIX, libc::SOCK_DGRAM, 0, pair.as_mut_ptr()).map(drop)
}

pub fn send_a_message_to_an_address(setup: Setup) -> Done {
    let (socket, other, mut byte) = (udp(), udp(), [1]);
    let (mut to, mut part) = (address_of(&other), part(&mut byte));
    setup.enter();
    let message = message_to(&mut to, &mut part);
    call!(SYS_sendmsg, socket.as_raw_fd(), &raw const message, 0).map(drop)
}

pub fn send_messages_to_an_address(setup: Setup) -> Done {
    let (socket, other, mut byte) = (udp(), udp(), [1]);
    let (mut to, mut part) = (address_of(&other), part(&mut byte));
    setup.enter();
    let msg_hdr = message_to(&mut to, &mut part);
    let mut several = libc::mmsghdr { msg_hdr, msg_len: 0 };
    call!(SYS_sendmmsg, socket.as_raw_fd(), &raw mut several, 1, 0).map(drop)
}

/// Leaves out the address on a socket that has none.
pub fn send_to_no_address(setup: Setup) -> Done {
    let socket = udp();
    setup.enter();
    socket.send(b"x").map(drop).map_err(|error| error.raw_os_error().unwrap())
}

/// Connects a socket anew that is connected to a granted address.
pub fn connect_elsewhere(setup: Setup) -> Done {
    let (socket, granted, other) = (udp(), udp(), udp());
    socket.connect(granted.local_addr().unwrap()).unwrap();
    let to = address_of(&other);
    setup.enter();
    call!(SYS_connect, socket.as_raw_fd(), &raw const to, 16).map(drop)
}

/// Dissolves the connection of a datagram socket, which can then send anywhere.
pub fn disconnect(setup: Setup) -> Done {
    let (socket, granted) = (udp(), udp());
    socket.connect(granted.local_addr().unwrap()).unwrap();
    let nowhere = [0_u16; 8];
    setup.enter();
    call!(SYS_connect, socket.as_raw_fd(), nowhere.as_ptr(), 16).map(drop)
}

/// Opens a connection and sends at once: `MSG_FASTOPEN`.
pub fn open_fast(setup: Setup) -> Done {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let to = libc::sockaddr_in { sin_port: port.to_be(), ..address_of(&udp()) };
    let socket = call!(SYS_socket, INET, libc::SOCK_STREAM, 0).unwrap();
    setup.enter();
    let flags = libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL;
    call!(SYS_sendto, socket, b"x".as_ptr(), 1, flags, &raw const to, 16).map(drop)
}

fn set_option(setup: Setup, level: i32, option: i32, value: &[u8]) -> Done {
    let socket = udp();
    setup.enter();
    let (value, length) = (value.as_ptr(), value.len());
    call!(SYS_setsockopt, socket.as_raw_fd(), level, option, value, length).map(drop)
}

/// Routes packets by another host than the granted one: a loose source route.
pub fn route_by_another_host(setup: Setup) -> Done {
    set_option(setup, libc::IPPROTO_IP, libc::IP_OPTIONS, &[131, 7, 4, 127, 0, 0, 2, 0])
}

pub fn bind_to_a_device(setup: Setup) -> Done {
    set_option(setup, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, b"lo\0")
}

/// Takes the port of a socket that others opened in the same way.
pub fn share_a_port(setup: Setup) -> Done {
    set_option(setup, libc::SOL_SOCKET, libc::SO_REUSEPORT, &1_i32.to_ne_bytes())
}

/// Takes what is sent to a group: the group 224.0.0.251 at the interface of 127.0.0.1.
pub fn join_a_group(setup: Setup) -> Done {
    let group = [224, 0, 0, 251, 127, 0, 0, 1];
    set_option(setup, libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, &group)
}

/// Passes a descriptor to an accomplice by a Unix socket that a broker has connected.
pub fn pass_a_descriptor_on(setup: Setup) -> Done {
    let (one, _accomplice) = UnixStream::pair().unwrap();
    let (mut byte, mut address) = ([1], address_of(&udp()));
    let mut part = part(&mut byte);
    setup.enter();
    let mut message = message_to(&mut address, &mut part);
    (message.msg_name, message.msg_namelen) = (ptr::null_mut(), 0);
    call!(SYS_sendmsg, one.as_raw_fd(), &raw const message, 0).map(drop)
}

pub fn send_to_a_path_by_a_datagram(setup: Setup) -> Done {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("beside");
    let _beside = UnixDatagram::bind(&path).unwrap();
    let (one, _other) = UnixDatagram::pair().unwrap();
    setup.enter();
    one.send_to(b"x", &path).map(drop).map_err(|error| error.raw_os_error().unwrap())
}

/// Receives a socket in a message, as from a broker.
pub fn receive_a_socket_and_talk(setup: Setup) -> Done {
    let (own, broker) = UnixStream::pair().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let passed = TcpStream::connect(address).unwrap();
    let (mut byte, mut control) = ([1_u8], [0_u64; 3]);
    let mut part = part(&mut byte);
    // SAFETY: an empty message is all zeros.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: the message has room for one descriptor, and the descriptor is open.
    unsafe {
        message.msg_controllen = libc::CMSG_SPACE(4) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as _;
        libc::CMSG_DATA(header).cast::<i32>().write_unaligned(passed.as_raw_fd());
        assert_eq!(libc::sendmsg(broker.as_raw_fd(), &raw const message, 0), 1);
    }
    let (upstream, _) = listener.accept().unwrap();
    setup.enter_keeping(&[own.as_raw_fd(), listener.as_raw_fd(), upstream.as_raw_fd()]);
    call!(SYS_recvmsg, own.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC)?;
    assert_eq!(message.msg_flags & libc::MSG_CTRUNC, 0);
    // SAFETY: the message has one descriptor, which is new.
    let socket = unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<i32>().read_unaligned())
    };
    let socket = TcpStream::from(socket);
    socket.set_nodelay(true).map_err(|error| error.raw_os_error().unwrap())?;
    std::io::Write::write_all(&mut &socket, b"x").unwrap();
    let mut data = [0; 1];
    std::io::Read::read_exact(&mut &upstream, &mut data).unwrap();
    // The jail has closed the first two.
    mem::forget((broker, passed, socket));
    Ok(())
}

/// Accepts on a socket that a broker has made to listen.
pub fn accept_from_others(setup: Setup) -> Done {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    setup.enter();
    let none = ptr::null::<u8>();
    call!(SYS_accept4, listener.as_raw_fd(), none, none, 0).map(drop)
}

/// Opens sockets, as a broker does for others.
pub fn open_sockets(setup: Setup) -> Done {
    setup.enter();
    let failed = |error: std::io::Error| error.raw_os_error().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
    let client = TcpStream::connect(listener.local_addr().map_err(failed)?).map_err(failed)?;
    let udp = UdpSocket::bind("127.0.0.1:0").map_err(failed)?;
    udp.send_to(b"x", udp.local_addr().map_err(failed)?).map_err(failed)?;
    let (one, other) = UnixStream::pair().map_err(failed)?;
    let (mut byte, mut address) = ([1], address_of(&udp));
    let mut part = part(&mut byte);
    let mut message = message_to(&mut address, &mut part);
    (message.msg_name, message.msg_namelen) = (ptr::null_mut(), 0);
    call!(SYS_sendmsg, one.as_raw_fd(), &raw const message, 0)?;
    std::thread::spawn(move || drop(other)).join().unwrap();
    client.try_clone().map_err(failed)?;
    Ok(())
}
