//! The replies of datagram servers: their source, their destination, and replies that
//! cannot be sent.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;

use common::{
    Gate, Gram, NEVER, datagram_endpoints, echo_datagrams, errors, next, next_error, recorder,
    serve, udp, until_blocked,
};
use rustix::io::Errno;
use socketserver::{
    Address, AddressFamily, BaseRequestHandler, Blame, BuildError, Concurrency, Context, Endpoint,
    HandlerError, Request, RequestHandlerClass, Server, Threading,
};

fn threading() -> Concurrency {
    Concurrency::Threading(Threading::new())
}

/// CPython's `DatagramRequestHandler`: the data that was written leaves in `finish`.
#[derive(Default)]
struct Collects {
    wfile: Vec<u8>,
}

impl BaseRequestHandler for Collects {
    fn handle(&mut self, cx: &Context<'_>) -> Result<(), HandlerError> {
        match cx.request.data() {
            b"nothing" => Ok(()),
            data => {
                self.wfile.extend_from_slice(data);
                if data == b"partial" { Err("failed".into()) } else { Ok(()) }
            }
        }
    }

    fn finish(&mut self, cx: &Context<'_>) -> Result<(), HandlerError> {
        Ok(cx.request.sendto(&self.wfile, cx.client_address).map(drop)?)
    }
}

#[test]
fn b57_finish_sends_one_datagram_even_if_handle_failed() {
    let (hooks, events) = recorder();
    let server = Server::builder(RequestHandlerClass::<Collects>::new()).hooks(hooks);
    let server = serve(server.bind(udp()).build().unwrap(), NEVER);
    let client = Gram::new(server.server_address());
    for (sent, answer) in [("all", "all"), ("nothing", ""), ("partial", "partial"), ("x", "x")] {
        assert_eq!(client.talk(sent.as_bytes()), answer.as_bytes());
    }
    assert!(client.has_nothing());
    drop(server);
    assert_eq!(errors(&events).len(), 1, "of `partial`");
}

#[test]
fn b58_a_client_without_an_address_cannot_be_answered_and_the_next_one_can() {
    let (_directory, endpoints) = datagram_endpoints();
    for endpoint in endpoints.iter().skip(2) {
        let (hooks, events) = recorder();
        let server = serve(echo_datagrams(endpoint).hooks(hooks).build().unwrap(), NEVER);
        Gram::unbound(server.server_address()).send(b"x");
        let (blame, reason, text) = next_error(&events);
        assert_eq!((blame, reason), (Blame::Client, "no-address"), "{text}");
        assert_eq!(Gram::new(server.server_address()).talk(b"next"), b"next");
    }
}

#[test]
fn b59_a_reply_that_is_too_long_is_an_error_and_is_not_sent() {
    let (_directory, endpoints) = datagram_endpoints();
    for endpoint in &endpoints {
        let (hooks, events) = recorder();
        let handler = |request: &Request, client: &Address, _: &_| {
            let size = std::str::from_utf8(request.data()).unwrap().parse().unwrap();
            request.sendto(&vec![b'x'; size], client).map(drop)
        };
        let server = Server::builder(handler).bind(endpoint.clone()).hooks(hooks);
        let server = serve(server.build().unwrap(), NEVER);
        let client = Gram::new(server.server_address());
        let (fits, too_long) = match endpoint.address().family() {
            AddressFamily::Inet => (65_507, 65_508),
            AddressFamily::Inet6 => (65_507, 65_528),
            AddressFamily::Unix => (65_508, 4 << 20),
        };
        client.send(too_long.to_string().as_bytes());
        let (blame, reason, text) = next_error(&events);
        assert_eq!((blame, reason), (Blame::Guest, "error"), "{text}");
        assert!(text.contains("too long"), "{text}");
        assert_eq!(client.talk(fits.to_string().as_bytes()).len(), fits, "{endpoint}");
        assert!(client.has_nothing());
    }
}

#[test]
fn b60_a_udp_client_that_has_gone_is_no_error() {
    for endpoint in ["udp://127.0.0.1:0", "udp://[::1]:0"] {
        let (hooks, events) = recorder();
        let server = echo_datagrams(&endpoint.parse().unwrap()).hooks(hooks).build().unwrap();
        for _ in 0..3 {
            let client = Gram::new(server.server_address());
            client.send(b"x");
            drop(client);
            server.handle_request().unwrap();
        }
        let server = serve(server, NEVER);
        assert_eq!(Gram::new(server.server_address()).talk(b"next"), b"next");
        drop(server);
        assert_eq!(errors(&events), []);
    }
}

#[test]
fn b60_a_unix_client_that_has_gone_is_an_error() {
    let (directory, endpoints) = datagram_endpoints();
    let (hooks, events) = recorder();
    let server = echo_datagrams(&endpoints[2]).hooks(hooks).build().unwrap();
    let path = directory.path().join("client");
    for (unlink, errno) in [(false, Errno::CONNREFUSED), (true, Errno::NOENT)] {
        let client = Gram::unbound(server.server_address());
        client.socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
        client.send(b"x");
        drop(client);
        if unlink {
            std::fs::remove_file(&path).unwrap();
        }
        server.handle_request().unwrap();
        let (blame, reason, text) = next_error(&events);
        assert_eq!(text, io::Error::from(errno).to_string());
        if !unlink {
            assert_eq!((blame, reason), (Blame::Client, "connection-lost"));
        }
        let _ = std::fs::remove_file(&path);
    }
    let server = serve(server, NEVER);
    assert_eq!(Gram::new(server.server_address()).talk(b"next"), b"next");
}

#[test]
fn b61_replies_come_from_the_servers_own_address() {
    let (_directory, endpoints) = datagram_endpoints();
    for concurrency in [Concurrency::Sync, threading()] {
        for endpoint in &endpoints {
            let server =
                echo_datagrams(endpoint).concurrency(concurrency.clone()).remove_stale_socket(true);
            let server = serve(server.build().unwrap(), NEVER);
            let client = Gram::new(server.server_address());
            client.send(b"x");
            let from = server.server_address().to_string();
            assert_eq!(client.receive_from(), (b"x".to_vec(), from));
            let client = client.connected();
            assert_eq!(client.talk(b"for this client only"), b"for this client only");
        }
    }
}

#[test]
fn b61_a_sync_server_answers_in_order_and_a_unix_socket_loses_nothing() {
    let (_directory, endpoints) = datagram_endpoints();
    for endpoint in endpoints.iter().skip(2) {
        let server = serve(echo_datagrams(endpoint).build().unwrap(), NEVER);
        let client = Arc::new(Gram::new(server.server_address()));
        let sending = thread::spawn({
            let client = Arc::clone(&client);
            move || (0..1000).for_each(|i: u32| client.send(&i.to_be_bytes()))
        });
        for i in 0..1000_u32 {
            assert_eq!(client.receive(), i.to_be_bytes());
        }
        sending.join().unwrap();
    }
}

#[test]
fn b62_the_socket_survives_every_error() {
    let (_directory, endpoints) = datagram_endpoints();
    for endpoint in &endpoints {
        let (hooks, events) = recorder();
        let handler = |request: &Request, client: &Address, _: &_| match request.data() {
            b"panic" => panic!("panicked"),
            b"error" => Err(HandlerError::from("failed")),
            data => Ok(request.sendto(data, client).map(drop)?),
        };
        let server = Server::builder(handler).bind(endpoint.clone()).hooks(hooks);
        let server = serve(server.build().unwrap(), NEVER);
        let client = Gram::new(server.server_address());
        for (order, reason) in [("panic", "panic"), ("error", "error")] {
            client.send(order.as_bytes());
            assert_eq!(next_error(&events).1, reason);
            assert_eq!(client.talk(b"next"), b"next");
        }
    }
}

/// Returns a server whose first request waits at the gate before its answer.
fn gated(endpoint: &Endpoint, threading: Threading) -> (Server, Gate, Receiver<()>) {
    let gate = Gate::default();
    let (sender, entered) = mpsc::channel();
    let handler = {
        let gate = gate.clone();
        move |request: &Request, client: &Address, _: &_| {
            if request.data() == b"first" {
                sender.send(()).unwrap();
                gate.wait();
            }
            request.sendto(request.data(), client).map(drop)
        }
    };
    let concurrency = Concurrency::Threading(threading);
    let server = Server::builder(handler).bind(endpoint.clone()).concurrency(concurrency);
    (server.build().unwrap(), gate, entered)
}

#[test]
fn b64_threads_answer_in_any_order_each_with_its_own_datagram() {
    let (_directory, endpoints) = datagram_endpoints();
    for endpoint in &endpoints {
        let (server, gate, entered) = gated(endpoint, Threading::new());
        let server = serve(server, NEVER);
        let client = Gram::new(server.server_address());
        client.send(b"first");
        next(&entered);
        assert_eq!(client.talk(b"second"), b"second");
        assert_eq!(client.talk(b"third"), b"third");
        gate.open();
        assert_eq!(client.receive(), b"first");
    }
}

/// CPython closes the socket first, and the late reply is an `EBADF`.
#[test]
fn b46_a_late_reply_is_sent_because_the_request_holds_the_socket() {
    let (_directory, endpoints) = datagram_endpoints();
    for endpoint in &endpoints {
        let (server, gate, entered) = gated(endpoint, Threading::new());
        let client = Gram::new(server.server_address()).connected();
        client.send(b"first");
        server.handle_request().unwrap();
        next(&entered);
        let closing = until_blocked(move || server.server_close());
        assert!(!closing.is_finished(), "it waits for the request");
        gate.open();
        assert_eq!(client.receive(), b"first", "{endpoint}");
        closing.join().unwrap();
    }
}

#[test]
fn b46_the_socket_is_closed_when_the_last_request_is_done() {
    let threading = Threading { block_on_close: false, ..Threading::new() };
    let (server, gate, entered) = gated(&udp(), threading);
    let bound = server.endpoints()[0].clone();
    let client = Gram::new(server.server_address()).connected();
    client.send(b"first");
    server.handle_request().unwrap();
    next(&entered);
    drop(server);
    let taken = echo_datagrams(&bound).build();
    assert!(matches!(taken, Err(BuildError::Bind { .. })), "the request holds it");
    gate.open();
    assert_eq!(client.receive(), b"first");
    common::wait_until("the port is free", || echo_datagrams(&bound).build().is_ok());
}

#[test]
fn a_reply_may_go_to_another_address() {
    let (to, addresses) = mpsc::channel::<Address>();
    let addresses = Mutex::new(addresses);
    let handler = move |request: &Request, _: &Address, _: &_| {
        let other = next(&addresses.lock().unwrap());
        assert_eq!(request.sendto(request.data(), &other)?, request.data().len());
        Ok::<_, io::Error>(())
    };
    let server = serve(Server::builder(handler).bind(udp()).build().unwrap(), NEVER);
    let [one, other] = [(), ()].map(|()| Gram::new(server.server_address()));
    to.send(other.address().parse::<SocketAddr>().unwrap().into()).unwrap();
    one.send(b"for the other");
    assert_eq!(other.receive(), b"for the other");
    assert!(one.has_nothing());
}
