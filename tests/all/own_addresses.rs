//! Datagrams that would have the server talk to itself, in every way of running
//! requests.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use serde_json::{Value, json};
use socketserver_tests::build;
use socketserver_tests::load::Target;
use socketserver_tests::process::{PATIENCE, Server};

use crate::attacks::wait_until;
use crate::counters::asked;
use crate::fixture::{MODES, host};
use crate::forged::spoofed;

/// How often each socket is asked after something was forged.
const ASKED: usize = 20;

/// `dupper` at these places.
fn dupper(places: &[&str], mode: &[&str]) -> Server {
    let mut command = host();
    command.arg("serve").arg(build::guest("rust", "dupper").unwrap());
    command.args(places.iter().flat_map(|place| ["--bind", place]));
    command.args(["--stats", "--log-format", "json"]).args(mode);
    Server::start(&mut command, places.len()).unwrap()
}

/// How many requests were accepted and done, and what was dropped, once it has ended.
fn counted(mut server: Server) -> [Value; 3] {
    assert!(server.stop().unwrap().success());
    let line = server.log().iter().rev().find(|line| line.contains("\"counters\"")).unwrap();
    let counters = &serde_json::from_str::<Value>(line).unwrap()["counters"];
    let requests = &counters["requests"];
    [&requests["accepted"], &requests["done"], &counters["datagrams_dropped"]].map(Clone::clone)
}

#[test]
fn what_claims_to_come_from_a_udp_socket_of_the_server_is_no_request() {
    for mode in MODES {
        let server = dupper(&["udp://0.0.0.0:0", "udp://127.0.0.1:0"], mode);
        let [all, one] = [0, 1].map(|place| match Target::parse(&server.endpoints()[place]) {
            Ok(Target::Udp(address)) => address,
            other => panic!("{:?}", other.map(drop)),
        });
        let all = |last| SocketAddr::from(([127, 0, 0, last], all.port()));
        let forged = [(all(9), all(1)), (all(1), all(1)), (all(8), one), (one, all(7)), (one, one)];
        for (from, to) in forged {
            if spoofed(from, to, b"again").is_none() {
                println!("skipped: only root may send such");
                return;
            }
        }
        for _ in 0..ASKED {
            for address in [all(1), one] {
                let client = UdpSocket::bind("127.0.0.1:0").unwrap();
                client.set_read_timeout(Some(PATIENCE)).unwrap();
                client.send_to(b"ordinary", address).unwrap();
                let mut answer = [0; 8];
                client.recv(&mut answer).unwrap();
                assert_eq!(&answer, b"ORDINARY");
            }
        }
        let requests = json!(2 * ASKED);
        let dropped = json!({ "own-address": forged.len() });
        assert_eq!(counted(server), [requests.clone(), requests, dropped], "{mode:?}");
    }
}

/// The answer arrives where the name leads, and comes from where the server is bound.
#[test]
fn a_unix_name_that_leads_to_the_server_is_answered_once() {
    for mode in MODES {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let places = ["one", "other"].map(|name| format!("unixgram://{}", path(name).display()));
        let mut server = dupper(&places.each_ref().map(String::as_str), mode);
        let forged = ["one", "other"];
        for name in forged {
            let client = path(&format!("client-{name}"));
            let socket = UnixDatagram::bind(&client).unwrap();
            fs::remove_file(&client).unwrap();
            symlink(path(name), &client).unwrap();
            socket.send_to(b"again", path("one")).unwrap();
        }
        let dropped = json!({ "own-address": forged.len() });
        wait_until("the answers have come back", || {
            asked(&mut server)["datagrams_dropped"] == dropped
        });
        for name in ["one", "other"].repeat(ASKED) {
            ask(&path(name), &path("asking"));
        }
        let requests = json!(forged.len() + 2 * ASKED);
        assert_eq!(counted(server), [requests.clone(), requests, dropped], "{mode:?}");
    }
}

/// Asks once, from a socket of that name.
fn ask(server: &Path, name: &Path) {
    let client = UnixDatagram::bind(name).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send_to(b"ordinary", server).unwrap();
    let mut answer = [0; 8];
    client.recv(&mut answer).unwrap();
    assert_eq!(&answer, b"ORDINARY");
    fs::remove_file(name).unwrap();
}
