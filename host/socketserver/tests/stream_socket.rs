//! The socket of a stream request.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use common::{O_NONBLOCK, errno, flags, pair, reset, until_blocked, wait_until};
use rustix::io::Errno;
use socketserver::Request;

/// Returns a request whose client has reset the connection.
fn after_reset() -> Request {
    let (request, client) = pair();
    reset(client);
    wait_until("the reset has come", || request.getpeername().is_err());
    request
}

#[test]
fn b73_recv_waits_for_the_first_byte_and_returns_the_bytes_that_are_there() {
    let (request, mut client) = pair();
    let receiving = until_blocked({
        let request = request.clone();
        move || request.recv(100)
    });
    assert!(!receiving.is_finished());
    client.write_all(b"abcdef").unwrap();
    assert_eq!(receiving.join().unwrap().unwrap(), b"abcdef");
}

#[test]
fn b73_recv_returns_at_most_bufsize_bytes_and_keeps_the_rest() {
    let (request, mut client) = pair();
    client.write_all(b"abcdef").unwrap();
    assert_eq!(request.recv(4).unwrap(), b"abcd");
    let mut rest = [0; 10];
    assert_eq!(request.recv_into(&mut rest).unwrap(), 2);
    assert_eq!(&rest[..2], b"ef");
}

#[test]
fn b73_every_recv_after_the_end_returns_nothing() {
    let (request, client) = pair();
    drop(client);
    for _ in 0..3 {
        assert_eq!(request.recv(10).unwrap(), b"");
        assert_eq!(request.recv_into(&mut [0; 10]).unwrap(), 0);
    }
}

#[test]
fn b73_recv_of_nothing_does_not_touch_the_socket() {
    let (request, mut client) = pair();
    assert_eq!(request.recv(0).unwrap(), b"");
    client.write_all(b"x").unwrap();
    assert_eq!(request.recv(0).unwrap(), b"");
    assert_eq!(request.recv(1).unwrap(), b"x");

    let request = after_reset();
    assert_eq!(request.recv(0).unwrap(), b"");
    assert_eq!(request.recv_into(&mut []).unwrap(), 0);
    assert_eq!(errno(request.recv(1)), Some(Errno::CONNRESET), "it is still to be told");
}

#[test]
fn b73_a_reset_is_reported_once() {
    let request = after_reset();
    assert_eq!(errno(request.recv(1)), Some(Errno::CONNRESET));
    assert_eq!(request.recv(1).unwrap(), b"");
    assert_eq!(request.recv(1).unwrap(), b"");
}

#[test]
fn b75_send_may_be_short_and_returns_the_number_of_bytes() {
    let (request, mut client) = pair();
    request.settimeout(Some(Duration::ZERO));
    let data = vec![7; 64 << 20];
    let sent = request.send(&data).unwrap();
    assert!(0 < sent && sent < data.len(), "{sent}");
    request.shutdown(Shutdown::Write).unwrap();
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    assert_eq!(received.len(), sent);
}

#[test]
fn b75_sendall_sends_all_to_a_slow_reader() {
    let (request, mut client) = pair();
    let data: Vec<u8> = (0..=16_u32 << 20).map(|i| (i % 251) as u8).collect();
    let sending = until_blocked({
        let data = data.clone();
        move || request.sendall(&data)
    });
    assert!(!sending.is_finished(), "16 MiB do not fit into the buffers");
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    assert!(received == data, "{} of {} bytes", received.len(), data.len());
    sending.join().unwrap().unwrap();
}

#[test]
fn b75_sendall_of_nothing_is_one_send() {
    let (request, _client) = pair();
    request.sendall(b"").unwrap();
    request.shutdown(Shutdown::Write).unwrap();
    assert_eq!(errno(request.sendall(b"")), Some(Errno::PIPE));
}

#[test]
fn b76_with_a_timeout_of_zero_recv_does_not_wait() {
    let (request, mut client) = pair();
    request.settimeout(Some(Duration::ZERO));
    assert_eq!(request.gettimeout(), Some(Duration::ZERO));
    let error = request.recv(1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert_eq!(errno(Err::<(), _>(error)), Some(Errno::AGAIN));
    client.write_all(b"x").unwrap();
    wait_until("the byte has come", || request.recv(1).is_ok_and(|data| data == b"x"));

    let full = loop {
        if let Err(error) = request.sendall(&vec![0; 1 << 20]) {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
}

#[test]
fn b76_a_timeout_is_an_error_without_a_number_and_leaves_the_descriptor_blocking() {
    let (request, mut client) = pair();
    assert_eq!(request.gettimeout(), None);
    let timeout = Duration::from_millis(20);
    request.settimeout(Some(timeout));
    assert_eq!(request.gettimeout(), Some(timeout));
    let error = request.recv(1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!((error.to_string().as_str(), error.raw_os_error()), ("timed out", None));
    assert_eq!(flags(request.fileno().unwrap()) & O_NONBLOCK, 0);

    request.settimeout(None);
    let receiving = until_blocked({
        let request = request.clone();
        move || request.recv(1)
    });
    client.write_all(b"x").unwrap();
    assert_eq!(receiving.join().unwrap().unwrap(), b"x");
}

#[test]
fn b76_a_timeout_past_the_end_of_the_clock_is_no_error() {
    let (request, mut client) = pair();
    request.settimeout(Some(Duration::MAX));
    client.write_all(b"x").unwrap();
    assert_eq!(request.recv(1).unwrap(), b"x");
    request.sendall(b"y").unwrap();
}

#[test]
fn b79_the_first_send_after_the_other_end_closed_succeeds_and_then_the_pipe_is_broken() {
    let (request, client) = pair();
    drop(client);
    assert_eq!(request.recv(1).unwrap(), b"");
    request.sendall(b"x").unwrap();
    wait_until("the answer to it has come", || request.getpeername().is_err());
    assert_eq!(errno(request.sendall(b"x")), Some(Errno::PIPE));
}

#[test]
fn b79_a_client_that_closes_with_unread_data_resets() {
    let (request, client) = pair();
    request.sendall(b"unread").unwrap();
    client.peek(&mut [0]).unwrap();
    drop(client);
    assert_eq!(errno(request.recv(1)), Some(Errno::CONNRESET));
}

#[test]
fn b80_the_other_end_has_an_address_until_a_reset() {
    let (request, client) = pair();
    let address = client.local_addr().unwrap().into();
    drop(client);
    assert_eq!(request.recv(1).unwrap(), b"");
    assert_eq!(request.getpeername().unwrap(), address);
    assert_eq!(errno(after_reset().getpeername()), Some(Errno::NOTCONN));
}

#[test]
fn b80_a_closed_request_is_a_bad_descriptor_and_can_be_closed_again() {
    let (request, mut client) = pair();
    let clone = request.clone();
    request.close();
    request.close();
    for request in [&request, &clone] {
        assert_eq!(request.fileno(), None);
        assert_eq!(errno(request.recv(1)), Some(Errno::BADF));
        assert_eq!(errno(request.send(b"x")), Some(Errno::BADF));
        assert_eq!(errno(request.sendall(b"")), Some(Errno::BADF));
        assert_eq!(errno(request.shutdown(Shutdown::Both)), Some(Errno::BADF));
        assert_eq!(errno(request.getpeername()), Some(Errno::BADF));
        assert_eq!(errno(request.getsockname()), Some(Errno::BADF));
    }
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    after_reset().close();
}

#[test]
fn b80_closing_ends_a_call_that_waits_in_another_thread() {
    let (request, _client) = pair();
    let receiving = until_blocked({
        let request = request.clone();
        move || request.recv(1)
    });
    assert!(!receiving.is_finished());
    request.close();
    wait_until("recv has ended", || receiving.is_finished());
}

#[test]
fn b81_the_end_of_one_direction_leaves_the_other() {
    let (request, mut client) = pair();
    client.write_all(b"ask").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(request.recv(10).unwrap(), b"ask");
    assert_eq!(request.recv(10).unwrap(), b"");
    request.sendall(b"answer").unwrap();
    drop(request);
    assert_eq!(common::read_all(&mut client), b"answer");
}

#[test]
fn b81_after_shutting_down_the_sending_side_receiving_still_works() {
    let (request, mut client) = pair();
    request.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    assert_eq!(errno(request.sendall(b"x")), Some(Errno::PIPE));
    client.write_all(b"still").unwrap();
    assert_eq!(request.recv(10).unwrap(), b"still");
    drop(client);
    assert_eq!(request.recv(10).unwrap(), b"");
    wait_until("both have ended", || {
        errno(request.shutdown(Shutdown::Write)) == Some(Errno::NOTCONN)
    });
}

#[test]
fn a_request_is_a_reader_and_a_writer() {
    let (request, mut client) = pair();
    let copying = thread::spawn(move || io::copy(&mut &request, &mut &request).unwrap());
    client.write_all(b"through io::copy").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(copying.join().unwrap(), 16);
    assert_eq!(common::read_all(&mut client), b"through io::copy");
}
