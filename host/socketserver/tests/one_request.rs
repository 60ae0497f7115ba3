//! The life of one request: its handler, its errors and its end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{self, Write};
use std::net::Shutdown;
use std::sync::mpsc::{self};
use std::sync::{Arc, OnceLock};

use common::{
    NEVER, O_NONBLOCK, SOON, builder, client_with, connect, connect_to, errors, flags, next,
    read_all, recorder, serve, talk, thread_number, wait_until_blocked,
};
use socketserver::{
    Address, BaseRequestHandler, Context, HandlerError, Request, RequestHandlerClass, Server,
};

/// A handler that sends each of its steps to the client, and fails where the client says.
#[derive(Default)]
struct Steps {
    fails_in: Vec<u8>,
    calls: usize,
}

impl Steps {
    fn step(&mut self, cx: &Context<'_>, name: &'static str) -> Result<(), HandlerError> {
        self.calls += 1;
        cx.request.sendall(format!("{name}{} ", self.calls).as_bytes())?;
        if self.fails_in.contains(&name.as_bytes()[0]) {
            return Err(HandlerError::from(format!("{name} failed")));
        }
        Ok(())
    }
}

impl BaseRequestHandler for Steps {
    fn setup(&mut self, cx: &Context<'_>) -> Result<(), HandlerError> {
        self.fails_in = cx.request.recv(10)?;
        self.step(cx, "setup")
    }

    fn handle(&mut self, cx: &Context<'_>) -> Result<(), HandlerError> {
        self.step(cx, "handle")
    }

    fn finish(&mut self, cx: &Context<'_>) -> Result<(), HandlerError> {
        self.step(cx, "finish")
    }
}

/// Returns the data that the client receives, and the reports, when the steps with these
/// first letters fail.
fn steps(fails_in: &[u8]) -> (String, Vec<String>) {
    let (hooks, events) = recorder();
    let server = Server::builder(RequestHandlerClass::<Steps>::new())
        .bind(common::localhost())
        .hooks(hooks)
        .build()
        .unwrap();
    let mut client = client_with(&server, fails_in);
    server.handle_request().unwrap();
    let reports = events.try_iter().filter_map(|event| match event {
        common::Event::Error { text, .. } => Some(text),
        _ => None,
    });
    (String::from_utf8(read_all(&mut client)).unwrap(), reports.collect())
}

#[test]
fn b28_setup_handle_and_finish_run_in_this_order() {
    assert_eq!(steps(b"-"), ("setup1 handle2 finish3 ".to_owned(), vec![]));
}

#[test]
fn b28_a_handler_that_overrides_nothing_ends_the_connection() {
    #[derive(Default)]
    struct Silent;
    impl BaseRequestHandler for Silent {}

    let server = Server::builder(RequestHandlerClass::<Silent>::default());
    let server = server.bind(common::localhost()).build().unwrap();
    let mut client = client_with(&server, b"hello");
    server.handle_request().unwrap();
    assert_eq!(read_all(&mut client), b"");
}

#[test]
fn b29_after_a_failed_setup_nothing_else_runs() {
    assert_eq!(steps(b"s"), ("setup1 ".to_owned(), vec!["setup failed".to_owned()]));
}

#[test]
fn b30_finish_runs_after_a_failed_handle_and_may_still_send() {
    let seen = "setup1 handle2 finish3 ".to_owned();
    assert_eq!(steps(b"h"), (seen, vec!["handle failed".to_owned()]));
}

#[test]
fn b31_when_both_fail_the_error_is_that_of_finish_and_names_the_other() {
    let (seen, reports) = steps(b"hf");
    assert_eq!(seen, "setup1 handle2 finish3 ");
    assert_eq!(reports, ["finish failed; before that, handle: handle failed"]);
    assert_eq!(steps(b"f").1, ["finish failed"]);
}

#[test]
fn b32_each_request_has_its_own_handler() {
    let server = Server::builder(RequestHandlerClass::<Steps>::new());
    let server = serve(server.bind(common::localhost()).build().unwrap(), NEVER);
    for _ in 0..3 {
        assert_eq!(talk(&server, b"-"), b"setup1 handle2 finish3 ");
    }
}

#[test]
fn b34_a_client_with_unread_input_reads_the_reply_and_a_clean_end() {
    let server = builder(|request| {
        request.recv(1)?;
        request.sendall(&[b'r'; 1000])
    });
    let server = server.build().unwrap();
    for _ in 0..50 {
        let mut client = client_with(&server, &[b'x'; 10_000]);
        server.handle_request().unwrap();
        assert_eq!(read_all(&mut client), [b'r'; 1000]);
    }
}

#[test]
fn b34_b36_the_connection_ends_with_the_handler_even_if_a_clone_exists() {
    let kept = Arc::new(OnceLock::new());
    let server = builder({
        let kept = Arc::clone(&kept);
        move |request| {
            kept.set(request.clone()).unwrap();
            request.sendall(b"bye")
        }
    });
    let server = server.build().unwrap();
    let mut client = connect(&server);
    server.handle_request().unwrap();
    assert_eq!(read_all(&mut client), b"bye");
    assert_eq!(kept.get().unwrap().getpeername().unwrap(), client.local_addr().unwrap().into());
}

#[test]
fn b35_a_handler_may_have_ended_the_connection_itself() {
    let (hooks, events) = recorder();
    let server = builder(|request| {
        match &request.recv(1)?[..] {
            b"c" => request.close(),
            b"w" => request.shutdown(Shutdown::Write)?,
            b"b" => request.shutdown(Shutdown::Both)?,
            other => panic!("{other:?}"),
        }
        Ok(())
    });
    let server = server.hooks(hooks).build().unwrap();
    for half_closed in [false, true] {
        for order in [b"c", b"w", b"b"] {
            let mut client = client_with(&server, order);
            if half_closed {
                client.shutdown(Shutdown::Write).unwrap();
            }
            server.handle_request().unwrap();
            assert_eq!(read_all(&mut client), b"");
        }
    }
    assert_eq!(errors(&events), []);
}

#[test]
fn b37_b95_a_request_blocks_without_a_timeout_whatever_the_setting_of_the_listener() {
    let (sender, seen) = mpsc::channel();
    let server = builder(move |request| {
        let flags = flags(request.fileno().unwrap());
        sender.send((request.gettimeout(), flags & O_NONBLOCK, thread_number())).unwrap();
        request.sendall(&request.recv(1)?)
    });
    let server = server.timeout(Some(SOON)).build().unwrap();
    let mut client = connect(&server);
    let serving = std::thread::spawn(move || server.handle_request());
    let (timeout, nonblocking, thread) = next(&seen);
    assert_eq!((timeout, nonblocking), (None, 0));
    // This takes longer than the timeout of the server.
    wait_until_blocked(thread);
    client.write_all(b"x").unwrap();
    assert_eq!(read_all(&mut client), b"x");
    serving.join().unwrap().unwrap();
}

#[test]
fn b38_the_client_address_is_that_of_the_other_end() {
    for host in ["tcp://127.0.0.1:0", "tcp://[::1]:0"] {
        let (sender, seen) = mpsc::channel();
        let server = Server::builder(move |request: &Request, client: &Address, _: &_| {
            let ends = (client.clone(), request.getpeername()?, request.getsockname()?);
            sender.send(ends).unwrap();
            Ok::<_, io::Error>(())
        });
        let server = server.bind(host.parse().unwrap()).build().unwrap();
        let client = connect_to(server.server_address().to_socket_addr().unwrap()).unwrap();
        server.handle_request().unwrap();
        let address = Address::from(client.local_addr().unwrap());
        assert_eq!(next(&seen), (address.clone(), address, server.server_address().clone()));
    }
}
