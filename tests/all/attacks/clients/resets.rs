//! Clients that reset or close the connection in each phase of a request.

use std::io::{Read, Write};
use std::net::Shutdown;

use super::{Scene, assert_reported, in_modes, report, serve_fixture};
use crate::attacks::attack;
use crate::client::{expect, reset};
use crate::fixture::{FIXTURE, Fixture};

/// Code that waits for one more byte, and fails if `recv` fails.
macro_rules! wait_for_more {
    () => {
        "(call $sendall (i32.const 100) (i32.const 2))
        (call $recv (i32.const 1))
        (if (i32.load8_u (i32.const 16)) (then (return (call $failed))))"
    };
}

#[test]
fn a_reset_before_the_first_byte() {
    in_modes(|mode| {
        let mut scene = Scene::upper(mode, &["--max-requests", "4"]);
        scene.attack(|server, _| {
            for _ in 0..50 {
                reset(server.connect().unwrap());
            }
        });
        scene.assert_only_clients_blamed(&["connection-lost"]);
    });
}

/// Checks that a client which resets the connection while `handler` waits is blamed, in a
/// line that contains `text`.
fn check_blamed(handler: Fixture<'_>, text: &str) {
    let (mut served, bystander, _directory) = serve_fixture(handler, "tcp", &[]);
    attack(&mut served.server, &bystander, |server, _| {
        for _ in 0..5 {
            let mut client = server.connect().unwrap();
            client.write_all(b"x").unwrap();
            expect(&mut client, b"ok");
            let from = format!("from {}: ", client.local_addr().unwrap());
            reset(client);
            let line = super::logged(server, &from);
            assert_reported(&line, "connection-lost", "client");
            assert!(line.contains(text) && line.contains("WARN"), "{line}");
        }
    });
}

#[test]
fn a_reset_while_setup_runs() {
    check_blamed(Fixture { setup: wait_for_more!(), ..FIXTURE }, "setup failed");
}

#[test]
fn a_reset_before_the_reply() {
    check_blamed(Fixture { handle: wait_for_more!(), ..FIXTURE }, "handle failed");
}

#[test]
fn a_reset_while_finish_runs() {
    check_blamed(Fixture { finish: wait_for_more!(), ..FIXTURE }, "finish failed");
}

#[test]
fn a_reset_during_a_large_reply() {
    in_modes(|mode| {
        let mut scene = Scene::source(mode, &[]);
        scene.attack(|server, _| {
            let mut client = server.connect().unwrap();
            client.write_all(b"100000000\n").unwrap();
            client.read_exact(&mut vec![0; 100_000]).unwrap();
            let from = format!("from {}: ", client.local_addr().unwrap());
            reset(client);
            assert_reported(&super::logged(server, &from), "connection-lost", "client");
        });
    });
}

#[test]
fn a_reset_after_a_half_close() {
    in_modes(|mode| {
        let mut scene = Scene::source(mode, &[]);
        scene.attack(|server, _| {
            let mut client = server.connect().unwrap();
            client.write_all(b"100000000\n").unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            client.read_exact(&mut [0; 10]).unwrap();
            let from = format!("from {}: ", client.local_addr().unwrap());
            reset(client);
            assert_reported(&super::logged(server, &from), "connection-lost", "client");
        });
    });
}

/// A program that does not ignore SIGPIPE would end here.
#[test]
fn a_close_with_the_answer_unread() {
    in_modes(|mode| {
        let mut scene = Scene::source(mode, &[]);
        scene.attack(|server, _| {
            let mut client = server.connect().unwrap();
            client.write_all(b"100000000\n").unwrap();
            client.read_exact(&mut [0; 1]).unwrap();
            let from = format!("from {}: ", client.local_addr().unwrap());
            drop(client);
            assert_reported(&super::logged(server, &from), "connection-lost", "client");
        });
    });
}

#[test]
fn a_close_right_after_the_question() {
    in_modes(|mode| {
        let mut scene = Scene::upper(mode, &["--max-requests", "4"]);
        scene.attack(|server, _| {
            for _ in 0..50 {
                server.connect().unwrap().write_all(b"question").unwrap();
            }
        });
        scene.assert_only_clients_blamed(&["connection-lost"]);
    });
}

#[test]
fn a_client_that_vanishes_costs_only_its_idle_timeout() {
    // The server cannot tell a silent client from one that has vanished.
    in_modes(|mode| {
        let mut scene = Scene::echo(mode, &["--idle-timeout", "600ms"]);
        let mut vanished = Vec::new();
        scene.attack(|server, _| {
            let mut client = server.connect().unwrap();
            client.write_all(b"1").unwrap();
            expect(&mut client, b"1");
            assert_reported(&report(server, &client), "idle-timeout", "client");
            vanished.push(client);
        });
    });
}
