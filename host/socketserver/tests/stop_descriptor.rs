//! `shutdown_when_readable`: a descriptor that ends the loop.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use common::{
    Event, NEVER, builder, client_with, connect, descriptors, echo, in_child, in_time, next,
    recorder, serve, talk, until_blocked, wait_until,
};
use socketserver::{Address, Concurrency, Server, ServerBuilder, Threading};

/// Returns a server, and the descriptor that ends its loop.
fn stoppable() -> (ServerBuilder, UnixStream) {
    let (stop, end) = UnixStream::pair().unwrap();
    (builder(echo).shutdown_when_readable(stop.into()), end)
}

/// The two ways to make a descriptor readable.
fn ways() -> [fn(UnixStream) -> Option<UnixStream>; 2] {
    let byte = |mut end: UnixStream| {
        end.write_all(b"!").unwrap();
        Some(end)
    };
    let close = |_end| None;
    [byte, close]
}

#[test]
fn a_byte_or_the_end_of_the_pipe_ends_serve_forever() {
    for stop in ways() {
        for concurrency in [Concurrency::Sync, Concurrency::Threading(Threading::new())] {
            let (server, end) = stoppable();
            let server = serve(server.concurrency(concurrency).build().unwrap(), NEVER);
            assert_eq!(talk(&server, b"hello"), b"hello");
            server.wait_until_idle();
            let _end = stop(end);
            let shared = server.shared();
            in_time(move || server.join()).unwrap();
            assert!(shared.fileno().is_some(), "it still listens");
            assert_eq!(shared.shutdown(), Ok(()));
        }
    }
}

#[test]
fn a_byte_or_the_end_of_the_pipe_ends_handle_request() {
    for stop in ways() {
        let (hooks, events) = recorder();
        let (server, end) = stoppable();
        let server = Arc::new(server.hooks(hooks).timeout(Some(NEVER)).build().unwrap());
        let waiting = until_blocked({
            let server = Arc::clone(&server);
            move || server.handle_request()
        });
        assert!(!waiting.is_finished());
        let _end = stop(end);
        in_time(move || waiting.join().unwrap()).unwrap();
        assert_eq!(events.try_iter().count(), 0, "that is no timeout");
    }
}

#[test]
fn the_descriptor_is_not_read_so_later_runs_end_at_once() {
    let (hooks, events) = recorder();
    let (server, mut end) = stoppable();
    let server = server.hooks(hooks).timeout(Some(Duration::ZERO));
    let server = Arc::new(server.build().unwrap());
    let _client = client_with(&server, b"x");
    end.write_all(b"!").unwrap();
    for _ in 0..2 {
        let server = Arc::clone(&server);
        in_time(move || server.serve_forever(NEVER).and_then(|()| server.handle_request()))
            .unwrap();
    }
    assert_eq!(events.try_iter().count(), 0);
}

#[test]
fn after_a_read_of_the_descriptor_the_server_can_serve_again() {
    let (stop, mut end) = UnixStream::pair().unwrap();
    let mut reader = stop.try_clone().unwrap();
    let server = Arc::new(builder(echo).shutdown_when_readable(stop.into()).build().unwrap());
    for _ in 0..2 {
        end.write_all(b"!").unwrap();
        let server = Arc::clone(&server);
        in_time(move || server.serve_forever(NEVER)).unwrap();
        reader.read_exact(&mut [0]).unwrap();
    }
    let server = serve(server, NEVER);
    assert_eq!(talk(&server, b"again"), b"again");
}

#[test]
fn a_request_that_runs_is_finished_first() {
    let (hooks, events) = recorder();
    let (stop, end) = UnixStream::pair().unwrap();
    let (sender, entered) = mpsc::channel();
    let server = builder(move |request| {
        sender.send(()).unwrap();
        echo(request)
    });
    let server = server.hooks(hooks).shutdown_when_readable(stop.into()).build().unwrap();
    let mut client = client_with(&server, b"x");
    let server = serve(server, NEVER);
    next(&entered);
    drop(end);
    client.write_all(b"y").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(common::read_all(&mut client), b"xy");
    in_time(move || server.join()).unwrap();
    let address = Address::from(client.local_addr().unwrap());
    assert_eq!(next(&events), Event::Verify(address));
}

#[test]
fn a_shutdown_handle_still_ends_the_loop() {
    let (server, _end) = stoppable();
    let server = serve(server.build().unwrap(), NEVER);
    assert_eq!(talk(&server, b"x"), b"x");
    server.shutdown().unwrap();
    server.join().unwrap();
}

#[test]
fn the_descriptor_is_closed_with_the_server() {
    in_child("the_descriptor_is_closed_with_the_server", || {
        let before = descriptors();
        let (server, mut end) = stoppable();
        let server: Server = server.build().unwrap();
        let handle = server.shutdown_handle();
        drop((connect(&server), server));
        drop(handle);
        assert_eq!(end.read(&mut [0]).unwrap(), 0);
        drop(end);
        wait_until("nothing is left open", || descriptors() == before);
    });
}
