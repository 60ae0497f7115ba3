//! Threads take requests themselves, and run them. Other threads take over if a request takes
//! long.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{ErrorKind, Write};
use std::net::{TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use common::{
    NEVER, WAIT, at_most, client_with, connect_to, in_leader, leading, localhost, next, read_all,
    serve, talk, wait_for_leader, wait_until,
};

#[test]
fn a_thread_that_is_done_takes_the_next_request_itself() {
    let (server, _test) = leading();
    let server = serve(server.bind(localhost()).build().unwrap(), NEVER);
    wait_for_leader(&server);
}

#[test]
fn a_leader_that_blocks_outside_of_the_host_holds_up_no_client() {
    let (server, test) = leading();
    let server = serve(server.bind(localhost()).build().unwrap(), NEVER);
    for _ in 0..3 {
        let mut blocked = in_leader(&server, &test, b'b');
        assert!(!talk(&server, b"q").is_empty());
        assert!(!talk(&server, b"q").is_empty());
        test.shared.gate.open();
        assert_eq!(read_all(&mut blocked), b"leader");
    }
}

#[test]
fn leaders_that_all_block_hold_up_no_client() {
    let (server, test) = leading();
    let server = serve(server.bind(localhost()).build().unwrap(), NEVER);
    // A client can be in a leader that has handed its leadership on.
    let leaders = 3 * thread::available_parallelism().unwrap().get();
    let mut blocked: Vec<TcpStream> =
        (0..leaders).map(|_| in_leader(&server, &test, b'b')).collect();
    for _ in 0..3 {
        assert!(!talk(&server, b"q").is_empty());
    }
    // Others have taken their places.
    wait_for_leader(&server);
    test.shared.gate.open();
    for client in &mut blocked {
        assert_eq!(read_all(client), b"leader");
    }
    wait_for_leader(&server);
}

#[test]
fn a_leader_that_waits_for_its_client_hands_its_leadership_on() {
    let (server, test) = leading();
    let server = serve(server.bind(localhost()).build().unwrap(), NEVER);
    for _ in 0..3 {
        let mut silent = in_leader(&server, &test, b'w');
        assert!(!talk(&server, b"q").is_empty());
        silent.write_all(b".").unwrap();
        assert_eq!(read_all(&mut silent), b"leader");
    }
}

#[test]
fn a_thousand_clients_that_a_leader_has_to_wait_for_are_all_served() {
    let (server, _test) = leading();
    let server = serve(server.bind(localhost()).build().unwrap(), NEVER);
    let address = server.server_address().to_socket_addr().unwrap();
    let clients = (0..10).map(|_| {
        thread::spawn(move || {
            let clients = (0..100).map(|_| connect_to(address).unwrap());
            let mut clients: Vec<TcpStream> = clients.collect();
            clients.iter_mut().rev().for_each(|client| {
                client.write_all(b"q").unwrap();
                assert!(!read_all(client).is_empty());
            });
        })
    });
    clients.collect::<Vec<_>>().into_iter().for_each(|client| client.join().unwrap());
    wait_for_leader(&server);
}

#[test]
fn a_panic_in_a_leader_costs_only_its_request() {
    let (server, test) = leading();
    let server = serve(server.bind(localhost()).build().unwrap(), NEVER);
    for _ in 0..3 {
        assert_eq!(read_all(&mut in_leader(&server, &test, b'p')), b"");
        assert!(!talk(&server, b"q").is_empty());
    }
}

#[test]
fn an_exit_in_a_leader_ends_only_its_request() {
    let (server, test) = leading();
    let server = serve(server.bind(localhost()).build().unwrap(), NEVER);
    for _ in 0..3 {
        assert_eq!(read_all(&mut in_leader(&server, &test, b'e')), b"");
        assert!(!talk(&server, b"q").is_empty());
    }
}

#[test]
fn a_blocked_leader_keeps_no_listening_socket_open() {
    let (server, test) = leading();
    let server = serve(server.bind(localhost()).build().unwrap(), NEVER);
    let mut blocked = in_leader(&server, &test, b'b');
    let address = server.server_address().to_socket_addr().unwrap();
    // Its drop would wait for the request.
    let _server = server.shared();
    assert_eq!(server.server_close_within(Duration::ZERO), 1);
    server.join().unwrap();
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    test.shared.gate.open();
    assert_eq!(read_all(&mut blocked), b"leader");
}

#[test]
fn a_leader_that_blocks_keeps_its_permit() {
    let (server, test) = leading();
    let server = server.concurrency(at_most(1)).bind(localhost());
    let server = serve(server.build().unwrap(), NEVER);
    let mut blocked = in_leader(&server, &test, b'b');
    let mut waiting = client_with(&server, b"b");
    waiting.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let early = std::io::Read::read(&mut waiting, &mut [0; 1]).unwrap_err();
    assert_eq!(early.kind(), ErrorKind::WouldBlock);
    assert!(test.entered.try_recv().is_err());
    test.shared.gate.open();
    assert_eq!(read_all(&mut blocked), b"leader");
    waiting.set_read_timeout(Some(WAIT)).unwrap();
    assert!(!read_all(&mut waiting).is_empty());
}

#[test]
fn a_blocked_leader_of_datagrams_holds_up_no_client() {
    let (server, test) = leading();
    let server = server.bind("udp://127.0.0.1:0".parse().unwrap());
    let server = serve(server.build().unwrap(), NEVER);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(server.server_address().to_socket_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(WAIT)).unwrap();
    let talk = |order: &[u8]| {
        client.send(order).unwrap();
        let mut answer = [0; 8];
        let length = client.recv(&mut answer).unwrap();
        answer[..length].to_vec()
    };
    loop {
        wait_until("a leader runs requests", || talk(b"q") == b"leader");
        client.send(b"b").unwrap();
        if next(&test.entered) {
            break;
        }
        assert_eq!(client.recv(&mut [0; 8]).unwrap(), 5);
    }
    assert!(!talk(b"q").is_empty());
    test.shared.gate.open();
    assert_eq!(client.recv(&mut [0; 8]).unwrap(), 6);
}
