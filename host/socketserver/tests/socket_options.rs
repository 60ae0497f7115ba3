//! The socket options that handlers may read and set.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use common::{Served, datagram_endpoints, errno, next_error, pair, recorder};
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};
use socketserver::{Address, Blame, Request, Server};

/// The numbers of Linux.
const SOL_SOCKET: i32 = 1;
const SO_REUSEADDR: i32 = 2;
const SO_TYPE: i32 = 3;
const SO_ERROR: i32 = 4;
const SO_SNDBUF: i32 = 7;
const SO_RCVBUF: i32 = 8;
const SO_KEEPALIVE: i32 = 9;
const SO_REUSEPORT: i32 = 15;
const IPPROTO_TCP: i32 = 6;
const TCP_NODELAY: i32 = 1;

#[test]
fn b83_options_of_a_connection_that_can_be_read_and_set() {
    let (request, _client) = pair();
    let get = |level, option| request.getsockopt(level, option).unwrap();
    assert_eq!(get(SOL_SOCKET, SO_TYPE), 1);
    assert_eq!(get(SOL_SOCKET, SO_ERROR), 0);
    assert!(get(SOL_SOCKET, SO_RCVBUF) > 1000 && get(SOL_SOCKET, SO_SNDBUF) > 1000);
    for (level, option) in [(SOL_SOCKET, SO_KEEPALIVE), (IPPROTO_TCP, TCP_NODELAY)] {
        assert_eq!(get(level, option), 0, "CPython sets nothing by itself (B65)");
        for (value, read) in [(1, 1), (0, 0), (7, 1)] {
            request.setsockopt(level, option, value).unwrap();
            assert_eq!(get(level, option), read);
        }
    }
}

#[test]
fn b83_so_error_reports_a_reset_once() {
    let (request, client) = pair();
    common::reset(client);
    common::wait_until("the reset has come", || request.getpeername().is_err());
    let error = || request.getsockopt(SOL_SOCKET, SO_ERROR).unwrap();
    assert_eq!([error(), error()], [Errno::CONNRESET.raw_os_error(), 0]);
}

#[test]
fn b83_other_options_are_refused() {
    let (request, _client) = pair();
    for option in [SO_REUSEADDR, SO_TYPE, SO_ERROR] {
        let set = request.setsockopt(SOL_SOCKET, option, 1);
        assert_eq!(errno(set), Some(Errno::ACCESS), "{option}");
        assert!(request.getsockopt(SOL_SOCKET, option).is_ok());
    }
    // SO_PEERCRED, SO_RCVTIMEO, SO_BINDTODEVICE, SO_ATTACH_FILTER, SO_MARK, TCP_CONGESTION.
    for (level, option) in [(1, 17), (1, 20), (1, 25), (1, 26), (1, 36), (6, 13), (-1, 9)] {
        let denied = Some(Errno::ACCESS);
        assert_eq!(errno(request.getsockopt(level, option)), denied);
        assert_eq!(errno(request.getsockopt_bytes(level, option, 16)), denied);
        assert_eq!(errno(request.setsockopt(level, option, 1)), denied);
        assert_eq!(errno(request.setsockopt_bytes(level, option, &[0; 16])), denied);
    }
    request.close();
    assert_eq!(errno(request.getsockopt(SOL_SOCKET, SO_TYPE)), Some(Errno::BADF));
    assert_eq!(errno(request.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)), Some(Errno::BADF));
}

/// Two sockets of datagrams that allow the reuse of their address can have the same one, and
/// one takes the datagrams of the other.
#[test]
fn b83_reuse_of_the_address_can_be_set_on_a_stream_that_the_handler_opened() {
    let (request, _client) = pair();
    let open = |kind| request.open(Socket::new(Domain::IPV4, kind, None).unwrap()).unwrap();
    let stream = open(Type::STREAM);
    for (value, read) in [(1, 1), (0, 0), (7, 1)] {
        stream.setsockopt(SOL_SOCKET, SO_REUSEADDR, value).unwrap();
        assert_eq!(stream.getsockopt(SOL_SOCKET, SO_REUSEADDR).unwrap(), read);
    }
    assert_eq!(errno(stream.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1)), Some(Errno::ACCESS));
    let set = open(Type::DGRAM).setsockopt(SOL_SOCKET, SO_REUSEADDR, 1);
    assert_eq!(errno(set), Some(Errno::ACCESS));
}

#[test]
fn b83_options_with_a_range_of_values() {
    let (request, _client) = pair();
    // TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, IP_TOS.
    for (level, option, least, most) in
        [(6, 4, 1, 32_767), (6, 5, 1, 32_767), (6, 6, 1, 127), (0, 1, 0, 252)]
    {
        for value in [least, most] {
            request.setsockopt(level, option, value).unwrap();
            assert_eq!(request.getsockopt(level, option).unwrap(), value);
        }
        for value in [least - 1, 70_000, i32::MIN, i32::MAX] {
            assert_eq!(errno(request.setsockopt(level, option, value)), Some(Errno::INVAL));
        }
    }
}

#[test]
fn b83_a_buffer_has_a_largest_size() {
    let (request, _client) = pair();
    for option in [SO_SNDBUF, SO_RCVBUF] {
        request.setsockopt(SOL_SOCKET, option, 20_000).unwrap();
        // Linux returns twice the size.
        assert_eq!(request.getsockopt(SOL_SOCKET, option).unwrap(), 40_000);
        for huge in [i32::MAX, 1 << 24, -1, i32::MIN] {
            request.setsockopt(SOL_SOCKET, option, huge).unwrap();
            let size = request.getsockopt(SOL_SOCKET, option).unwrap();
            assert!((40_000..=2 * 212_992).contains(&size), "{size}");
        }
    }
}

#[test]
fn b83_options_as_bytes() {
    let (request, _client) = pair();
    let get = |level, option, length| request.getsockopt_bytes(level, option, length);
    assert_eq!(get(SOL_SOCKET, SO_TYPE, 4).unwrap(), 1_i32.to_ne_bytes());
    assert_eq!(get(SOL_SOCKET, SO_TYPE, 1024).unwrap(), 1_i32.to_ne_bytes());
    assert_eq!(get(SOL_SOCKET, SO_TYPE, 2).unwrap(), 1_i32.to_ne_bytes()[..2]);
    for length in [0, 1025, usize::MAX] {
        assert_eq!(errno(get(SOL_SOCKET, SO_TYPE, length)), Some(Errno::INVAL));
    }
    let tcp_info = get(IPPROTO_TCP, 11, 1024).unwrap();
    assert!(tcp_info.len() > 100, "{}", tcp_info.len());

    let on = 1_i32.to_ne_bytes();
    request.setsockopt_bytes(SOL_SOCKET, SO_KEEPALIVE, &on).unwrap();
    assert_eq!(request.getsockopt(SOL_SOCKET, SO_KEEPALIVE).unwrap(), 1);
    for short in [&[][..], &[1], &[1, 0, 0]] {
        let set = request.setsockopt_bytes(SOL_SOCKET, SO_KEEPALIVE, short);
        assert_eq!(errno(set), Some(Errno::INVAL));
    }
}

/// The value of `SO_LINGER`.
fn linger(on: i32, seconds: i32) -> Vec<u8> {
    [on.to_ne_bytes(), seconds.to_ne_bytes()].concat()
}

#[test]
fn b83_a_lingering_close_does_not_wait_and_loses_nothing() {
    const SO_LINGER: i32 = 13;
    let (request, mut client) = pair();
    assert_eq!(request.getsockopt_bytes(SOL_SOCKET, SO_LINGER, 8).unwrap(), linger(0, 0));
    assert_eq!(errno(request.setsockopt(SOL_SOCKET, SO_LINGER, 1)), Some(Errno::INVAL));
    for seconds in [600, i32::MAX, -1] {
        request.setsockopt_bytes(SOL_SOCKET, SO_LINGER, &linger(1, seconds)).unwrap();
        let read = request.getsockopt_bytes(SOL_SOCKET, SO_LINGER, 8).unwrap();
        assert_eq!(read, linger(1, seconds));
        assert_eq!(request.getsockopt(SOL_SOCKET, SO_LINGER).unwrap(), 1);
        // The kernel has no such option: its close would wait for the client.
        let kernel = socket2::SockRef::from(&request).linger().unwrap();
        assert_eq!(kernel, None);
    }
    request.settimeout(Some(std::time::Duration::ZERO));
    let mut sent = 0;
    while let Ok(count) = request.send(&[7; 8192]) {
        sent += count;
    }
    drop(request);
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    assert_eq!(received.len(), sent);
}

#[test]
fn b83_a_linger_of_zero_seconds_ends_the_connection_with_a_reset() {
    let (request, mut client) = pair();
    request.setsockopt_bytes(SOL_SOCKET, 13, &linger(1, 600)).unwrap();
    request.setsockopt_bytes(SOL_SOCKET, 13, &linger(1, 0)).unwrap();
    assert_eq!(request.getsockopt_bytes(SOL_SOCKET, 13, 8).unwrap(), linger(1, 0));
    drop(request);
    let error = client.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn b83_options_of_the_socket_of_datagrams_can_be_read() {
    let (_directory, endpoints) = datagram_endpoints();
    for endpoint in &endpoints {
        let served = Served::new(endpoint);
        let (request, _) = served.request(&served.client(), b"x");
        let get = |level, option| request.getsockopt(level, option);
        assert_eq!(get(SOL_SOCKET, SO_TYPE).unwrap(), 2);
        assert_eq!(get(SOL_SOCKET, SO_ERROR).unwrap(), 0);
        assert_eq!(get(SOL_SOCKET, SO_KEEPALIVE).unwrap(), 0);
        assert!(get(SOL_SOCKET, SO_RCVBUF).unwrap() > 1000);
        let no_delay = errno(get(IPPROTO_TCP, TCP_NODELAY));
        assert!(matches!(no_delay, Some(Errno::NOPROTOOPT | Errno::OPNOTSUPP)), "{no_delay:?}");
    }
}

#[test]
fn b70_a_unix_stream_has_no_nagle_algorithm_to_disable() {
    let (end, _other) = UnixStream::pair().unwrap();
    let request = Request::new(OwnedFd::from(end));
    let set = request.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1);
    assert_eq!(errno(set), Some(Errno::OPNOTSUPP));
    assert_eq!(errno(request.getsockopt(IPPROTO_TCP, TCP_NODELAY)), Some(Errno::OPNOTSUPP));
    request.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1).unwrap();
    assert_eq!(request.getsockopt(SOL_SOCKET, SO_TYPE).unwrap(), 1);
}

#[test]
fn b70_an_option_that_cannot_be_set_fails_the_request() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let (hooks, events) = recorder();
    let handler = |request: &Request, _: &Address, _: &_| {
        request.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)?;
        request.sendall(b"not reached")
    };
    let endpoint = format!("unix://{}", path.display()).parse().unwrap();
    let server = Server::builder(handler).bind(endpoint).hooks(hooks).build().unwrap();
    let mut client = UnixStream::connect(&path).unwrap();
    server.handle_request().unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"");
    assert_eq!(next_error(&events).0, Blame::Guest);
}
