//! `Concurrency::Threading`: concurrent requests, and their end when the server closes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::HashSet;
use std::io::{self, ErrorKind, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self};
use std::thread;
use std::time::Duration;

use common::{
    Event, Gate, NEVER, at_most, builder, client_with, connect, connect_to, echo, gated, localhost,
    next, read_all, recorder, serve, talk, thread_number, until_blocked, wait_until,
    wait_until_blocked,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socketserver::{
    Address, Blame, Capacity, Concurrency, HandlerError, Hooks, Request, Server, ServerBuilder,
    Threading,
};

fn threading(
    handler: impl Fn(&Request) -> io::Result<()> + Send + Sync + 'static,
) -> ServerBuilder {
    builder(handler).concurrency(Concurrency::Threading(Threading::new()))
}

#[test]
fn b40_five_hundred_clients_are_served_at_once() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let (server, gate, entered) = gated();
    let capacity = Capacity { requests: 500, limit: "that is enough".to_owned() };
    let threading = Threading { capacity, ..Threading::new() };
    let server =
        serve(server.concurrency(Concurrency::Threading(threading)).build().unwrap(), NEVER);
    let mut clients: Vec<TcpStream> = (0..500).map(|_| client_with(&server, b"x")).collect();
    for _ in &clients {
        next(&entered);
    }
    gate.open();
    for client in &mut clients {
        assert_eq!(read_all(client), b"done");
    }
}

#[test]
fn b19_shutdown_of_a_threading_server_does_not_wait_for_handlers() {
    let (server, gate, entered) = gated();
    let server = serve(server.build().unwrap(), NEVER);
    let mut client = client_with(&server, b"x");
    next(&entered);
    server.shutdown().unwrap();
    gate.open();
    assert_eq!(read_all(&mut client), b"done");
}

#[test]
fn b41_an_error_is_reported_in_the_thread_of_its_request() {
    let (hooks, events) = recorder();
    let (sender, threads) = mpsc::channel();
    let server = threading(move |request| {
        sender.send(thread::current().id()).unwrap();
        match &request.recv(1)?[..] {
            b"p" => panic!("panicked"),
            b"e" => Err(io::Error::other("failed")),
            data => request.sendall(data),
        }
    });
    let server = serve(server.hooks(hooks).build().unwrap(), NEVER);
    for (order, reason, text) in [(b"e", "error", "failed"), (b"p", "panic", "panicked")] {
        let mut client = client_with(&server, order);
        assert_eq!(read_all(&mut client), b"");
        let is_error = |event: &Event| matches!(event, Event::Error { .. });
        let expected = Event::Error {
            client: Address::from(client.local_addr().unwrap()),
            blame: Blame::Guest,
            reason,
            text: text.to_owned(),
            thread: next(&threads),
        };
        let error = std::iter::repeat_with(|| next(&events)).find(is_error);
        assert_eq!(error, Some(expected));
    }
    assert_eq!(talk(&server, b"x"), b"x");
}

#[test]
fn b41_a_handle_error_that_panics_keeps_no_permit() {
    struct Panics;
    impl Hooks for Panics {
        fn handle_error(&self, _request: &Request, _client: &Address, _error: &HandlerError) {
            panic!("in handle_error")
        }
    }
    let server = builder(|_| panic!("in handle")).hooks(Panics).concurrency(at_most(1));
    let server = serve(server.build().unwrap(), NEVER);
    for _ in 0..5 {
        assert_eq!(read_all(&mut connect(&server)), b"");
    }
    drop(server);
}

/// Closes a server while a request is in flight. Returns true if the request was done when
/// `server_close` returned.
fn closing_waits(block_on_close: bool, daemon_threads: bool) -> bool {
    let (gate, done) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
    let (sender, entered) = mpsc::channel();
    let server = builder({
        let (gate, done) = (gate.clone(), Arc::clone(&done));
        move |_| {
            sender.send(()).unwrap();
            gate.wait();
            done.store(1, Ordering::SeqCst);
            Ok(())
        }
    });
    let threading = Threading { block_on_close, daemon_threads, ..Threading::new() };
    let server = server.concurrency(Concurrency::Threading(threading)).build().unwrap();
    let mut client = connect(&server);
    server.handle_request().unwrap();
    next(&entered);
    let closing = until_blocked(move || {
        server.server_close();
        done.load(Ordering::SeqCst) == 1
    });
    gate.open();
    assert_eq!(read_all(&mut client), b"");
    closing.join().unwrap()
}

#[test]
fn b43_closing_waits_for_requests_only_if_it_should() {
    assert!(closing_waits(true, false));
    assert!(!closing_waits(false, false));
    assert!(!closing_waits(true, true));
    assert!(!closing_waits(false, true));
}

#[test]
fn b44_closing_refuses_new_clients_and_serves_the_others_to_the_end() {
    let (server, gate, entered) = gated();
    let server = Arc::new(server.build().unwrap());
    let mut client = client_with(&server, b"x");
    server.handle_request().unwrap();
    next(&entered);
    let closing = until_blocked({
        let server = Arc::clone(&server);
        move || server.server_close()
    });
    assert!(!closing.is_finished());
    let refused =
        TcpStream::connect(server.server_address().to_socket_addr().unwrap()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    gate.open();
    assert_eq!(read_all(&mut client), b"done");
    closing.join().unwrap();
}

#[test]
fn b44_closing_within_a_time_returns_the_number_of_requests_left() {
    let (server, gate, entered) = gated();
    let server = server.build().unwrap();
    let mut clients = [b"1", b"2"].map(|name| client_with(&server, name));
    for _ in &clients {
        server.handle_request().unwrap();
        next(&entered);
    }
    assert_eq!(server.server_close_within(Duration::from_millis(20)), 2);
    assert_eq!(server.server_close_within(Duration::ZERO), 2);
    gate.open();
    assert_eq!(clients.each_mut().map(read_all), [b"done"; 2]);
    assert_eq!(server.server_close_within(NEVER), 0);
}

#[test]
fn b45_a_thread_that_is_done_takes_a_later_request() {
    let (sender, numbers) = mpsc::channel();
    let server = threading(move |_| {
        sender.send(thread_number()).unwrap();
        Ok(())
    });
    let server = serve(server.build().unwrap(), NEVER);
    let mut seen = HashSet::new();
    // On a busy machine a thread may wait for a processor for so long that another takes its
    // place. It parks, and takes a later request.
    let reused = (0..20).any(|_| {
        assert_eq!(read_all(&mut connect(&server)), b"");
        let number = next(&numbers);
        wait_until_blocked(number);
        !seen.insert(number)
    });
    assert!(reused, "each request had a thread of its own");
}

#[test]
fn a_request_may_outlive_a_server_that_does_not_wait() {
    let (server, gate, entered) = gated();
    let threading = Threading { block_on_close: false, ..Threading::new() };
    let server: Server = server.concurrency(Concurrency::Threading(threading)).build().unwrap();
    let mut client = client_with(&server, b"x");
    server.handle_request().unwrap();
    next(&entered);
    drop(server);
    gate.open();
    assert_eq!(read_all(&mut client), b"done");
}

#[test]
fn all_sockets_of_a_server_are_served_by_one_loop() {
    let server = threading(echo).bind(localhost()).bind("tcp://[::1]:0".parse().unwrap());
    let server = serve(server.build().unwrap(), NEVER);
    assert_eq!(server.endpoints().len(), 3);
    let mut clients: Vec<TcpStream> = server
        .endpoints()
        .iter()
        .map(|endpoint| connect_to(endpoint.address().to_socket_addr().unwrap()).unwrap())
        .collect();
    for client in &mut clients {
        client.write_all(b"hello").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(read_all(client), b"hello");
    }
    wait_until("the loop is idle", || server.server_close_within(NEVER) == 0);
}

#[test]
fn a_handler_that_closes_its_own_server_does_not_wait_for_itself() {
    let (tell, told) = mpsc::channel::<Arc<Server>>();
    let told = std::sync::Mutex::new(told);
    let handler = move |request: &Request| {
        let server = told.lock().unwrap().recv().unwrap();
        server.server_close();
        request.sendall(b"closed")
    };
    let server = Arc::new(threading(handler).build().unwrap());
    let serving = Arc::clone(&server);
    let running = thread::spawn(move || serving.serve_forever(NEVER));
    let mut client = TcpStream::connect(server.server_address().to_socket_addr().unwrap()).unwrap();
    tell.send(Arc::clone(&server)).unwrap();
    assert_eq!(read_all(&mut client), b"closed");
    running.join().unwrap().unwrap();
    assert_eq!(server.fileno(), None);
}
