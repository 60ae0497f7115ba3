//! The socket of a datagram request, which is the server's own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::ErrorKind;
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use common::{Gram, NEVER, Served, datagram_endpoints, errno, in_time, pair, udp, until_blocked};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use socketserver::{Address, Blame, Endpoint, HandlerError, IdleTimeout, Request, SocketType};

const SHORT: Duration = Duration::from_millis(20);

#[test]
fn calls_that_would_take_the_datagrams_of_others_or_end_the_socket_fail() {
    let (_directory, endpoints) = datagram_endpoints();
    for endpoint in &endpoints {
        let served = Served::new(endpoint);
        let client = served.client();
        let (request, address) = served.request(&client, b"first");
        client.send(b"of another");

        let unsupported = Some(Errno::OPNOTSUPP);
        assert_eq!(errno(request.recv(100)), unsupported);
        assert_eq!(errno(request.recv(0)), unsupported);
        assert_eq!(errno(request.recv_into(&mut [0; 100])), unsupported);
        for how in [Shutdown::Read, Shutdown::Write, Shutdown::Both] {
            assert_eq!(errno(request.shutdown(how)), unsupported);
        }
        // SO_KEEPALIVE, SO_RCVBUF, TCP_NODELAY, and a number of no option.
        for (level, option) in [(1, 9), (1, 8), (6, 1), (9, 9)] {
            assert_eq!(errno(request.setsockopt(level, option, 1)), unsupported);
        }

        let (other, _) = served.take();
        assert_eq!(other.data(), b"of another");
        assert_eq!((request.data(), request.socket_type()), (&b"first"[..], SocketType::Dgram));
        request.sendto(b"still", &address).unwrap();
        assert_eq!(client.receive(), b"still");
    }
}

#[test]
fn closing_a_datagram_request_ends_only_that() {
    let (_directory, endpoints) = datagram_endpoints();
    for endpoint in &endpoints {
        let served = Served::new(endpoint);
        let client = served.client();
        let (request, address) = served.request(&client, b"first");
        let clone = request.clone();
        request.close();
        request.close();
        for request in [&request, &clone] {
            let bad = Some(Errno::BADF);
            assert_eq!(errno(request.sendto(b"x", &address)), bad);
            assert_eq!(errno(request.send(b"x")), bad);
            assert_eq!(errno(request.getsockname()), bad);
            assert_eq!(errno(request.getpeername()), bad);
            assert_eq!(errno(request.shutdown(Shutdown::Both)), bad);
            assert_eq!(errno(request.getsockopt(1, 3)), bad);
            assert_eq!(errno(request.setsockopt(1, 9, 1)), bad);
            assert_eq!((request.fileno(), request.data()), (None, &b"first"[..]));
        }
        let (request, address) = served.request(&client, b"second");
        assert_eq!(request.fileno(), served.server.fileno());
        request.sendto(b"answer", &address).unwrap();
        assert_eq!(client.receive(), b"answer");
    }
}

#[test]
fn b61_the_socket_of_a_request_belongs_to_the_server() {
    let (_directory, endpoints) = datagram_endpoints();
    for endpoint in &endpoints {
        let served = Served::new(endpoint);
        let (request, _) = served.request(&served.client(), b"x");
        assert_eq!(request.fileno(), served.server.fileno());
        assert_eq!(&request.getsockname().unwrap(), served.server.server_address());
        assert_eq!(errno(request.getpeername()), Some(Errno::NOTCONN));
        assert_eq!(request.gettimeout(), None);
    }
}

#[test]
fn b75_b82_sendto_sends_one_whole_datagram_even_an_empty_one() {
    let (_directory, endpoints) = datagram_endpoints();
    for endpoint in &endpoints {
        let served = Served::new(endpoint);
        let client = served.client();
        let (request, address) = served.request(&client, b"x");
        for data in [&b"one"[..], b"", &vec![b'x'; 60_000], b"two"] {
            assert_eq!(request.sendto(data, &address).unwrap(), data.len());
            assert!(client.receive() == data, "{endpoint} {}", data.len());
        }
        assert!(client.has_nothing());
    }
}

#[test]
fn b82_on_a_connection_sendto_ignores_the_address() {
    let (request, mut client) = pair();
    let elsewhere = Address::from(std::net::SocketAddr::from(([127, 0, 0, 1], 1)));
    assert_eq!(request.sendto(b"hello", &elsewhere).unwrap(), 5);
    request.shutdown(Shutdown::Write).unwrap();
    assert_eq!(common::read_all(&mut client), b"hello");
    assert_eq!(errno(request.sendto(b"x", &elsewhere)), Some(Errno::PIPE));
}

#[test]
fn an_address_of_another_family_is_an_error_of_the_handler() {
    let served = Served::new(&udp());
    let (request, _) = served.request(&served.client(), b"x");
    let address = Address::from(std::net::SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 1)));
    let error = HandlerError::from(request.sendto(b"x", &address).unwrap_err());
    assert_eq!((error.blame(), error.reason().as_str()), (Blame::Guest, "error"), "{error}");
}

#[test]
fn b58_a_client_without_an_address_cannot_be_answered() {
    let (_directory, endpoints) = datagram_endpoints();
    let served = Served::new(&endpoints[2]);
    let client = Gram::unbound(served.server.server_address());
    let (request, address) = served.request(&client, b"x");
    let error = request.sendto(b"x", &address).unwrap_err();
    assert_eq!(Errno::from_io_error(&error), Some(Errno::DESTADDRREQ));
    let error = HandlerError::from(error);
    assert_eq!((error.blame(), error.reason().as_str()), (Blame::Client, "no-address"));
}

/// Returns a request whose Unix client has a full queue.
fn full(endpoint: &Endpoint) -> (Served, Gram, Request, Address, usize) {
    let served = Served::new(endpoint);
    let client = served.client();
    let (request, address) = served.request(&client, b"x");
    request.settimeout(Some(Duration::ZERO));
    let mut sent = 0;
    let error = loop {
        match request.sendto(b"fill", &address) {
            Ok(_) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), sent > 0), (ErrorKind::WouldBlock, true), "{error}");
    assert_eq!(errno(Err::<(), _>(error)), Some(Errno::AGAIN));
    request.settimeout(None);
    (served, client, request, address, sent)
}

fn unix_endpoints() -> (tempfile::TempDir, Vec<Endpoint>) {
    let (directory, mut endpoints) = datagram_endpoints();
    (directory, endpoints.split_off(2))
}

/// Returns the CPU time of this thread.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

#[test]
fn b61_a_unix_client_that_does_not_read_is_waited_for_until_a_timeout() {
    let (_directory, endpoints) = unix_endpoints();
    for endpoint in &endpoints {
        let (_served, client, request, address, sent) = full(endpoint);
        request.settimeout(Some(SHORT));
        let error = in_time(move || request.sendto(b"lost", &address)).unwrap_err();
        assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::TimedOut, None));
        assert!(error.get_ref().is_none_or(|inner| !inner.is::<IdleTimeout>()));
        for _ in 0..sent {
            assert_eq!(client.receive(), b"fill");
        }
        assert!(client.has_nothing());
    }
}

#[test]
fn a_unix_client_that_does_not_read_is_idle() {
    let (_directory, endpoints) = unix_endpoints();
    for endpoint in &endpoints {
        let (_served, _client, request, address, _) = full(endpoint);
        request.set_idle_timeout(Some(SHORT));
        request.settimeout(Some(NEVER));
        let error = in_time(move || request.sendto(b"lost", &address)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let inner = error.get_ref().unwrap().downcast_ref::<IdleTimeout>().unwrap();
        assert_eq!(inner.limit, SHORT);
        let error = HandlerError::from(error);
        assert_eq!((error.blame(), error.reason().as_str()), (Blame::Client, "idle-timeout"));
    }
}

/// An empty datagram moves no byte, but the client has received it. All waits together are
/// longer than the limit, and each is much shorter.
#[test]
fn a_datagram_that_is_sent_resets_the_idle_time_even_if_it_is_empty() {
    let (_directory, endpoints) = unix_endpoints();
    for data in [&b""[..], b"x"] {
        let (_served, client, request, address, _) = full(&endpoints[1]);
        let limit = Duration::from_millis(600);
        request.set_idle_timeout(Some(limit));
        request.settimeout(Some(limit / 4));
        for _ in 0..5 {
            let full = in_time({
                let (request, address) = (request.clone(), address.clone());
                move || request.sendto(data, &address)
            });
            assert_eq!(full.unwrap_err().to_string(), "timed out");
            client.receive();
            assert_eq!(request.sendto(data, &address).unwrap(), data.len());
        }
    }
}

#[test]
fn waiting_for_a_unix_client_takes_no_processor_time() {
    let (_directory, endpoints) = unix_endpoints();
    let (_served, _client, request, address, _) = full(&endpoints[0]);
    request.settimeout(Some(Duration::from_millis(500)));
    let taken = in_time(move || {
        let before = processor_time();
        assert_eq!(request.sendto(b"x", &address).unwrap_err().kind(), ErrorKind::TimedOut);
        processor_time().saturating_sub(before)
    });
    assert!(taken < Duration::from_millis(50), "{taken:?} of half a second");
}

#[test]
fn b61_sendto_goes_on_when_the_unix_client_reads() {
    let (_directory, endpoints) = unix_endpoints();
    for endpoint in &endpoints {
        let (_served, client, request, address, sent) = full(endpoint);
        let sending = until_blocked({
            let (request, address) = (request.clone(), address.clone());
            move || request.sendto(b"last", &address)
        });
        assert!(!sending.is_finished());
        for _ in 0..sent {
            assert_eq!(client.receive(), b"fill");
        }
        assert_eq!(client.receive(), b"last");
        assert_eq!(sending.join().unwrap().unwrap(), 4);
    }
}

#[test]
fn b60_a_unix_client_that_goes_away_while_it_is_waited_for_is_an_error() {
    let (_directory, endpoints) = unix_endpoints();
    let (_served, client, request, address, _) = full(&endpoints[0]);
    let sending = until_blocked(move || request.sendto(b"lost", &address));
    assert!(!sending.is_finished());
    drop(client);
    assert_eq!(errno(sending.join().unwrap()), Some(Errno::CONNREFUSED));
}

#[test]
fn a_datagram_request_may_outlive_its_server_and_be_sent_to_another_thread() {
    let served = Served::new(&udp());
    let client = served.client().connected();
    let (request, address) = served.request(&client, b"x");
    drop(served);
    let answering = thread::spawn(move || request.sendto(b"late", &address));
    assert_eq!(client.receive(), b"late");
    assert_eq!(answering.join().unwrap().unwrap(), 4);
}
