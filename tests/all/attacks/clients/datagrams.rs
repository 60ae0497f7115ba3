//! Hostile senders of UDP datagrams.

use std::net::{SocketAddr, UdpSocket};

use socketserver_tests::load::Target;
use socketserver_tests::process::{Server, TIMEOUT};

use super::{Scene, assert_reported, attack, in_modes, logged, serve_fixture, wait_until_idle};
use crate::fixture::{DATAGRAM, Fixture};
use crate::forged::send_spoofed;

/// Serves `dupper` over UDP.
fn dupper(mode: &[&str]) -> Scene {
    let options = ["--max-requests", "4"];
    Scene::sample(mode, "dupper", "udp", &options, (b"bystander", b"BYSTANDER"))
}

fn address(server: &Server) -> SocketAddr {
    match Target::parse(&server.endpoints()[0]).unwrap() {
        Target::Udp(address) => address,
        other => panic!("{other:?}"),
    }
}

fn client(server: &Server) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(address(server)).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    socket
}

#[test]
fn the_largest_datagrams() {
    in_modes(|mode| {
        let mut scene = dupper(mode);
        scene.attack(|server, _| {
            let client = client(server);
            for _ in 0..20 {
                client.send(&vec![b'x'; 65507]).unwrap();
                let mut answer = vec![0; 65536];
                // Python's max_packet_size.
                assert_eq!(client.recv(&mut answer).unwrap(), 8192);
                assert!(answer[..8192].iter().all(|byte| *byte == b'X'));
            }
        });
        scene.assert_nothing_logged();
    });
}

#[test]
fn empty_datagrams() {
    in_modes(|mode| {
        let mut scene = dupper(mode);
        scene.attack(|server, _| {
            let client = client(server);
            for _ in 0..100 {
                client.send(b"").unwrap();
                assert_eq!(client.recv(&mut [0; 1]).unwrap(), 0);
            }
        });
        scene.assert_nothing_logged();
    });
}

#[test]
fn a_flood_of_datagrams() {
    in_modes(|mode| {
        let mut scene = dupper(mode);
        scene.attack(|server, _| {
            let client = client(server);
            for _ in 0..2000 {
                client.send(b"flood").unwrap();
            }
        });
        scene.assert_nothing_logged();
    });
}

/// The client has closed its port when the answer comes. The kernel then reports an error on
/// the server's socket, which all requests share.
#[test]
fn datagrams_from_ports_that_are_closed_again() {
    in_modes(|mode| {
        let mut scene = dupper(mode);
        scene.attack(|server, _| {
            for _ in 0..200 {
                client(server).send(b"question").unwrap();
            }
        });
        scene.assert_nothing_logged();
    });
}

/// A handler that sends a reply, and fails if it cannot send it.
const REPLIES: Fixture<'static> = Fixture {
    handle: "(call $reply (i32.const 100) (i32.const 2))
        (if (i32.load8_u (i32.const 32)) (then (return (call $failed))))",
    ..DATAGRAM
};

#[test]
fn datagrams_from_port_0() {
    check_unanswerable("127.0.0.3:0");
}

#[test]
fn datagrams_from_the_broadcast_address() {
    check_unanswerable("255.255.255.255:9");
}

/// Checks that a client which claims the address `source`, to which nothing can be sent, is
/// blamed for that.
fn check_unanswerable(source: &str) {
    let (mut served, bystander, _directory) = serve_fixture(REPLIES, "udp", &[]);
    let from = format!("from {source}: ");
    let mut number = 0;
    attack(&mut served.server, &bystander, |server, _| {
        number += 1;
        if send_spoofed(source.parse().unwrap(), address(server), b"x").is_none() {
            println!("skipped: only root may forge the source of a datagram");
            return;
        }
        let reports =
            |server: &mut Server| server.log().iter().filter(|line| line.contains(&from)).count();
        while reports(server) < number {
            server.wait_for_log(&from).unwrap();
        }
        assert_reported(&logged(server, &from), "no-address", "client");
    });
}

/// The server would answer itself for ever.
#[test]
fn datagrams_from_the_server_itself() {
    in_modes(|mode| {
        let mut scene = dupper(mode);
        scene.attack(|server, _| {
            let server_address = address(server);
            if send_spoofed(server_address, server_address, b"again").is_none() {
                println!("skipped: only root may forge the source of a datagram");
            }
        });
        wait_until_idle(scene.server.pid());
        scene.assert_nothing_logged();
    });
}
