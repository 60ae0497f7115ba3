//! Many clients at once. 8,000 of them are in `requests.rs`.
//!
//! Few requests may be in flight, so that each round needs as many threads.

use std::io::Write;
use std::net::TcpStream;
use std::thread;

use socketserver_tests::process::Server;

use super::Scene;
use crate::client::{read_to_end, reset};

const FEW: &[&str] = &["--max-requests", "4"];

/// From two threads, so many connections each.
fn flood(server: &Server, times: usize, client: impl Fn(TcpStream) + Sync) {
    let address = server.address();
    let clients = || (0..times).for_each(|_| client(TcpStream::connect(address).unwrap()));
    thread::scope(|scope| {
        scope.spawn(clients);
        scope.spawn(clients);
    });
}

#[test]
fn of_connects_and_closes() {
    let mut scene = Scene::upper(FEW);
    scene.attacked(|server, _| flood(server, 300, drop));
    scene.logged_nothing();
}

#[test]
fn of_connects_and_resets() {
    let mut scene = Scene::upper(FEW);
    scene.attacked(|server, _| flood(server, 300, reset));
    scene.blamed_clients_only(&["connection-lost"]);
}

#[test]
fn of_connects_and_resets_where_each_has_a_process() {
    let mut scene = Scene::upper(&["--concurrency", "forking"]);
    scene.attacked(|server, _| flood(server, 50, reset));
    scene.blamed_clients_only(&["connection-lost"]);
}

#[test]
fn of_questions_whose_answers_nobody_reads() {
    let mut scene = Scene::upper(FEW);
    scene.attacked(|server, _| {
        flood(server, 200, |mut client| client.write_all(b"question").unwrap());
    });
    scene.blamed_clients_only(&["connection-lost"]);
}

#[test]
fn of_every_kind_at_once() {
    let mut scene = Scene::upper(&["--max-requests", "64", "--idle-timeout", "1s"]);
    scene.attacked(|server, _| {
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
    scene.blamed_clients_only(&["connection-lost", "idle-timeout"]);
}
