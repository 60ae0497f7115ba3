//! The rounds of the loop.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, mpsc};

use common::{
    Event, Gate, NEVER, O_CLOEXEC, SOON, builder, client_with, connect, connect_to, echo, errno,
    flags, localhost, next, printed, read_all, recorder, reset, rounds, serve, talk,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::getsockname;
use socketserver::{Address, Hooks, Request, ServeError};

#[test]
fn b15_service_actions_runs_every_round() {
    let (hooks, events) = recorder();
    let server = serve(builder(echo).hooks(hooks).build().unwrap(), SOON);
    rounds(&events, 3);
    assert_eq!(talk(&server, b"busy"), b"busy");
    rounds(&events, 3);
}

#[test]
fn b15_a_loop_without_requests_does_not_spin() {
    let server = serve(builder(echo).bind(localhost()).build().unwrap(), NEVER);
    server.wait_until_idle();
    assert_eq!(talk(&server, b"x"), b"x");
    server.wait_until_idle();
    let server = serve(builder(echo).build().unwrap(), NEVER);
    assert_eq!(talk(&server, b"x"), b"x");
    server.wait_until_idle();
}

#[test]
fn b15_each_round_takes_one_request() {
    let (hooks, events) = recorder();
    let server = builder(|_| Ok(())).hooks(hooks).build().unwrap();
    let clients: Vec<TcpStream> = (0..3).map(|_| connect(&server)).collect();
    let server = serve(server, NEVER);
    for client in &clients {
        let address = Address::from(client.local_addr().unwrap());
        assert_eq!(next(&events), Event::Verify(address));
        assert_eq!(next(&events), Event::Service);
    }
    drop(server);
}

#[test]
fn b24_a_refused_client_sees_the_end_and_no_handler_runs() {
    struct Refuse;
    impl Hooks for Refuse {
        fn verify_request(&self, _request: &Request, _client_address: &Address) -> bool {
            false
        }
    }
    let server = builder(|request| request.sendall(b"served")).hooks(Refuse).build().unwrap();
    let mut client = client_with(&server, b"unread");
    server.handle_request().unwrap();
    assert_eq!(read_all(&mut client), b"");
}

#[test]
fn b24_a_panic_in_verify_request_leaves_the_loop_and_closes_the_request() {
    struct Panic;
    impl Hooks for Panic {
        fn verify_request(&self, _request: &Request, _client_address: &Address) -> bool {
            panic!("verify")
        }
    }
    let server = builder(echo).hooks(Panic).build().unwrap();
    let mut client = connect(&server);
    catch_unwind(AssertUnwindSafe(|| server.serve_forever(NEVER))).unwrap_err();
    assert_eq!(read_all(&mut client), b"");
    server.shutdown().unwrap();
    server.serve_forever(NEVER).unwrap();
    assert!(server.fileno().is_some());
}

#[test]
fn b27_servers_can_be_multiplexed_by_their_descriptors() {
    let servers =
        [b"a", b"b"].map(|name| builder(move |request| request.sendall(name)).build().unwrap());
    let mut clients = [connect(&servers[1]), connect(&servers[0]), connect(&servers[1])];
    let sockets = servers.each_ref().map(|server| server.socket().unwrap());
    for _ in 0..clients.len() {
        let mut fds = sockets.each_ref().map(|socket| PollFd::new(socket, PollFlags::IN));
        assert_ne!(poll(&mut fds, None).unwrap(), 0);
        let ready = fds.iter().position(|fd| fd.revents().contains(PollFlags::IN)).unwrap();
        servers[ready].handle_request().unwrap();
    }
    assert_eq!(clients.each_mut().map(read_all), [b"b", b"a", b"b"]);
}

#[test]
fn b27_the_socket_is_the_servers_and_outlives_it() {
    let server = builder(echo).build().unwrap();
    let socket = server.socket().unwrap();
    assert_ne!(socket.as_raw_fd(), server.fileno().unwrap());
    assert_ne!(flags(socket.as_raw_fd()) & O_CLOEXEC, 0);
    let client = connect(&server);
    assert_eq!(poll(&mut [PollFd::new(&socket, PollFlags::IN)], None).unwrap(), 1);
    client.shutdown(std::net::Shutdown::Write).unwrap();
    server.handle_request().unwrap();
    server.server_close();
    let address = printed(getsockname(&socket).ok());
    assert_eq!(address, server.server_address().to_string());
    assert_eq!(errno(server.socket()), Some(Errno::BADF));
}

#[test]
fn b91_a_client_that_left_before_it_was_accepted_delays_no_other_client() {
    let (hooks, _events) = recorder();
    let server = builder(echo).hooks(hooks).build().unwrap();
    reset(connect(&server));
    let server = serve(server, NEVER);
    assert_eq!(talk(&server, b"next"), b"next");
}

#[test]
fn b92_a_sync_server_serves_in_order_one_request_at_a_time() {
    let gate = Gate::default();
    let (sender, entered) = mpsc::channel();
    let server = builder({
        let gate = gate.clone();
        move |request| {
            sender.send(request.recv(1)?).unwrap();
            gate.wait();
            request.sendall(b"done")
        }
    });
    let server = serve(server.build().unwrap(), NEVER);
    let mut clients = [b"1", b"2", b"3"].map(|name| client_with(&server, name));
    assert_eq!(next(&entered), b"1");
    for client in &mut clients {
        client.set_nonblocking(true).unwrap();
        assert_eq!(client.peek(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        client.set_nonblocking(false).unwrap();
    }
    assert!(entered.try_recv().is_err());
    gate.open();
    assert_eq!(clients.each_mut().map(read_all), [b"done"; 3]);
    assert_eq!([next(&entered), next(&entered)], [b"2", b"3"]);
}

#[test]
fn one_thread_serves_at_a_time() {
    let (hooks, events) = recorder();
    let server = serve(builder(echo).hooks(hooks).build().unwrap(), SOON);
    rounds(&events, 1);
    assert!(matches!(server.serve_forever(SOON), Err(ServeError::Busy)));
    assert_eq!(talk(&server, b"unharmed"), b"unharmed");
}

#[test]
fn no_socket_waits_until_the_queue_of_another_is_empty() {
    let (sender, entered) = mpsc::channel();
    let (permit, permits) = mpsc::channel::<()>();
    let permits = Mutex::new(permits);
    let server = builder(move |request| {
        sender.send(request.recv(1)?).unwrap();
        next(&permits.lock().unwrap());
        Ok(())
    });
    let server = Arc::new(server.bind(localhost()).build().unwrap());
    let client = |socket: usize, name: &[u8]| {
        let address = server.endpoints()[socket].address().to_socket_addr().unwrap();
        let mut client = connect_to(address).unwrap();
        client.write_all(name).unwrap();
        client
    };
    let mut clients: Vec<TcpStream> = (0..4).map(|_| client(0, b"a")).collect();
    let running = serve(Arc::clone(&server), NEVER);
    let mut order = vec![next(&entered)];
    clients.push(client(1, b"b"));
    for _ in 1..5 {
        permit.send(()).unwrap();
        order.push(next(&entered));
    }
    permit.send(()).unwrap();
    assert!(order[..3].contains(&b"b".to_vec()), "{order:?}");
    drop(running);
}
