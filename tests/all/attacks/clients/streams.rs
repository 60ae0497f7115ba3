//! Clients that are slow or silent, or use TCP in unusual ways.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use socketserver_tests::bystander::Bystander;
use socketserver_tests::process::TIMEOUT;

use super::{Scene, assert_reported, in_modes, report};
use crate::attacks::attack;
use crate::client::{expect, read_to_end};
use crate::fixture::FIXTURE;

/// The time for which a slow client may keep its request.
const WALL: &[&str] = &["--wall-time", "700ms"];
const IDLE: &[&str] = &["--idle-timeout", "600ms"];

/// The pause between two reads or writes of a slow client.
const PAUSE: Duration = Duration::from_millis(20);

#[test]
fn writing_a_byte_now_and_then() {
    in_modes(|mode| {
        let mut scene = Scene::sample(mode, "line", "tcp", WALL, (b"line\n", b"line\n"));
        scene.attack(|server, _| {
            let mut clients = [server.connect().unwrap(), server.connect().unwrap()];
            for client in &mut clients {
                let from = format!("from {}: ", client.local_addr().unwrap());
                while !server.log().iter().any(|line| line.contains(&from)) {
                    // The server may have ended the request already.
                    let _ = client.write_all(b".");
                    thread::sleep(PAUSE);
                }
                assert_reported(&report(server, client), "wall-time", "policy");
            }
        });
    });
}

#[test]
fn reading_a_byte_now_and_then() {
    in_modes(|mode| {
        let mut scene = Scene::source(mode, WALL);
        scene.attack(|server, _| {
            let mut client = server.connect().unwrap();
            client.write_all(b"500000000\n").unwrap();
            let from = format!("from {}: ", client.local_addr().unwrap());
            while !server.log().iter().any(|line| line.contains(&from)) {
                let _ = client.read(&mut [0; 1024]);
                thread::sleep(PAUSE);
            }
            assert_reported(&report(server, &client), "wall-time", "policy");
        });
    });
}

#[test]
fn never_writing() {
    in_modes(|mode| {
        let mut scene = Scene::upper(mode, IDLE);
        scene.attack(|server, _| {
            let clients: Vec<_> = (0..20).map(|_| server.connect().unwrap()).collect();
            for mut client in clients {
                assert_reported(&report(server, &client), "idle-timeout", "client");
                assert_eq!(read_to_end(&mut client), b"");
            }
        });
    });
}

#[test]
fn never_reading() {
    in_modes(|mode| {
        let mut scene = Scene::source(mode, IDLE);
        scene.attack(|server, _| {
            let mut clients = [server.connect().unwrap(), server.connect().unwrap()];
            for client in &mut clients {
                client.write_all(b"100000000\n").unwrap();
            }
            for client in &clients {
                assert_reported(&report(server, client), "idle-timeout", "client");
            }
        });
    });
}

#[test]
fn silence_after_half_a_question() {
    in_modes(|mode| {
        let mut scene = Scene::sample(mode, "line", "tcp", IDLE, (b"line\n", b"line\n"));
        scene.attack(|server, _| {
            let mut client = server.connect().unwrap();
            client.write_all(b"half a li").unwrap();
            assert_reported(&report(server, &client), "idle-timeout", "client");
        });
    });
}

#[test]
fn a_line_without_an_end() {
    in_modes(|mode| {
        let mut scene =
            Scene::sample(mode, "line", "tcp", &["--memory", "4MiB"], (b"line\n", b"line\n"));
        scene.attack(|server, _| {
            let mut client = server.connect().unwrap();
            // Until the server closes the connection.
            while client.write_all(&[b'x'; 16384]).is_ok() {}
            assert_reported(&report(server, &client), "memory", "guest");
        });
    });
}

#[test]
fn a_question_in_packets_of_one_byte() {
    in_modes(|mode| {
        let mut scene = Scene::sample(mode, "line", "tcp", &[], (b"line\n", b"line\n"));
        scene.attack(|server, _| {
            let mut client = server.connect().unwrap();
            client.set_nodelay(true).unwrap();
            let question = [&[b'q'; 500][..], b"\n"].concat();
            for byte in &question {
                client.write_all(&[*byte]).unwrap();
            }
            assert_eq!(read_to_end(&mut client), question);
        });
        scene.assert_nothing_logged();
    });
}

#[test]
fn the_smallest_receive_window() {
    in_modes(|mode| {
        let mut scene = Scene::source(mode, &[]);
        scene.attack(|server, _| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_recv_buffer_size(1).unwrap();
            socket.connect(&server.address().into()).unwrap();
            let mut client = TcpStream::from(socket);
            client.set_read_timeout(Some(TIMEOUT)).unwrap();
            client.write_all(b"100000\n").unwrap();
            let mut answer = Vec::new();
            let mut few = [0; 700];
            loop {
                match client.read(&mut few).unwrap() {
                    0 => break,
                    count => answer.extend_from_slice(&few[..count]),
                }
            }
            assert!(answer.iter().copied().eq((0..251).cycle().take(100_000)));
        });
        scene.assert_nothing_logged();
    });
}

#[test]
fn urgent_data() {
    in_modes(|mode| {
        let mut scene = Scene::echo(mode, &[]);
        scene.attack(|server, _| {
            let mut client = server.connect().unwrap();
            // The kernel does not deliver urgent data with the other data.
            for _ in 0..50 {
                client.write_all(b"ab").unwrap();
                expect(&mut client, b"ab");
                SockRef::from(&client).send_out_of_band(b"!").unwrap();
            }
            client.write_all(b"cd").unwrap();
            expect(&mut client, b"cd");
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_to_end(&mut client), b"");
        });
        scene.assert_nothing_logged();
    });
}

#[test]
fn connections_that_stay_half_closed() {
    in_modes(|mode| {
        let mut scene = Scene::echo(mode, &[]);
        let mut never_closed = Vec::new();
        scene.attack(|server, _| {
            for _ in 0..20 {
                let mut client = server.connect().unwrap();
                client.write_all(b"all").unwrap();
                client.shutdown(Shutdown::Write).unwrap();
                expect(&mut client, b"all");
                never_closed.push(client);
            }
        });
        drop(never_closed);
        scene.assert_nothing_logged();
    });
}

#[test]
fn connections_that_stay_after_the_answer() {
    in_modes(|mode| {
        let mut scene = Scene::upper(mode, &[]);
        let mut answered = Vec::new();
        scene.attack(|server, _| {
            for _ in 0..20 {
                let mut client = server.connect().unwrap();
                client.write_all(b"all").unwrap();
                expect(&mut client, b"ALL");
                answered.push(client);
            }
        });
        drop(answered);
        scene.assert_nothing_logged();
    });
}

#[test]
fn more_data_than_the_handler_reads() {
    in_modes(|mode| {
        let mut scene = Scene::sample(mode, "unread", "tcp", &[], (b"?", b"OK\n"));
        scene.attack(|server, _| {
            let mut client = server.connect().unwrap();
            // The server answers after the first byte and closes the connection.
            while client.write_all(&[b'x'; 16384]).is_ok() {}
            let mut answer = Vec::new();
            let _ = client.read_to_end(&mut answer);
            assert!(b"OK\n".starts_with(&answer), "{answer:?}");
        });
        scene.assert_nothing_logged();
    });
}

#[test]
fn endless_data_to_a_handler_that_reads_nothing() {
    in_modes(|mode| {
        let mut scene = Scene::sample(mode, "silent", "tcp", &[], (b"", b""));
        scene.attack(|server, _| {
            for _ in 0..5 {
                let mut client = server.connect().unwrap();
                while client.write_all(&[b'x'; 16384]).is_ok() {}
            }
        });
        scene.assert_nothing_logged();
    });
}

#[test]
fn a_client_from_a_privileged_port() {
    in_modes(|mode| {
        let mut scene = Scene::upper(mode, &[]);
        scene.attack(|server, _| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            // No other test binds ports of this address.
            let ports = 601..1000;
            let bound = ports.into_iter().find(|port| {
                let address: SocketAddr = ([127, 0, 0, 3], *port).into();
                socket.bind(&address.into()).is_ok()
            });
            if bound.is_none() {
                println!("skipped: only root may have such a port");
                return;
            }
            socket.connect(&server.address().into()).unwrap();
            let mut client = TcpStream::from(socket);
            client.write_all(b"root").unwrap();
            expect(&mut client, b"ROOT");
            // The next round takes another port: this one is in TIME_WAIT.
        });
        scene.assert_nothing_logged();
    });
}

#[test]
fn silent_clients_that_hold_every_permit() {
    in_modes(|mode| {
        let mut scene = Scene::upper(mode, &["--max-requests", "4", "--idle-timeout", "600ms"]);
        scene.attack(|server, _| {
            let clients: Vec<_> = (0..8).map(|_| server.connect().unwrap()).collect();
            for client in &clients {
                assert_reported(&report(server, client), "idle-timeout", "client");
            }
        });
    });
}

#[test]
fn a_silent_client_over_ipv6() {
    let mut served = FIXTURE.serve_at(&["tcp://127.0.0.1:0", "tcp://[::1]:0"], IDLE);
    let bystander = Bystander::new(&served.server.endpoints()[0], b"-", b"ok").unwrap();
    let address = served.server.addresses()[1];
    attack(&mut served.server, &bystander, |server, _| {
        let client = TcpStream::connect(address).unwrap();
        let line = report(server, &client);
        assert_reported(&line, "idle-timeout", "client");
        assert!(line.contains("peer=\"[::1]:"), "{line}");
    });
}
