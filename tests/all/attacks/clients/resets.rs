//! Clients that go away, in each phase of a request.

use std::io::{Read, Write};
use std::net::Shutdown;

use super::{Scene, assert_reported, fixture, report};
use crate::attacks::attack;
use crate::client::{expect, reset};
use crate::fixture::{FIXTURE, Fixture};

/// Waits for one more byte, and fails if that fails.
macro_rules! wait_for_more {
    () => {
        "(call $sendall (i32.const 100) (i32.const 2))
        (call $recv (i32.const 1))
        (if (i32.load8_u (i32.const 16)) (then (return (call $failed))))"
    };
}

#[test]
fn before_the_first_byte() {
    let mut scene = Scene::upper(&["--max-requests", "4"]);
    scene.attacked(|server, _| {
        for _ in 0..50 {
            reset(server.connect().unwrap());
        }
    });
    scene.blamed_clients_only(&["connection-lost"]);
}

/// A client that resets while the handler is in a certain step is to blame.
fn is_to_blame(in_that_step: Fixture<'_>, says: &str) {
    let (mut served, bystander, _directory) = fixture(in_that_step, "tcp", &[]);
    attack(&mut served.server, &bystander, |server, _| {
        for _ in 0..5 {
            let mut client = server.connect().unwrap();
            client.write_all(b"x").unwrap();
            expect(&mut client, b"ok");
            let from = format!("from {}: ", client.local_addr().unwrap());
            reset(client);
            let line = super::logged(server, &from);
            assert_reported(&line, "connection-lost", "client");
            assert!(line.contains(says) && line.contains("WARN"), "{line}");
        }
    });
}

#[test]
fn while_setup_runs() {
    is_to_blame(Fixture { setup: wait_for_more!(), ..FIXTURE }, "setup failed");
}

#[test]
fn before_the_reply() {
    is_to_blame(Fixture { handle: wait_for_more!(), ..FIXTURE }, "handle failed");
}

#[test]
fn while_finish_runs() {
    is_to_blame(Fixture { finish: wait_for_more!(), ..FIXTURE }, "finish failed");
}

#[test]
fn during_a_large_reply() {
    let mut scene = Scene::source(&[]);
    scene.attacked(|server, _| {
        let mut client = server.connect().unwrap();
        client.write_all(b"100000000\n").unwrap();
        client.read_exact(&mut vec![0; 100_000]).unwrap();
        let from = format!("from {}: ", client.local_addr().unwrap());
        reset(client);
        assert_reported(&super::logged(server, &from), "connection-lost", "client");
    });
}

#[test]
fn after_it_has_shut_its_side_down() {
    let mut scene = Scene::source(&[]);
    scene.attacked(|server, _| {
        let mut client = server.connect().unwrap();
        client.write_all(b"100000000\n").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        client.read_exact(&mut [0; 10]).unwrap();
        let from = format!("from {}: ", client.local_addr().unwrap());
        reset(client);
        assert_reported(&super::logged(server, &from), "connection-lost", "client");
    });
}

/// What would be SIGPIPE elsewhere.
#[test]
fn closing_with_the_answer_unread() {
    let mut scene = Scene::source(&[]);
    scene.attacked(|server, _| {
        let mut client = server.connect().unwrap();
        client.write_all(b"100000000\n").unwrap();
        client.read_exact(&mut [0; 1]).unwrap();
        let from = format!("from {}: ", client.local_addr().unwrap());
        drop(client);
        assert_reported(&super::logged(server, &from), "connection-lost", "client");
    });
}

#[test]
fn closing_at_once() {
    let mut scene = Scene::upper(&["--max-requests", "4"]);
    scene.attacked(|server, _| {
        for _ in 0..50 {
            server.connect().unwrap().write_all(b"question").unwrap();
        }
    });
    scene.blamed_clients_only(&["connection-lost"]);
}

#[test]
fn a_silent_client_costs_its_idle_time_only() {
    // It has vanished, for all that the server can see.
    let mut scene = Scene::echo(&["--idle-timeout", "600ms"]);
    let mut vanished = Vec::new();
    scene.attacked(|server, _| {
        let mut client = server.connect().unwrap();
        client.write_all(b"1").unwrap();
        expect(&mut client, b"1");
        assert_reported(&report(server, &client), "idle-timeout", "client");
        vanished.push(client);
    });
}
