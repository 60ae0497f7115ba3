//! The socket options that handlers may read and set.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use common::{Served, datagram_endpoints, errno, next_error, pair, recorder};
use rustix::io::Errno;
use socketserver::{Address, Blame, Request, Server};

/// The numbers of Linux.
const SOL_SOCKET: i32 = 1;
const SO_REUSEADDR: i32 = 2;
const SO_TYPE: i32 = 3;
const SO_ERROR: i32 = 4;
const SO_SNDBUF: i32 = 7;
const SO_RCVBUF: i32 = 8;
const SO_KEEPALIVE: i32 = 9;
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
    for option in [SO_TYPE, SO_ERROR, SO_SNDBUF, SO_RCVBUF] {
        let set = request.setsockopt(SOL_SOCKET, option, 1 << 20);
        assert_eq!(errno(set), Some(Errno::ACCESS), "{option}");
    }
    for (level, option) in [(SOL_SOCKET, SO_REUSEADDR), (IPPROTO_TCP, 2), (0, 1), (-1, 9)] {
        let unknown = Some(Errno::NOPROTOOPT);
        assert_eq!(errno(request.getsockopt(level, option)), unknown);
        assert_eq!(errno(request.setsockopt(level, option, 1)), unknown);
    }
    request.close();
    assert_eq!(errno(request.getsockopt(SOL_SOCKET, SO_TYPE)), Some(Errno::BADF));
    assert_eq!(errno(request.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)), Some(Errno::BADF));
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
