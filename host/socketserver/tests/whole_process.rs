//! Tests that concern the whole process: its descriptors, its threads, and the limits on
//! both.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use common::{
    Event, NEVER, SOON, builder, client_with, connect, descriptors, echo, in_child, next,
    next_error, read_all, recorder, request_threads, rounds, serve, talk, thread_number,
    until_blocked, wait_until, wait_until_blocked,
};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use socketserver::{
    Address, Blame, BuildError, Concurrency, Endpoint, Request, Server, ServerBuilder, Threading,
};

/// The tests of this file run one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn threading() -> ServerBuilder {
    builder(echo).concurrency(Concurrency::Threading(Threading::new()))
}

/// CPython's `test_tcpserver_bind_leak`.
#[test]
fn b02_failed_binds_leave_no_descriptor() {
    let _alone = alone();
    let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::tcp(occupied.local_addr().unwrap());
    let before = descriptors();
    for _ in 0..1024 {
        let built = Server::builder(|request: &Request, _: &Address, _: &_| echo(request))
            .bind(common::localhost())
            .bind(endpoint.clone())
            .build();
        assert!(matches!(built, Err(BuildError::Bind { .. })));
    }
    assert_eq!(descriptors(), before);
}

#[test]
fn b45_threads_and_descriptors_stay_the_same_over_two_thousand_requests() {
    let _alone = alone();
    wait_until("other servers have gone", || request_threads() == 0);
    let server = Arc::new(threading().build().unwrap());
    let before_the_run = descriptors();
    let running = serve(Arc::clone(&server), NEVER);
    running.wait_until_idle();
    // Those of the run are there from its beginning.
    let before = descriptors();
    for requests in [50, 500] {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..requests {
                        assert_eq!(talk(&server, b"hello"), b"hello");
                    }
                });
            }
        });
        // The last threads may still be about to close their sockets.
        wait_until("all is closed", || descriptors() == before);
    }
    let threads = request_threads();
    assert!(threads <= 16, "{threads} threads for 4 clients");
    server.shutdown().unwrap();
    wait_until("the descriptors of the run are closed", || descriptors() == before_the_run);
    drop(running);
}

/// CPython's `test_threads_reaped`, which asserts that fewer than ten are remembered.
#[test]
fn b45_ten_requests_in_turn_leave_one_thread() {
    let _alone = alone();
    wait_until("other servers have gone", || request_threads() == 0);
    let (sender, numbers) = mpsc::channel();
    let server = builder(move |_| {
        sender.send(thread_number()).unwrap();
        Ok(())
    });
    let server = server.concurrency(Concurrency::Threading(Threading::new())).build().unwrap();
    for _ in 0..10 {
        let mut client = connect(&server);
        server.handle_request().unwrap();
        assert_eq!(read_all(&mut client), b"");
        wait_until_blocked(next(&numbers));
    }
    assert_eq!(request_threads(), 1);
}

#[test]
fn b45_threads_that_wait_for_a_request_end_with_the_server() {
    let _alone = alone();
    wait_until("other servers have gone", || request_threads() == 0);
    let server = threading().build().unwrap();
    let clients: Vec<TcpStream> = (0..3).map(|_| connect(&server)).collect();
    for _ in &clients {
        server.handle_request().unwrap();
    }
    wait_until("each has a thread", || request_threads() == 3);
    for mut client in clients {
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut client), b"");
    }
    let begun = Instant::now();
    server.server_close();
    wait_until("the threads have gone", || request_threads() == 0);
    assert!(begun.elapsed() < Duration::from_secs(5), "they did not just run out of patience");
}

/// Opens descriptors until none is left.
fn take_descriptors() -> Vec<OwnedFd> {
    let mut taken = vec![OwnedFd::from(fs::File::open("/dev/null").unwrap())];
    while let Ok(fd) = taken[0].try_clone() {
        taken.push(fd);
    }
    taken
}

fn lower(resource: Resource, current: u64) -> Rlimit {
    let limit = getrlimit(resource);
    setrlimit(resource, Rlimit { current: Some(current), ..limit }).unwrap();
    limit
}

#[test]
fn b23_b93_without_descriptors_the_loop_pauses_and_then_serves() {
    let _alone = alone();
    in_child("b23_b93_without_descriptors_the_loop_pauses_and_then_serves", || {
        let (hooks, events) = recorder();
        let server = builder(echo).hooks(hooks).build().unwrap();
        let mut client = client_with(&server, b"patient");
        client.shutdown(Shutdown::Write).unwrap();
        lower(Resource::Nofile, 64);
        let taken = take_descriptors();
        let server = serve(server, SOON);

        let failed_accepts = |count: usize| {
            let is_accept = |event: &Event| matches!(event, Event::AcceptError(..));
            (0..count)
                .map(|_| {
                    let event = std::iter::repeat_with(|| next(&events)).find(is_accept);
                    assert_eq!(
                        event,
                        Some(Event::AcceptError(
                            io::Error::from(Errno::MFILE).kind(),
                            Some(Errno::MFILE.raw_os_error())
                        ))
                    );
                    Instant::now()
                })
                .collect::<Vec<_>>()
        };
        let times = failed_accepts(4);
        let paused = times[3] - times[0];
        assert!(paused >= Duration::from_millis(200), "3 pauses took {paused:?}");
        rounds(&events, 3);
        drop(taken);
        assert_eq!(read_all(&mut client), b"patient");
        server.shutdown().unwrap();
    });
}

#[test]
fn b22_a_failed_accept_ends_handle_request() {
    let _alone = alone();
    in_child("b22_a_failed_accept_ends_handle_request", || {
        let (hooks, events) = recorder();
        let server = builder(echo).hooks(hooks).build().unwrap();
        let mut client = client_with(&server, b"patient");
        client.shutdown(Shutdown::Write).unwrap();
        lower(Resource::Nofile, 64);
        let taken = take_descriptors();
        server.handle_request().unwrap();
        assert!(matches!(events.try_iter().collect::<Vec<_>>()[..], [Event::AcceptError(..)]));
        drop(taken);
        server.handle_request().unwrap();
        assert_eq!(read_all(&mut client), b"patient");
    });
}

#[test]
fn b93_a_shutdown_is_noticed_during_a_pause() {
    let _alone = alone();
    in_child("b93_a_shutdown_is_noticed_during_a_pause", || {
        let (hooks, events) = recorder();
        let server = builder(echo).hooks(hooks).build().unwrap();
        let _client = connect(&server);
        lower(Resource::Nofile, 64);
        let _taken = take_descriptors();
        let server = serve(server, NEVER);
        assert!(matches!(next(&events), Event::AcceptError(..)));
        server.shutdown().unwrap();
        server.join().unwrap();
    });
}

/// Returns a line of `/proc/self/task/TID/status`.
fn status(thread: i32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/self/task/{thread}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The limit on processes does not bind root, but no thread starts without
/// memory for its stack either.
#[test]
fn b47_a_thread_that_cannot_start_fails_its_request_only() {
    let _alone = alone();
    in_child("b47_a_thread_that_cannot_start_fails_its_request_only", || {
        let (hooks, events) = recorder();
        let server = threading().hooks(hooks).build().unwrap();
        let mut lost = client_with(&server, b"lost");
        let limit = lower(Resource::As, (status(thread_number(), "VmSize") + 1024) * 1024);
        server.handle_request().unwrap();
        setrlimit(Resource::As, limit).unwrap();
        let (blame, reason, text) = next_error(&events);
        assert_eq!((blame, reason), (Blame::Host, "no-thread"), "{text}");
        assert_eq!(read_all(&mut lost), b"");

        let server = serve(server, NEVER);
        assert_eq!(talk(&server, b"served"), b"served");
        server.shutdown().unwrap();
        assert_eq!(server.server_close_within(NEVER), 0);
    });
}

/// The handlers of Rust's runtime for these signals let the first signal pass if it does
/// not come from the guard page of the stack.
#[test]
fn b78_a_signal_does_not_end_a_call_that_waits() {
    let _alone = alone();
    in_child("b78_a_signal_does_not_end_a_call_that_waits", || {
        let (request, mut client) = common::pair();
        request.settimeout(Some(common::WAIT));
        let (sender, number) = mpsc::channel();
        let receiving = until_blocked(move || {
            sender.send(thread_number()).unwrap();
            request.recv(1)
        });
        let number = next(&number);
        for signal in [Signal::SEGV, Signal::BUS] {
            wait_until_blocked(number);
            let switches = status(number, "voluntary_ctxt_switches");
            kill_process(Pid::from_raw(number).unwrap(), signal).unwrap();
            wait_until("the signal has come", || {
                status(number, "voluntary_ctxt_switches") > switches
            });
        }
        wait_until_blocked(number);
        assert!(!receiving.is_finished());
        client.write_all(b"x").unwrap();
        assert_eq!(receiving.join().unwrap().unwrap(), b"x");
    });
}

#[test]
fn b78_a_broken_pipe_is_an_error_and_no_signal() {
    let _alone = alone();
    let (request, _client) = common::pair();
    request.shutdown(Shutdown::Write).unwrap();
    assert_eq!(request.send(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}
