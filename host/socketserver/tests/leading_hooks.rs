//! The hooks of the loop in servers in which threads take requests themselves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use common::{
    Hook, NEVER, WAIT, connect_to, in_leader, leading, localhost, next, read_all, serve, talk,
    wait_for_leader, wait_until,
};
use socketserver::{Address, Concurrency, Hooks, Request, ShutdownError, Threading};

/// Hooks of the loop that notice each other.
#[derive(Clone, Default)]
struct OneAtATime {
    /// Set while a hook runs.
    runs: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    overlaps: Arc<AtomicUsize>,
}

impl OneAtATime {
    fn run(&self) {
        let overlaps = self.runs.swap(true, Ordering::SeqCst);
        self.overlaps.fetch_add(usize::from(overlaps), Ordering::SeqCst);
        self.calls.fetch_add(1, Ordering::SeqCst);
        thread::yield_now();
        self.runs.store(false, Ordering::SeqCst);
    }
}

impl Hooks for OneAtATime {
    fn verify_request(&self, _request: &Request, _client: &Address) -> bool {
        self.run();
        true
    }

    fn service_actions(&self) {
        self.run();
    }
}

#[test]
fn one_thread_at_a_time_calls_the_hooks_of_the_loop() {
    let hooks = OneAtATime::default();
    let server = common::builder(common::echo).hooks(hooks.clone());
    let server = server.concurrency(Concurrency::Threading(Threading::new()));
    let server = serve(server.build().unwrap(), Duration::from_millis(1));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..100).for_each(|_| assert_eq!(talk(&server, b"q"), b"q")));
        }
    });
    // Each of 800 requests is verified, and has a round with `service_actions`, which the loop may
    // end after the request.
    wait_until("the loop is idle", || hooks.calls.load(Ordering::SeqCst) >= 1600);
    assert_eq!(hooks.overlaps.load(Ordering::SeqCst), 0);
}

#[test]
fn a_request_in_a_leader_can_shut_the_server_down_and_waits_for_the_loop() {
    let (server, test) = leading();
    let server = serve(server.bind(localhost()).build().unwrap(), NEVER);
    test.shared.server.set(server.shared()).ok().unwrap();
    let mut client = in_leader(&server, &test, b's');
    assert_eq!(next(&test.results), Ok(()));
    assert_eq!(read_all(&mut client), b"leader");
    server.join().unwrap();
}

#[test]
fn a_hook_of_a_leader_cannot_wait_for_its_own_loop() {
    let (server, test) = leading();
    let server = serve(server.bind(localhost()).build().unwrap(), NEVER);
    test.shared.server.set(server.shared()).ok().unwrap();
    wait_for_leader(&server);
    *test.shared.hook.lock().unwrap() = Some(Hook::Shutdown);
    wait_until("the server is shut down", || {
        let address = server.server_address().to_socket_addr().unwrap();
        let mut client = connect_to(address).unwrap();
        client.write_all(b"q").unwrap();
        client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let _ = std::io::Read::read(&mut client, &mut [0; 8]);
        test.shared.hook.lock().unwrap().is_none()
    });
    assert_eq!(next(&test.results), Err(ShutdownError::OwnThread));
    server.join().unwrap();
}

#[test]
fn a_hook_that_panics_in_a_leader_leaves_serve_forever() {
    let (server, test) = leading();
    let server = Arc::new(server.bind(localhost()).build().unwrap());
    let serving = Arc::clone(&server);
    let running = thread::spawn(move || serving.serve_forever(NEVER));
    wait_for_leader(&server);
    *test.shared.hook.lock().unwrap() = Some(Hook::Panic);
    let address = server.server_address().to_socket_addr().unwrap();
    let mut clients = Vec::new();
    wait_until("the loop has ended", || {
        let mut client = connect_to(address).unwrap();
        client.write_all(b"q").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        clients.push(client);
        running.is_finished()
    });
    let panic = running.join().unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"in verify_request"));
    drop(clients);
    // The next run serves again.
    let server = serve(server, NEVER);
    wait_for_leader(&server);
}

#[test]
fn a_panic_of_service_actions_in_a_leader_costs_no_request() {
    let (server, test) = leading();
    let server = Arc::new(server.bind(localhost()).build().unwrap());
    let serving = Arc::clone(&server);
    let running = thread::spawn(move || serving.serve_forever(NEVER));
    wait_for_leader(&server);
    *test.shared.hook.lock().unwrap() = Some(Hook::PanicInService);
    wait_until("the hook panics", || {
        // It panics before the request is served. Later clients would wait for the next run.
        assert!(!talk(&server, b"q").is_empty());
        test.shared.hook.lock().unwrap().is_none()
    });
    running.join().unwrap_err();
    assert_eq!(server.server_close_within(WAIT), 0);
}

#[test]
fn a_hook_of_a_leader_that_closes_the_server_waits_for_all_requests() {
    let (server, test) = leading();
    let server = serve(server.bind(localhost()).build().unwrap(), NEVER);
    test.shared.server.set(server.shared()).ok().unwrap();
    let mut blocked = in_leader(&server, &test, b'b');
    wait_for_leader(&server);
    *test.shared.hook.lock().unwrap() = Some(Hook::Close);
    let address = server.server_address().to_socket_addr().unwrap();
    wait_until("the hook closes the server", || {
        if let Ok(mut client) = TcpStream::connect(address) {
            let _ = client.write_all(b"q");
            client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            let _ = std::io::Read::read(&mut client, &mut [0; 8]);
        }
        test.shared.hook.lock().unwrap().is_none()
    });
    test.shared.gate.open();
    assert_eq!(read_all(&mut blocked), b"leader");
    wait_until("the server is closed", || test.shared.left.lock().unwrap().is_some());
    assert_eq!(*test.shared.left.lock().unwrap(), Some(0));
    server.join().unwrap();
}
