//! `SystemExit` in a handler: it is not reported, and its effect depends on the
//! concurrency. The tests in a child are in `forking_failures.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use common::{
    Event, Gram, NEVER, client_with, errors, in_time, read_all, recorder, serve, talk, udp,
};
use socketserver::{
    Address, BaseRequestHandler, Concurrency, Context, Endpoint, HandlerError, Request,
    RequestHandlerClass, ServeError, Server, ServerBuilder, SystemExit, Threading,
};

/// A handler that prints its steps, and fails in the steps that the client names: `e` for
/// an error and `x` for an exit, each in `setup`, `handle` and `finish`; other letters
/// succeed.
#[derive(Default)]
struct Steps(Vec<u8>);

impl Steps {
    fn step(&self, cx: &Context<'_>, place: usize) -> Result<(), HandlerError> {
        cx.request.sendall(&self.0[place..=place])?;
        match self.0[place] {
            b'e' => Err(format!("error {place}").into()),
            b'x' => Err(SystemExit(i32::try_from(place).unwrap()).into()),
            _ => Ok(()),
        }
    }
}

impl BaseRequestHandler for Steps {
    fn setup(&mut self, cx: &Context<'_>) -> Result<(), HandlerError> {
        self.0 = cx.request.recv(3)?;
        self.step(cx, 0)
    }

    fn handle(&mut self, cx: &Context<'_>) -> Result<(), HandlerError> {
        self.step(cx, 1)
    }

    fn finish(&mut self, cx: &Context<'_>) -> Result<(), HandlerError> {
        self.step(cx, 2)
    }
}

fn steps() -> (ServerBuilder, Receiver<Event>) {
    let (hooks, events) = recorder();
    let server = Server::builder(RequestHandlerClass::<Steps>::new());
    (server.bind(common::localhost()).hooks(hooks), events)
}

fn status(result: Result<(), ServeError>) -> Option<i32> {
    match result {
        Ok(()) => None,
        Err(ServeError::SystemExit(SystemExit(status))) => Some(status),
        Err(other) => panic!("{other}"),
    }
}

/// Returns the result of a run of the loop, which must end.
fn run(server: &Arc<Server>) -> Option<i32> {
    let server = Arc::clone(server);
    status(in_time(move || server.serve_forever(NEVER)))
}

/// CPython's `test_sync_handled` and `test_sync_not_handled`.
#[test]
fn b20_b31_the_last_error_decides_whether_the_request_is_an_exit() {
    for (order, seen, exit, reported) in [
        ("...", "...", None, None),
        (".e.", ".e.", None, Some("error 1")),
        (".x.", ".x.", Some(1), None),
        ("x..", "x", Some(0), None),
        ("..x", "..x", Some(2), None),
        (".ex", ".ex", Some(2), None),
        (".xx", ".xx", Some(2), None),
        (".xe", ".xe", None, Some("error 2; before that, handle: the handler exits with status 1")),
    ] {
        let (server, events) = steps();
        let server = server.build().unwrap();
        let mut client = client_with(&server, format!("{order}unread").as_bytes());
        assert_eq!(status(server.handle_request()), exit, "{order}");
        assert_eq!(read_all(&mut client), seen.as_bytes(), "{order}");
        let errors = errors(&events).into_iter().map(|event| match event {
            Event::Error { text, .. } => text,
            other => panic!("{other:?}"),
        });
        assert_eq!(errors.collect::<Vec<_>>(), reported.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn b20_an_exit_ends_the_loop_and_leaves_the_server_listening() {
    let (server, events) = steps();
    let server = Arc::new(server.build().unwrap());
    let mut clients = [".x.", "x..", "..."].map(|order| client_with(&server, order.as_bytes()));
    assert_eq!(run(&server), Some(1));
    assert_eq!(read_all(&mut clients[0]), b".x.");
    assert_eq!(server.shutdown(), Ok(()), "the loop has ended");
    assert!(server.fileno().is_some());
    // This asks the next run to end, as in CPython.
    assert_eq!(run(&server), None);
    assert_eq!(run(&server), Some(0));
    assert_eq!(read_all(&mut clients[1]), b"x");
    let server = serve(server, NEVER);
    assert_eq!(read_all(&mut clients[2]), b"...");
    assert_eq!(talk(&server, b"..."), b"...");
    drop(server);
    assert_eq!(errors(&events), []);
}

#[test]
fn b20_a_loop_that_an_exit_has_ended_calls_no_service_actions() {
    let (server, events) = steps();
    let server = Arc::new(server.build().unwrap());
    let mut client = client_with(&server, b".x.");
    assert_eq!(run(&server), Some(1));
    let address = Address::from(client.local_addr().unwrap());
    assert_eq!(events.try_iter().collect::<Vec<_>>(), [Event::Verify(address)]);
    assert_eq!(read_all(&mut client), b".x.");
}

/// CPython's `test_threading_handled` and `test_threading_not_handled`.
#[test]
fn b42_an_exit_in_a_thread_ends_only_the_request() {
    let (server, events) = steps();
    let threading = Concurrency::Threading(Threading::new());
    let server = serve(server.concurrency(threading).build().unwrap(), NEVER);
    for order in [".x.", "x..", "..x", "..."] {
        let mut client = client_with(&server, order.as_bytes());
        let seen = if order.starts_with('x') { "x" } else { order };
        assert_eq!(read_all(&mut client), seen.as_bytes());
    }
    server.shutdown().unwrap();
    server.server_close();
    assert_eq!(errors(&events), []);
    server.join().unwrap();
}

fn exiting(endpoint: Endpoint) -> ServerBuilder {
    let handler = |request: &Request, client: &Address, _: &_| {
        if request.data() == b"exit" {
            return Err(HandlerError::from(SystemExit(-1)));
        }
        Ok(request.sendto(request.data(), client).map(drop)?)
    };
    Server::builder(handler).bind(endpoint)
}

#[test]
fn b20_b62_an_exit_ends_the_loop_of_a_datagram_server_and_not_its_socket() {
    let (hooks, events) = recorder();
    let server = Arc::new(exiting(udp()).hooks(hooks).build().unwrap());
    let client = Gram::new(server.server_address());
    client.send(b"exit");
    client.send(b"next");
    assert_eq!(run(&server), Some(-1));
    assert_eq!(status(server.handle_request()), None);
    assert_eq!(client.receive(), b"next");
    assert_eq!(errors(&events), []);
}

#[test]
fn an_exit_is_its_own_error() {
    let error = HandlerError::from(SystemExit(3));
    assert_eq!(error.system_exit(), Some(SystemExit(3)));
    assert_eq!(
        (error.reason().as_str(), error.to_string().as_str()),
        ("exit", "the handler exits with status 3")
    );
    assert_eq!(HandlerError::from("exit").system_exit(), None);
    let end = ServeError::SystemExit(SystemExit(3));
    assert_eq!(end.to_string(), "the handler exits with status 3");
}
