//! Calls that receive and send with flags, and `recvfrom`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use common::{errno, pair, reset, until_blocked, wait_until};
use rustix::io::Errno;
use socketserver::{Address, IdleTimeout, ReceiveLimit, Request, UnixAddress, block_on};

/// The numbers of Linux.
const MSG_OOB: i32 = 1;
const MSG_PEEK: i32 = 2;
const MSG_DONTWAIT: i32 = 0x40;
const MSG_WAITALL: i32 = 0x100;
const MSG_MORE: i32 = 0x8000;

#[test]
fn b74_peek_leaves_the_data_and_counts_nothing() {
    let (request, mut client) = pair();
    client.write_all(b"abcdef").unwrap();
    for _ in 0..2 {
        assert_eq!(request.recv_with_flags(4, MSG_PEEK).unwrap(), b"abcd");
    }
    assert_eq!(request.received(), 0);
    assert_eq!(request.recv(10).unwrap(), b"abcdef");
    drop(client);
    assert_eq!(request.recv_with_flags(4, MSG_PEEK).unwrap(), b"");
}

#[test]
fn b74_peek_starts_no_idle_time_again() {
    let (request, mut client) = pair();
    request.set_idle_timeout(Some(Duration::from_millis(300)));
    let waiting = until_blocked({
        let request = request.clone();
        move || request.recv_with_flags(1, MSG_PEEK)
    });
    client.write_all(b"a").unwrap();
    assert_eq!(waiting.join().unwrap().unwrap(), b"a");
    // The time that the first call waited is still counted: the second reaches the limit.
    request.set_idle_timeout(Some(Duration::from_millis(1)));
    request.recv(1).unwrap();
    let error = request.recv(1).unwrap_err();
    assert!(error.get_ref().unwrap().is::<IdleTimeout>(), "{error:?}");
}

#[test]
fn b74_dont_wait_is_an_error_instead_of_a_wait() {
    let (request, mut client) = pair();
    let nothing = request.recv_with_flags(1, MSG_DONTWAIT);
    assert_eq!(nothing.unwrap_err().kind(), ErrorKind::WouldBlock);
    client.write_all(b"a").unwrap();
    wait_until("the byte has come", || request.recv_with_flags(9, MSG_DONTWAIT | MSG_PEEK).is_ok());
    assert_eq!(request.recv_with_flags(9, MSG_DONTWAIT).unwrap(), b"a");
    let full = vec![0; 1 << 24];
    let sent = block_on(request.sendall_with_flags_async(&full, MSG_DONTWAIT));
    assert_eq!(sent.unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(request.sent() > 0 && request.sent() < full.len() as u64);
    assert_eq!(request.gettimeout(), None, "the timeout is still that of the handler");
    request.settimeout(Some(Duration::from_millis(10)));
    let nothing = request.recv_with_flags(1, MSG_DONTWAIT);
    assert_eq!(nothing.unwrap_err().kind(), ErrorKind::TimedOut);
}

#[test]
fn b74_wait_all_waits_for_all_bytes_or_the_end() {
    let (request, mut client) = pair();
    client.write_all(b"abc").unwrap();
    let receiving = until_blocked({
        let request = request.clone();
        move || request.recv_with_flags(6, MSG_WAITALL)
    });
    assert!(!receiving.is_finished());
    client.write_all(b"defg").unwrap();
    assert_eq!(receiving.join().unwrap().unwrap(), b"abcdef");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(request.recv_with_flags(6, MSG_WAITALL).unwrap(), b"g");
    assert_eq!(request.recv_with_flags(6, MSG_WAITALL).unwrap(), b"");
}

#[test]
fn b74_wait_all_does_not_wait_for_more_if_there_is_a_timeout() {
    let (request, mut client) = pair();
    client.write_all(b"abc").unwrap();
    for timeout in [0, 10] {
        client.write_all(b"abc").unwrap();
        request.settimeout(Some(Duration::from_secs(timeout)));
        let received = request.recv_with_flags(100, MSG_WAITALL).unwrap();
        assert!(received.starts_with(b"abc") && received.len() < 100);
    }
    request.settimeout(None);
    client.write_all(b"abc").unwrap();
    let received = request.recv_with_flags(100, MSG_WAITALL | MSG_DONTWAIT).unwrap();
    assert_eq!(received, b"abc");
}

#[test]
fn b74_a_reset_in_the_middle_of_wait_all_is_reported_by_the_next_call() {
    let (request, mut client) = pair();
    client.write_all(b"abc").unwrap();
    let receiving = until_blocked({
        let request = request.clone();
        move || request.recv_with_flags(6, MSG_WAITALL)
    });
    reset(client);
    assert_eq!(receiving.join().unwrap().unwrap(), b"abc");
    assert_eq!(errno(request.recv(1)), Some(Errno::CONNRESET));
    assert_eq!(request.recv(1).unwrap(), b"");
}

#[test]
fn b74_the_limits_of_the_request_end_wait_all() {
    let (request, mut client) = pair();
    request.set_idle_timeout(Some(Duration::from_millis(50)));
    client.write_all(b"abc").unwrap();
    let error = request.recv_with_flags(6, MSG_WAITALL).unwrap_err();
    assert!(error.get_ref().unwrap().is::<IdleTimeout>(), "{error:?}");
    request.set_idle_timeout(None);
    request.set_max_received(Some(5));
    client.write_all(b"abc").unwrap();
    assert_eq!(request.recv_with_flags(6, MSG_WAITALL).unwrap(), b"ab");
    let error = request.recv_with_flags(6, MSG_WAITALL).unwrap_err();
    assert!(error.get_ref().unwrap().is::<ReceiveLimit>(), "{error:?}");
}

#[test]
fn b74_other_flags_are_not_supported() {
    let (request, mut client) = pair();
    client.write_all(b"abc").unwrap();
    for flag in [MSG_OOB, 0x20, 0x2000, i32::MIN] {
        assert_eq!(errno(request.recv_with_flags(1, flag)), Some(Errno::OPNOTSUPP), "{flag}");
        let sent = block_on(request.send_with_flags_async(b"x", flag));
        assert_eq!(errno(sent), Some(Errno::OPNOTSUPP), "{flag}");
    }
    assert_eq!(block_on(request.send_with_flags_async(b"x", MSG_MORE)).unwrap(), 1);
}

#[test]
fn b82_recvfrom_has_the_address_of_a_unix_socket_with_a_name_only() {
    let (request, mut client) = pair();
    client.write_all(b"abc").unwrap();
    assert_eq!(request.recvfrom(10, MSG_PEEK).unwrap(), (b"abc".to_vec(), None));

    let (mut other, end) = UnixStream::pair().unwrap();
    other.write_all(b"abc").unwrap();
    let unnamed = Request::new(OwnedFd::from(end));
    assert_eq!(unnamed.recvfrom(10, 0).unwrap(), (b"abc".to_vec(), None));

    let directory = tempfile::tempdir().unwrap();
    let (path, name) = (directory.path().join("server"), directory.path().join("client"));
    let listener = UnixListener::bind(&path).unwrap();
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&socket2::SockAddr::unix(&name).unwrap()).unwrap();
    socket.connect(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    let request = Request::new(OwnedFd::from(listener.accept().unwrap().0));
    socket.send(b"abc").unwrap();
    let client = Address::Unix(UnixAddress::Pathname(name));
    assert_eq!(request.recvfrom(10, 0).unwrap(), (b"abc".to_vec(), Some(client)));
    drop(socket);
    assert_eq!(request.recvfrom(10, 0).unwrap(), (Vec::new(), None));
}
