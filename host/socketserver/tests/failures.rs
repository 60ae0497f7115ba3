//! Requests that fail, and the reports of that.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{self, Read};
use std::net::Shutdown;
use std::panic::panic_any;
use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};

use common::{
    NEVER, builder, client_with, connect, echo, errors, in_child, next, next_error, read_all,
    recorder, reset, serve, talk,
};
use socketserver::{Address, Blame, HandlerError, Hooks, Request};

#[test]
fn b25_a_failed_request_is_reported_and_then_shut_down() {
    struct LastWords;
    impl Hooks for LastWords {
        fn handle_error(&self, request: &Request, client: &Address, error: &HandlerError) {
            assert_eq!(request.getpeername().unwrap(), *client);
            request.sendall(error.to_string().as_bytes()).unwrap();
        }
    }
    let server = builder(|_| Err(io::Error::other("sorry"))).hooks(LastWords).build().unwrap();
    let mut client = connect(&server);
    server.handle_request().unwrap();
    assert_eq!(read_all(&mut client), b"sorry");
}

#[test]
fn a_panic_counts_as_an_error_and_the_next_client_is_served() {
    let (hooks, events) = recorder();
    let server = builder(|request| match &request.recv(1)?[..] {
        b"s" => panic!("a text"),
        b"f" => panic!("a text with {}", 1),
        b"n" => panic_any(1),
        data => request.sendall(data),
    });
    let server = serve(server.hooks(hooks).build().unwrap(), NEVER);
    for (order, text) in
        [(b"s", "a text"), (b"f", "a text with 1"), (b"n", "a panic with no message")]
    {
        assert_eq!(talk(&server, order), b"");
        assert_eq!(next_error(&events), (Blame::Guest, "panic", text.to_owned()));
    }
    assert_eq!(talk(&server, b"x"), b"x");
}

/// A value of a panic whose drop panics again.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

#[test]
fn a_panic_whose_value_panics_on_drop_does_not_end_the_loop() {
    struct Throws(Mutex<Sender<()>>);
    impl Hooks for Throws {
        fn handle_error(&self, _request: &Request, _client: &Address, _error: &HandlerError) {
            self.0.lock().unwrap().send(()).unwrap();
            panic_any(Bomb);
        }
    }
    let (sender, thrown) = mpsc::channel();
    let server = builder(|_| panic_any(Bomb)).hooks(Throws(Mutex::new(sender))).build().unwrap();
    for _ in 0..2 {
        let mut client = connect(&server);
        server.handle_request().unwrap();
        assert_eq!(read_all(&mut client), b"");
        next(&thrown);
    }
}

#[test]
fn b33_the_default_report_goes_to_standard_error_and_nothing_else_does() {
    let (stdout, stderr) =
        in_child("b33_the_default_report_goes_to_standard_error_and_nothing_else_does", || {
            let server = builder(|request| match &request.recv(1)?[..] {
                b"!" => Err(io::Error::other("it broke")),
                data => request.sendall(data),
            });
            let server = server.build().unwrap();
            for data in ["x", "", "!", "y"] {
                let mut client = client_with(&server, data.as_bytes());
                client.shutdown(Shutdown::Write).unwrap();
                server.handle_request().unwrap();
                let reply = if data == "!" { "" } else { data };
                assert_eq!(read_all(&mut client), reply.as_bytes());
                if data == "!" {
                    println!("\nfailed: {}", client.local_addr().unwrap());
                }
            }
        });
    let client = stdout.lines().find_map(|line| line.strip_prefix("failed: ")).unwrap();
    let rule = "-".repeat(40);
    assert_eq!(
        stderr,
        format!(
            "{rule}\nException occurred during processing of request from {client}\nguest: it broke\n{rule}\n"
        )
    );
}

#[test]
fn b39_a_client_that_reset_before_accept_is_dispatched_and_reported() {
    let (hooks, events) = recorder();
    let server = builder(echo).hooks(hooks).build().unwrap();
    reset(connect(&server));
    server.handle_request().unwrap();
    let (blame, reason, text) = next_error(&events);
    assert_eq!((blame, reason), (Blame::Client, "connection-lost"), "{text}");
    let mut client = client_with(&server, b"next");
    client.shutdown(Shutdown::Write).unwrap();
    server.handle_request().unwrap();
    let mut reply = String::new();
    client.read_to_string(&mut reply).unwrap();
    assert_eq!((reply.as_str(), errors(&events)), ("next", vec![]));
}
