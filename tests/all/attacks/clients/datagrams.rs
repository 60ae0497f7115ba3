//! Hostile senders of UDP datagrams.

use std::net::{SocketAddr, UdpSocket};

use socketserver_tests::load::Target;
use socketserver_tests::process::{PATIENCE, Server};

use super::{Scene, assert_reported, attack, fixture, is_idle, logged};
use crate::fixture::{DATAGRAM, Fixture};
use crate::forged::spoofed;

/// `dupper`, over UDP.
fn upper() -> Scene {
    let few = ["--max-requests", "4"];
    Scene::sample("dupper", "udp", &few, b"bystander", b"BYSTANDER")
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
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

#[test]
fn the_largest_there_are() {
    let mut scene = upper();
    scene.attacked(|server, _| {
        let client = client(server);
        for _ in 0..20 {
            client.send(&vec![b'x'; 65507]).unwrap();
            let mut answer = vec![0; 65536];
            // Python's max_packet_size.
            assert_eq!(client.recv(&mut answer).unwrap(), 8192);
            assert!(answer[..8192].iter().all(|byte| *byte == b'X'));
        }
    });
    scene.logged_nothing();
}

#[test]
fn empty_ones() {
    let mut scene = upper();
    scene.attacked(|server, _| {
        let client = client(server);
        for _ in 0..100 {
            client.send(b"").unwrap();
            assert_eq!(client.recv(&mut [0; 1]).unwrap(), 0);
        }
    });
    scene.logged_nothing();
}

#[test]
fn a_flood_of_them() {
    let mut scene = upper();
    scene.attacked(|server, _| {
        let client = client(server);
        for _ in 0..2000 {
            client.send(b"flood").unwrap();
        }
    });
    scene.logged_nothing();
}

/// Nothing is received, and the port is closed when the answer comes: the kernel
/// tells the server's socket, which is everybody's.
#[test]
fn from_ports_that_are_closed_again() {
    let mut scene = upper();
    scene.attacked(|server, _| {
        for _ in 0..200 {
            client(server).send(b"question").unwrap();
        }
    });
    scene.logged_nothing();
}

/// Sends the reply, and fails if it cannot be sent.
const REPLIES: Fixture<'static> = Fixture {
    handle: "(call $reply (i32.const 100) (i32.const 2))
        (if (i32.load8_u (i32.const 32)) (then (return (call $failed))))",
    ..DATAGRAM
};

#[test]
fn from_port_0() {
    cannot_be_answered("127.0.0.3:0");
}

#[test]
fn from_everybody() {
    cannot_be_answered("255.255.255.255:9");
}

/// Who claims to be `source` is to blame that nothing can be sent there.
fn cannot_be_answered(source: &str) {
    let (mut served, bystander, _directory) = fixture(REPLIES, "udp", &[]);
    let from = format!("from {source}: ");
    let mut number = 0;
    attack(&mut served.server, &bystander, |server, _| {
        number += 1;
        if spoofed(source.parse().unwrap(), address(server), b"x").is_none() {
            println!("skipped: only root may send such");
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

/// Its answer would be a question, and so on for ever.
#[test]
fn from_the_server_itself() {
    let mut scene = upper();
    scene.attacked(|server, _| {
        let server_address = address(server);
        if spoofed(server_address, server_address, b"again").is_none() {
            println!("skipped: only root may send such");
        }
    });
    // Nobody asks it any more: its time stands still.
    let pid = scene.server.pid();
    is_idle(pid);
    scene.logged_nothing();
}
