//! Sockets and messages.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::{mem, ptr};

use super::super::{Setup, result};
use super::{Done, call};

pub fn socket(setup: Setup) -> Done {
    setup.enter();
    call!(SYS_socket, libc::AF_INET, libc::SOCK_STREAM, 0).map(drop)
}

fn tcp_socket() -> OwnedFd {
    let socket = call!(SYS_socket, libc::AF_INET, libc::SOCK_STREAM, 0).unwrap();
    // SAFETY: the descriptor is new.
    unsafe { OwnedFd::from_raw_fd(i32::try_from(socket).unwrap()) }
}

fn loopback(port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: 2,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    }
}

const ADDRESS: usize = size_of::<libc::sockaddr_in>();

pub fn connect(setup: Setup) -> Done {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = loopback(listener.local_addr().unwrap().port());
    let socket = tcp_socket();
    setup.enter();
    call!(SYS_connect, socket.as_raw_fd(), &raw const to, ADDRESS).map(drop)
}

pub fn bind(setup: Setup) -> Done {
    let (socket, at) = (tcp_socket(), loopback(0));
    setup.enter();
    call!(SYS_bind, socket.as_raw_fd(), &raw const at, ADDRESS).map(drop)
}

pub fn listen(setup: Setup) -> Done {
    let socket = tcp_socket();
    setup.enter();
    call!(SYS_listen, socket.as_raw_fd(), 1).map(drop)
}

pub fn accept(setup: Setup) -> Done {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    setup.enter();
    let none = ptr::null::<u8>();
    call!(SYS_accept4, listener.as_raw_fd(), none, none, 0).map(drop)
}

/// Accepts on the number of a listening socket that was open before this process entered.
pub fn accept_on_an_inherited_number(setup: Setup) -> Done {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    setup.enter_keeping(&[]);
    let none = ptr::null::<u8>();
    let accepted = call!(SYS_accept4, listener.as_raw_fd(), none, none, 0).map(drop);
    mem::forget(listener);
    accepted
}

/// Frees the number for a new descriptor.
pub fn close_standard_input(setup: Setup) -> Done {
    setup.enter();
    call!(SYS_close, 0).map(drop)
}

pub fn close_the_standard_streams(setup: Setup) -> Done {
    setup.enter();
    call!(SYS_close_range, 0, 2, 0).map(drop)
}

/// Calls `act` with a message that has room for control data.
fn with_message(act: impl FnOnce(*mut libc::msghdr) -> Done) -> Done {
    let mut byte = [1_u8];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let mut control = [0_u64; 8];
    // SAFETY: an empty message is all zeros.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    act(&raw mut message)
}

pub fn sendmsg(setup: Setup) -> Done {
    let (one, _other) = UnixStream::pair().unwrap();
    setup.enter();
    with_message(|message| {
        // SAFETY: the message is valid.
        unsafe { (*message).msg_controllen = 0 };
        call!(SYS_sendmsg, one.as_raw_fd(), message, 0).map(drop)
    })
}

/// Names the source address, as a server on all addresses does: `IP_PKTINFO`.
pub fn reply_from_a_source_address(setup: Setup) -> Done {
    let server = UdpSocket::bind("0.0.0.0:0").unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut to = loopback(client.local_addr().unwrap().port());
    setup.of(&server).enter();
    with_message(|message| {
        let info = libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 9]) },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        let size = u32::try_from(size_of_val(&info)).unwrap();
        // SAFETY: the message is valid, and its control data has room for this.
        unsafe {
            (*message).msg_name = (&raw mut to).cast();
            (*message).msg_namelen = u32::try_from(ADDRESS).unwrap();
            (*message).msg_controllen = libc::CMSG_SPACE(size) as _;
            let header = libc::CMSG_FIRSTHDR(message);
            (*header).cmsg_level = libc::IPPROTO_IP;
            (*header).cmsg_type = libc::IP_PKTINFO;
            (*header).cmsg_len = libc::CMSG_LEN(size) as _;
            libc::CMSG_DATA(header).cast::<libc::in_pktinfo>().write_unaligned(info);
        }
        call!(SYS_sendmsg, server.as_raw_fd(), message, 0).map(drop)
    })
}

/// Standard error of a service may be a Unix socket.
pub fn sendmsg_on_a_standard_stream(setup: Setup) -> Done {
    let (one, _other) = UnixStream::pair().unwrap();
    // SAFETY: both are descriptors.
    assert_eq!(unsafe { libc::dup2(one.as_raw_fd(), 2) }, 2);
    setup.enter();
    with_message(|message| {
        // SAFETY: the message is valid.
        unsafe { (*message).msg_controllen = 0 };
        call!(SYS_sendmsg, 2, message, 0).map(drop)
    })
}

pub fn recvmsg(setup: Setup) -> Done {
    let (one, other) = UnixStream::pair().unwrap();
    std::io::Write::write_all(&mut &other, b"1").unwrap();
    setup.enter();
    with_message(|message| call!(SYS_recvmsg, one.as_raw_fd(), message, 0).map(drop))
}

pub fn send_to_an_address(setup: Setup) -> Done {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = socket.local_addr().unwrap();
    setup.enter();
    socket.send_to(b"data", to).map(drop).map_err(|error| error.raw_os_error().unwrap())
}

/// Tries to connect elsewhere by a connection: `MSG_FASTOPEN` connects and sends.
fn send_elsewhere_by(setup: Setup, ended: bool) -> Done {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (connection, _) = listener.accept().unwrap();
    if ended {
        // Closes with a reset, which leaves no state of the connection.
        let (linger, option) = (libc::linger { l_onoff: 1, l_linger: 0 }, libc::SO_LINGER);
        let (socket, level) = (client.as_raw_fd(), libc::SOL_SOCKET);
        call!(SYS_setsockopt, socket, level, option, &raw const linger, 8).unwrap();
        // SAFETY: no code uses the descriptor any more.
        unsafe { libc::close(client.as_raw_fd()) };
        while connection.take_error().unwrap().is_none() {}
    }
    let to = loopback(other.local_addr().unwrap().port());
    setup.enter_keeping(&[connection.as_raw_fd()]);
    let (socket, data) = (connection.as_raw_fd(), b"data".as_ptr());
    let flags = libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL;
    let sent = call!(SYS_sendto, socket, data, 4, flags, &raw const to, ADDRESS).map(drop);
    mem::forget((listener, other, client));
    sent
}

pub fn send_elsewhere(setup: Setup) -> Done {
    send_elsewhere_by(setup, false)
}

pub fn send_elsewhere_after_the_end(setup: Setup) -> Done {
    send_elsewhere_by(setup, true)
}

pub fn send_to_a_path(setup: Setup) -> Done {
    let (connection, _client) = UnixStream::pair().unwrap();
    // SAFETY: an address of all zeros is valid.
    let mut to: libc::sockaddr_un = unsafe { mem::zeroed() };
    to.sun_family = 1;
    to.sun_path[0] = b'x'.cast_signed();
    setup.enter();
    let (socket, data) = (connection.as_raw_fd(), b"data".as_ptr());
    call!(SYS_sendto, socket, data, 4, 0, &raw const to, size_of_val(&to)).map(drop)
}

fn with_a_datagram() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"of another", socket.local_addr().unwrap()).unwrap();
    socket
}

pub fn receive(setup: Setup) -> Done {
    let socket = with_a_datagram();
    setup.of(&socket).enter();
    let mut data = [0; 16];
    socket.recv_from(&mut data).map(drop).map_err(|error| error.raw_os_error().unwrap())
}

pub fn read(setup: Setup) -> Done {
    let socket = with_a_datagram();
    setup.of(&socket).enter();
    let mut data = [0_u8; 16];
    call!(SYS_read, socket.as_raw_fd(), data.as_mut_ptr(), data.len()).map(drop)
}

pub fn shutdown(setup: Setup) -> Done {
    let socket = with_a_datagram();
    setup.of(&socket).enter();
    call!(SYS_shutdown, socket.as_raw_fd(), libc::SHUT_RDWR).map(drop)
}

pub fn receive_message(setup: Setup) -> Done {
    let socket = with_a_datagram();
    setup.of(&socket).enter();
    with_message(|message| call!(SYS_recvmsg, socket.as_raw_fd(), message, 0).map(drop))
}

pub fn receive_messages(setup: Setup) -> Done {
    let socket = with_a_datagram();
    setup.of(&socket).enter();
    with_message(|message| {
        let none = ptr::null::<u8>();
        // SAFETY: the message is valid.
        let mut several = libc::mmsghdr { msg_hdr: unsafe { *message }, msg_len: 0 };
        call!(SYS_recvmmsg, socket.as_raw_fd(), &raw mut several, 1, 0, none).map(drop)
    })
}

pub fn read_at_an_offset(setup: Setup) -> Done {
    let socket = with_a_datagram();
    setup.of(&socket).enter();
    let mut data = [0_u8; 16];
    let part = libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
    // The offset -1 means the current position.
    call!(SYS_preadv2, socket.as_raw_fd(), &raw const part, 1, -1_i64, -1_i64, 0).map(drop)
}

pub fn read_into_parts(setup: Setup) -> Done {
    let socket = with_a_datagram();
    setup.of(&socket).enter();
    let mut data = [0_u8; 16];
    let part = libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
    call!(SYS_readv, socket.as_raw_fd(), &raw const part, 1).map(drop)
}

pub fn splice(setup: Setup) -> Done {
    let socket = with_a_datagram();
    let (_reads, writes) = std::io::pipe().unwrap();
    setup.of(&socket).enter();
    let none = ptr::null::<u8>();
    match call!(SYS_splice, socket.as_raw_fd(), none, writes.as_raw_fd(), none, 16, 0) {
        // UDP cannot splice, but the filter let the call through.
        Err(libc::EINVAL) | Ok(_) => Ok(()),
        Err(errno) => Err(errno),
    }
}

pub fn change_the_socket(setup: Setup) -> Done {
    let (socket, size) = (with_a_datagram(), 1_i32);
    setup.of(&socket).enter();
    let (level, option) = (libc::SOL_SOCKET, libc::SO_RCVBUF);
    call!(SYS_setsockopt, socket.as_raw_fd(), level, option, &raw const size, 4).map(drop)
}

/// Sets an option that a process may set on sockets of its own.
pub fn make_the_socket_linger(setup: Setup) -> Done {
    let (socket, linger) = (with_a_datagram(), [1_i32, 1]);
    setup.of(&socket).enter();
    let (level, option) = (libc::SOL_SOCKET, libc::SO_LINGER);
    call!(SYS_setsockopt, socket.as_raw_fd(), level, option, linger.as_ptr(), 8).map(drop)
}

/// Attaches a filter that drops every datagram.
pub fn filter_the_socket(setup: Setup) -> Done {
    let socket = with_a_datagram();
    let mut nothing = libc::sock_filter { code: 6, jt: 0, jf: 0, k: 0 };
    let filter = libc::sock_fprog { len: 1, filter: &raw mut nothing };
    setup.of(&socket).enter();
    let (level, option) = (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER);
    let size = size_of_val(&filter);
    call!(SYS_setsockopt, socket.as_raw_fd(), level, option, &raw const filter, size).map(drop)
}

/// Restricts the socket to datagrams from one address.
pub fn connect_the_socket(setup: Setup) -> Done {
    let (socket, to) = (with_a_datagram(), loopback(9));
    setup.of(&socket).enter();
    call!(SYS_connect, socket.as_raw_fd(), &raw const to, ADDRESS).map(drop)
}

/// Asks for the size of the next datagram.
pub fn query_the_socket(setup: Setup) -> Done {
    let socket = with_a_datagram();
    let mut count = 0;
    setup.of(&socket).enter();
    call!(SYS_ioctl, socket.as_raw_fd(), libc::FIONREAD, &raw mut count).map(drop)
}

pub fn connect_to_an_abstract_name(setup: Setup) -> Done {
    let name = format!("jail-{}", std::process::id());
    let name = SocketAddr::from_abstract_name(name).unwrap();
    let _listener = UnixListener::bind_addr(&name).unwrap();
    setup.enter();
    UnixStream::connect_addr(&name).map(drop).map_err(|error| error.raw_os_error().unwrap())
}
