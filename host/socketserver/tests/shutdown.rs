//! The end of the loop: `shutdown`, and closing while it runs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::HashSet;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use common::{
    Event, Gate, NEVER, builder, client_with, connect, echo, localhost, next, read_all, recorder,
    serve, talk, thread_number, until_blocked, wait_until, wait_until_blocked,
};
use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};
use socketserver::{Address, Concurrency, ServeError, ShutdownError, ShutdownHandle, Threading};

/// A client and the shutdown must become known to the loop at the same time: this happens
/// when its thread wakes late, as on a busy processor.
#[test]
fn b16_a_request_that_is_ready_when_the_shutdown_is_seen_stays_in_the_backlog() {
    let mut here = CpuSet::new();
    here.set(sched_getcpu());
    sched_setaffinity(None, &here).unwrap();
    let (hooks, events) = recorder();
    let server = Arc::new(builder(echo).hooks(hooks).build().unwrap());
    for _ in 0..500 {
        let (sender, number) = mpsc::channel();
        let running = thread::spawn({
            let server = Arc::clone(&server);
            move || {
                rustix::process::nice(19).unwrap();
                sender.send(thread_number()).unwrap();
                server.serve_forever(NEVER)
            }
        });
        wait_until_blocked(next(&number));
        while events.try_recv().is_ok() {}
        let client = connect(&server);
        server.shutdown_handle().request_shutdown();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        running.join().unwrap().unwrap();
        if events.try_recv().is_err() {
            server.handle_request().unwrap();
            let address = Address::from(client.local_addr().unwrap());
            assert_eq!(next(&events), Event::Verify(address));
            return;
        }
    }
    panic!("every ready request was taken");
}

#[test]
fn b16_after_the_request_for_a_shutdown_no_further_socket_is_served() {
    let (sender, taken) = mpsc::channel();
    let handle = Arc::new(OnceLock::<ShutdownHandle>::new());
    let server = builder({
        let handle = Arc::clone(&handle);
        move |request| {
            sender.send(request.getpeername()?).unwrap();
            handle.get().unwrap().request_shutdown();
            Ok(())
        }
    })
    .bind(localhost())
    .build()
    .unwrap();
    handle.set(server.shutdown_handle()).unwrap();
    let clients: Vec<TcpStream> = server
        .endpoints()
        .iter()
        .map(|endpoint| TcpStream::connect(endpoint.address().to_socket_addr().unwrap()).unwrap())
        .collect();
    let mut clients_served = HashSet::new();
    for _ in &clients {
        server.serve_forever(NEVER).unwrap();
        clients_served.insert(next(&taken));
        assert!(taken.try_recv().is_err(), "one request ended the loop");
    }
    assert_eq!(clients_served.len(), clients.len());
}

#[test]
fn b17_before_the_first_run_shutdown_waits_for_it_and_ends_it() {
    let server = Arc::new(builder(echo).build().unwrap());
    let shutdown = until_blocked({
        let server = Arc::clone(&server);
        move || server.shutdown()
    });
    assert!(!shutdown.is_finished());
    server.serve_forever(NEVER).unwrap();
    assert_eq!(shutdown.join().unwrap(), Ok(()));
}

#[test]
fn b17_after_a_run_shutdown_returns_at_once_and_ends_the_next() {
    let (hooks, events) = recorder();
    let server = builder(echo).hooks(hooks).build().unwrap();
    server.shutdown_handle().request_shutdown();
    server.serve_forever(NEVER).unwrap();
    assert_eq!(server.shutdown(), Ok(()));
    let client = connect(&server);
    client.shutdown(std::net::Shutdown::Write).unwrap();
    server.serve_forever(NEVER).unwrap();
    assert_eq!(events.try_iter().count(), 0, "neither run did anything");
    server.handle_request().unwrap();
    assert!(matches!(next(&events), Event::Verify(_)));
}

#[test]
fn b17_shutdown_from_the_serving_thread_is_an_error_and_ends_the_loop() {
    let (answer, listening) = shutdown_by_the_handler(Concurrency::Sync);
    assert_eq!(answer, Err(ShutdownError::OwnThread));
    assert!(listening);
}

#[test]
fn b17_shutdown_from_a_request_thread_works() {
    let (answer, listening) = shutdown_by_the_handler(Concurrency::Threading(Threading::new()));
    assert_eq!(answer, Ok(()));
    assert!(listening);
}

/// Returns the result of a handler's `shutdown`, and true if the server still listens after
/// the loop has ended.
fn shutdown_by_the_handler(concurrency: Concurrency) -> (Result<(), ShutdownError>, bool) {
    let handle = Arc::new(OnceLock::<ShutdownHandle>::new());
    let (sender, answers) = mpsc::channel();
    let server = builder({
        let handle = Arc::clone(&handle);
        move |_| {
            sender.send(handle.get().unwrap().shutdown()).unwrap();
            Ok(())
        }
    });
    let server = server.concurrency(concurrency).build().unwrap();
    handle.set(server.shutdown_handle()).unwrap();
    let _client = connect(&server);
    server.serve_forever(NEVER).unwrap();
    (next(&answers), server.fileno().is_some())
}

#[test]
fn b18_shutdown_leaves_the_socket_open_for_another_run() {
    let server = serve(builder(echo).build().unwrap(), NEVER);
    assert_eq!(talk(&server, b"first"), b"first");
    server.shutdown().unwrap();
    let shared = server.shared();
    server.join().unwrap();
    let mut between = client_with(&shared, b"between");
    between.shutdown(std::net::Shutdown::Write).unwrap();
    let server = serve(shared, NEVER);
    assert_eq!(read_all(&mut between), b"between");
    server.shutdown().unwrap();
}

#[test]
fn b19_shutdown_waits_for_the_handler_of_a_sync_server() {
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
    let server = server.build().unwrap();
    // The end of an earlier run must not count.
    server.shutdown_handle().request_shutdown();
    server.serve_forever(NEVER).unwrap();
    let server = serve(server, NEVER);
    let _client = connect(&server);
    next(&entered);
    let shutdown = until_blocked({
        let (server, done) = (server.shared(), Arc::clone(&done));
        move || {
            server.shutdown().unwrap();
            done.load(Ordering::SeqCst)
        }
    });
    gate.open();
    assert_eq!(shutdown.join().unwrap(), 1);
}

/// The thread that serves is busy with a request, and another thread makes the server
/// refuse later clients.
#[test]
fn a_server_stops_listening_while_its_loop_runs_a_request() {
    let gate = Gate::default();
    let (sender, entered) = mpsc::channel();
    let server = builder({
        let gate = gate.clone();
        move |request| {
            sender.send(request.recv(10)?).unwrap();
            gate.wait();
            request.sendall(b"done")
        }
    });
    let server = serve(server.build().unwrap(), NEVER);
    let mut clients: Vec<TcpStream> = Vec::new();
    for data in [b"1", b"2", b"3"] {
        clients.push(client_with(&server, data));
    }
    assert_eq!(next(&entered), b"1");
    let address = server.server_address().to_socket_addr().unwrap();
    for _ in 0..2 {
        server.stop_listening();
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
    // They are not served in this thread while the other one is busy.
    let closing = until_blocked({
        let server = server.shared();
        move || server.server_close_within(NEVER)
    });
    assert!(!closing.is_finished() && entered.try_recv().is_err());
    gate.open();
    for client in &mut clients {
        assert_eq!(read_all(client), b"done");
    }
    assert_eq!(entered.try_iter().collect::<Vec<_>>(), [b"2", b"3"]);
    assert_eq!(closing.join().unwrap(), 0);
    server.join().unwrap();
}

#[test]
fn b26_closing_under_a_running_loop_ends_it() {
    let server = serve(builder(echo).build().unwrap(), NEVER);
    assert_eq!(talk(&server, b"up"), b"up");
    server.server_close();
    let address = server.server_address().to_socket_addr().unwrap();
    server.join().unwrap();
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn b26_closing_under_a_waiting_handle_request_ends_it() {
    let server = Arc::new(builder(echo).build().unwrap());
    let waiting = until_blocked({
        let server = Arc::clone(&server);
        move || server.handle_request()
    });
    assert!(!waiting.is_finished());
    server.server_close();
    wait_until("handle_request has ended", || waiting.is_finished());
    assert!(matches!(waiting.join().unwrap(), Err(ServeError::Closed)));
}

#[test]
fn b94_shutdown_is_noticed_at_once_whatever_the_poll_interval() {
    for poll_interval in [Duration::from_secs(30), Duration::MAX] {
        let server = Arc::new(builder(echo).build().unwrap());
        let running = until_blocked({
            let server = Arc::clone(&server);
            move || server.serve_forever(poll_interval)
        });
        let begun = Instant::now();
        server.shutdown().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(10));
        running.join().unwrap().unwrap();
    }
}

/// CPython's `test_shutdown` (issue 2302): no race between start and end.
#[test]
fn servers_can_be_shut_down_right_after_their_start() {
    for _ in 0..20 {
        let server = serve(builder(echo).build().unwrap(), NEVER);
        server.shutdown().unwrap();
        server.join().unwrap();
    }
}
