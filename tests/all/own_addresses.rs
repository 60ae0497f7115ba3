//! Datagrams with which a server would answer itself, in every mode.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use serde_json::{Value, json};
use socketserver_tests::build;
use socketserver_tests::load::Target;
use socketserver_tests::process::{Server, TIMEOUT, wait_until};

use crate::counters::request_counters;
use crate::fixture::{MODES, host};
use crate::forged::send_spoofed;

/// The number of ordinary requests to each socket after the forged ones.
const ORDINARY: usize = 20;

/// Serves `dupper` at these endpoints.
fn dupper(endpoints: &[&str], mode: &[&str]) -> Server {
    let mut command = host();
    command.arg("serve").arg(build::guest("rust", "dupper").unwrap());
    command.args(endpoints.iter().flat_map(|endpoint| ["--bind", endpoint]));
    command.args(["--stats", "--log-format", "json"]).args(mode);
    Server::start(&mut command, endpoints.len()).unwrap()
}

/// Stops the server, and returns the counts of accepted and finished requests and of dropped
/// datagrams.
fn stop_and_count(mut server: Server) -> [Value; 3] {
    assert!(server.stop().unwrap().success());
    let line = server.log().iter().rev().find(|line| line.contains("\"counters\"")).unwrap();
    let counters = &serde_json::from_str::<Value>(line).unwrap()["counters"];
    let requests = &counters["requests"];
    [&requests["accepted"], &requests["done"], &counters["datagrams_dropped"]].map(Clone::clone)
}

#[test]
fn a_udp_datagram_that_claims_an_address_of_the_server_is_dropped() {
    for mode in MODES {
        let server = dupper(&["udp://0.0.0.0:0", "udp://127.0.0.1:0"], mode);
        let [all, one] = [0, 1].map(|index| match Target::parse(&server.endpoints()[index]) {
            Ok(Target::Udp(address)) => address,
            other => panic!("{:?}", other.map(drop)),
        });
        let all = |last| SocketAddr::from(([127, 0, 0, last], all.port()));
        let forged = [(all(9), all(1)), (all(1), all(1)), (all(8), one), (one, all(7)), (one, one)];
        for (from, to) in forged {
            if send_spoofed(from, to, b"again").is_none() {
                println!("skipped: only root may forge the source of a datagram");
                return;
            }
        }
        for _ in 0..ORDINARY {
            for address in [all(1), one] {
                let client = UdpSocket::bind("127.0.0.1:0").unwrap();
                client.set_read_timeout(Some(TIMEOUT)).unwrap();
                client.send_to(b"ordinary", address).unwrap();
                let mut answer = [0; 8];
                client.recv(&mut answer).unwrap();
                assert_eq!(&answer, b"ORDINARY");
            }
        }
        let requests = json!(2 * ORDINARY);
        let dropped = json!({ "own-address": forged.len() });
        assert_eq!(stop_and_count(server), [requests.clone(), requests, dropped], "{mode:?}");
    }
}

/// The server answers the first datagram. The answer arrives at the server's own socket, from
/// the server's own address, and is dropped.
#[test]
fn a_unix_datagram_from_a_link_to_the_server_is_answered_once() {
    for mode in MODES {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let endpoints = ["one", "other"].map(|name| format!("unixgram://{}", path(name).display()));
        let mut server = dupper(&endpoints.each_ref().map(String::as_str), mode);
        let forged = ["one", "other"];
        for name in forged {
            let client = path(&format!("client-{name}"));
            let socket = UnixDatagram::bind(&client).unwrap();
            fs::remove_file(&client).unwrap();
            symlink(path(name), &client).unwrap();
            socket.send_to(b"again", path("one")).unwrap();
        }
        let dropped = json!({ "own-address": forged.len() });
        wait_until("the server has dropped its own answers", || {
            request_counters(&mut server)["datagrams_dropped"] == dropped
        });
        for name in ["one", "other"].repeat(ORDINARY) {
            ask(&path(name), &path("asking"));
        }
        let requests = json!(forged.len() + 2 * ORDINARY);
        assert_eq!(stop_and_count(server), [requests.clone(), requests, dropped], "{mode:?}");
    }
}

/// Sends one request from a socket that is bound to `name`, and checks the answer.
fn ask(server: &Path, name: &Path) {
    let client = UnixDatagram::bind(name).unwrap();
    client.set_read_timeout(Some(TIMEOUT)).unwrap();
    client.send_to(b"ordinary", server).unwrap();
    let mut answer = [0; 8];
    client.recv(&mut answer).unwrap();
    assert_eq!(&answer, b"ORDINARY");
    fs::remove_file(name).unwrap();
}
