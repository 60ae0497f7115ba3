//! `handle_request`, and the timeout of a server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use common::{Event, SOON, builder, connect, echo, next, read_all, recorder, serve, talk};
use socketserver::{Address, Hooks, Request, ServerBuilder};

fn with_timeout(timeout: Option<Duration>) -> (ServerBuilder, mpsc::Receiver<Event>) {
    let (hooks, events) = recorder();
    (builder(echo).hooks(hooks).timeout(timeout), events)
}

#[test]
fn b21_handle_request_waits_for_the_timeout_and_calls_handle_timeout_once() {
    let timeout = Duration::from_millis(30);
    let (server, events) = with_timeout(Some(timeout));
    let server = server.build().unwrap();
    let begun = Instant::now();
    server.handle_request().unwrap();
    assert!(begun.elapsed() >= timeout);
    assert_eq!(events.try_iter().collect::<Vec<_>>(), [Event::Timeout]);
}

#[test]
fn b21_a_timeout_of_zero_looks_once() {
    let (server, events) = with_timeout(Some(Duration::ZERO));
    let server = server.build().unwrap();
    server.handle_request().unwrap();
    let client = connect(&server);
    client.shutdown(std::net::Shutdown::Write).unwrap();
    server.handle_request().unwrap();
    let address = Address::from(client.local_addr().unwrap());
    assert_eq!(events.try_iter().collect::<Vec<_>>(), [Event::Timeout, Event::Verify(address)]);
}

#[test]
fn b21_without_a_timeout_handle_request_waits_until_there_is_a_request() {
    let (server, events) = with_timeout(None);
    let server = Arc::new(server.build().unwrap());
    let waiting = common::until_blocked({
        let server = Arc::clone(&server);
        move || server.handle_request()
    });
    assert!(!waiting.is_finished());
    assert_eq!(talk(&server, b"at last"), b"at last");
    waiting.join().unwrap().unwrap();
    assert!(matches!(events.try_iter().collect::<Vec<_>>()[..], [Event::Verify(_)]));
}

#[test]
fn b21_serve_forever_ignores_the_timeout() {
    let (server, events) = with_timeout(Some(SOON));
    let server = serve(server.build().unwrap(), Duration::from_millis(5));
    for _ in 0..5 {
        assert_eq!(next(&events), Event::Service);
    }
    drop(server);
    assert!(events.try_iter().all(|event| event == Event::Service));
}

#[test]
fn b21_by_default_a_timeout_does_nothing() {
    let server = builder(echo).timeout(Some(SOON)).build().unwrap();
    server.handle_request().unwrap();
    assert!(server.fileno().is_some());
}

#[test]
fn b22_handle_request_ends_after_one_request_and_calls_no_service_actions() {
    let (server, events) = with_timeout(None);
    let server = server.build().unwrap();
    let clients = [connect(&server), connect(&server)];
    for client in &clients {
        client.shutdown(std::net::Shutdown::Write).unwrap();
        server.handle_request().unwrap();
        let address = Address::from(client.local_addr().unwrap());
        assert_eq!(events.try_iter().collect::<Vec<_>>(), [Event::Verify(address)]);
    }
}

#[test]
fn b22_handle_request_ends_after_a_request_that_was_refused() {
    struct Refuse;
    impl Hooks for Refuse {
        fn verify_request(&self, _request: &Request, _client_address: &Address) -> bool {
            false
        }
    }
    let server = builder(|request| request.sendall(b"served")).hooks(Refuse).build().unwrap();
    let mut clients = [connect(&server), connect(&server)];
    server.handle_request().unwrap();
    assert_eq!(read_all(&mut clients[0]), b"");
    clients[1].set_nonblocking(true).unwrap();
    let error = clients[1].peek(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn a_handler_that_fails_does_not_fail_handle_request() {
    let (hooks, events) = recorder();
    let server = builder(|_| panic!("no")).hooks(hooks).build().unwrap();
    let mut client = connect(&server);
    server.handle_request().unwrap();
    assert_eq!(read_all(&mut client), b"");
    assert_eq!(common::errors(&events).len(), 1);
}
