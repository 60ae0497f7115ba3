//! Many clients at once. `requests.rs` has a test with 8,000.
//!
//! Few requests may be in flight, so that each round needs the same number of threads.

use std::io::Write;
use std::net::TcpStream;
use std::thread;

use socketserver_tests::process::Server;

use super::{Scene, in_modes};
use crate::client::{read_to_end, reset};

const FEW: &[&str] = &["--max-requests", "4"];

/// Makes `count` connections from each of two threads, and passes them to `client`.
fn flood(server: &Server, count: usize, client: impl Fn(TcpStream) + Sync) {
    let address = server.address();
    let clients = || (0..count).for_each(|_| client(TcpStream::connect(address).unwrap()));
    thread::scope(|scope| {
        scope.spawn(clients);
        scope.spawn(clients);
    });
}

#[test]
fn a_flood_of_connects_and_closes() {
    in_modes(|mode| {
        let mut scene = Scene::upper(mode, FEW);
        scene.attack(|server, _| flood(server, 300, drop));
        scene.assert_nothing_logged();
    });
}

#[test]
fn a_flood_of_connects_and_resets() {
    in_modes(|mode| {
        let mut scene = Scene::upper(mode, FEW);
        scene.attack(|server, _| flood(server, 300, reset));
        scene.assert_only_clients_blamed(&["connection-lost"]);
    });
}

#[test]
fn a_flood_of_connects_and_resets_in_forking_mode() {
    let mut scene = Scene::upper(&[], &["--concurrency", "forking"]);
    scene.attack(|server, _| flood(server, 50, reset));
    scene.assert_only_clients_blamed(&["connection-lost"]);
}

#[test]
fn a_flood_of_questions_whose_answers_are_not_read() {
    in_modes(|mode| {
        let mut scene = Scene::upper(mode, FEW);
        scene.attack(|server, _| {
            flood(server, 200, |mut client| client.write_all(b"question").unwrap());
        });
        scene.assert_only_clients_blamed(&["connection-lost"]);
    });
}

#[test]
fn a_flood_of_clients_of_every_kind() {
    in_modes(|mode| {
        let mut scene = Scene::upper(mode, &["--max-requests", "64", "--idle-timeout", "1s"]);
        scene.attack(|server, _| {
            let mut silent = Vec::new();
            for number in 0..100 {
                let mut client = server.connect().unwrap();
                match number % 4 {
                    0 => silent.push(client),
                    1 => reset(client),
                    2 => client.write_all(b"not read").unwrap(),
                    _ => {
                        client.write_all(b"read").unwrap();
                        assert_eq!(read_to_end(&mut client), b"READ");
                    }
                }
            }
            for mut client in silent {
                assert_eq!(read_to_end(&mut client), b"");
            }
        });
        scene.assert_only_clients_blamed(&["connection-lost", "idle-timeout"]);
    });
}
