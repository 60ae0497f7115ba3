//! Programs that use `wasi:sockets` against the host: another client is served meanwhile.

use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use socketserver_tests::build;
use socketserver_tests::process::{Server, wait_until};
use socketserver_tests::usage::Usage;

use super::{DENIED, dial};
use crate::network::{Dialer, MODES, full_listener, with};

/// Checks that another client is served.
fn bystander(server: &Server) {
    Dialer::connect(server).expect(&[("resolve 127.0.0.1", "127.0.0.1")]);
}

/// Checks that the next failed request has this reason, and that another client is served.
fn ends_for(server: &mut Server, reason: &str) {
    let line = server.wait_for_log("Exception occurred").unwrap();
    assert!(line.contains(&format!("reason=\"{reason}\"")), "{line}");
    bystander(server);
}

#[test]
fn a_program_has_as_many_sockets_open_as_it_may() {
    for mode in MODES {
        let options = ["--connect", "tcp://127.0.0.1:1", "--connect", "udp://127.0.0.1:1"];
        let server = dial(&with(mode, &[&options[..], &["--sockets", "5"]].concat()));
        Dialer::connect(&server).expect(&[
            ("tcp flood", "5 new-socket-limit"),
            ("udp new 4", "E new-socket-limit"),
            ("tcp drop", "ok"),
            ("udp new 4", "ok"),
            ("tcp new 4", "E new-socket-limit"),
        ]);
    }
}

#[test]
fn a_program_that_opens_a_thousand_sockets_is_ended() {
    for mode in MODES {
        let grants = ["--connect", "tcp://127.0.0.1:1", "--sockets", "1000"];
        let mut server = dial(&with(mode, &grants));
        Dialer::connect(&server).send("tcp flood");
        ends_for(&mut server, "handles");
    }
}

/// Ten programs open all that they can. The server has descriptors left for other clients, and
/// closes theirs with their requests.
#[test]
fn programs_that_open_all_they_can_leave_descriptors_for_others() {
    let mut command = Command::new("prlimit");
    command.arg("--nofile=256:256").arg(build::host().unwrap());
    command.args(["serve", "--bind", "tcp://127.0.0.1:0", "--sockets", "1000"]);
    command.args(["--connect", "tcp://127.0.0.1:1"]).arg(build::guest("rust", "dial").unwrap());
    let server = Server::start(&mut command, 1).unwrap();
    bystander(&server);
    let before = Usage::of_process(server.pid()).unwrap().descriptors;
    let mut programs: Vec<_> = (0..10).map(|_| Dialer::connect(&server)).collect();
    let mut opened = 0;
    for program in &mut programs {
        let answer = program.ask("tcp flood");
        let (count, error) = answer.split_once(' ').unwrap();
        assert_eq!(error, "new-socket-limit");
        opened += count.parse::<usize>().unwrap();
    }
    assert!((20..=96).contains(&opened), "{opened}");
    for _ in 0..10 {
        bystander(&server);
    }
    drop(programs);
    wait_until("the sockets are closed", || {
        Usage::of_process(server.pid()).unwrap().descriptors <= before
    });
}

/// A lookup that is left goes on. A program has a few at once, and no more.
#[test]
fn lookups_that_a_program_leaves_are_no_more_than_it_may_have() {
    let server = dial(&["--resolve", "localhost"]);
    let mut client = Dialer::connect(&server);
    for _ in 0..100 {
        let answer = client.ask("resolve start localhost");
        assert!(["ok", "E temporary-resolver-failure"].contains(&answer.as_str()), "{answer}");
        if answer == "ok" {
            client.expect(&[("resolve leave", "ok")]);
        }
    }
    bystander(&server);
    wait_until("a lookup works", || !client.ask("resolve localhost").starts_with('E'));
}

#[test]
fn a_program_that_connects_or_accepts_without_end_is_ended() {
    for mode in MODES {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (connect, limit) = (format!("tcp://{closed}"), ["--connects", "20"]);
        let grants = ["--connect", &connect, "--listen-grant", "tcp://127.0.0.1:0"];
        let mut server = dial(&with(mode, &[&grants[..], &limit].concat()));
        Dialer::connect(&server).send(&format!("tcp storm {closed}"));
        ends_for(&mut server, "connects");
        let mut client = Dialer::connect(&server);
        client.expect(&[("tcp new 4", "ok"), ("tcp bind 127.0.0.1:0", "ok"), ("tcp listen", "ok")]);
        let address = client.ask("tcp local");
        client.send("tcp accept-all");
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    let _ = std::net::TcpStream::connect(&address);
                }
            });
            let line = server.wait_for_log("Exception occurred");
            is_over.store(true, Relaxed);
            assert!(line.unwrap().contains("reason=\"connects\""));
        });
        bystander(&server);
    }
}

#[test]
fn a_program_that_waits_for_its_own_sockets_for_ever_is_ended() {
    for mode in MODES.into_iter().skip(1) {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let (full, _waiting) = full_listener();
        let full = full.local_addr().unwrap().as_socket().unwrap();
        let grants = [
            "--connect",
            "tcp://127.0.0.1:*",
            "--listen-grant",
            "tcp://127.0.0.1:0",
            "--listen-grant",
            "udp://127.0.0.1:0",
            "--idle-timeout",
            "700ms",
        ];
        let mut server = dial(&with(mode, &grants));
        let to = silent.local_addr().unwrap();
        let connected = ["tcp new 4", &format!("tcp connect {to}")].map(str::to_owned);
        let endless = [
            // A peer that never sends, one that never receives, one that never answers.
            [&connected[..], &["tcp recv".to_owned()]].concat(),
            [&connected[..], &["tcp bulk 100000000".to_owned()]].concat(),
            vec!["tcp new 4".to_owned(), format!("tcp connect {full}")],
            // A client that never comes.
            ["tcp new 4", "tcp bind 127.0.0.1:0", "tcp listen", "tcp accept"]
                .map(str::to_owned)
                .to_vec(),
            ["udp new 4", "udp bind 127.0.0.1:0", "udp stream", "udp recv"]
                .map(str::to_owned)
                .to_vec(),
        ];
        for lines in endless {
            let (last, first) = lines.split_last().unwrap();
            let mut client = Dialer::connect(&server);
            for line in first {
                client.expect(&[(line, "ok")]);
            }
            client.send(last);
            ends_for(&mut server, "outbound");
        }
    }
}

#[test]
fn bytes_of_its_sockets_count_as_those_of_the_request() {
    for mode in MODES {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let grant = format!("tcp://{to}");
        let limits = ["--connect", &grant, "--max-sent", "1MiB", "--max-received", "1MiB"];
        let mut server = dial(&with(mode, &limits));
        let mut client = Dialer::connect(&server);
        client.expect(&[("tcp new 4", "ok"), (&format!("tcp connect {to}"), "ok")]);
        client.send("tcp bulk 2000000");
        let (mut upstream, _) = listener.accept().unwrap();
        std::thread::spawn(move || std::io::copy(&mut upstream, &mut std::io::sink()));
        ends_for(&mut server, "sent");
    }
}

#[test]
fn a_program_that_breaks_the_rules_of_the_interface_is_ended() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let server =
        &mut dial(&["--connect", &format!("tcp://{to}"), "--connect", "udp://127.0.0.1:1"]);
    let mut client = Dialer::connect(server);
    client.expect(&[("tcp new 4", "ok"), (&format!("tcp connect {to}"), "ok")]);
    client.send("tcp overrun");
    ends_for(server, "call");
    for last in
        ["udp stream-twice", "udp send-many 17 127.0.0.1:1", "udp send-many 100000 127.0.0.1:1"]
    {
        let mut client = Dialer::connect(server);
        client.expect(&[("udp new 4", "ok"), ("udp bind 127.0.0.1:0", "ok"), ("udp stream", "ok")]);
        client.send(last);
        ends_for(server, "call");
    }
}

#[test]
fn a_thousand_denials_are_one_line_of_the_log() {
    let mut server = dial(&["--connect", "tcp://127.0.0.1:1"]);
    let mut client = Dialer::connect(&server);
    client.expect(&[("tcp denials 127.0.0.1:2", "ok"), ("udp new 4", DENIED)]);
    drop(client);
    server.stop().unwrap();
    assert_eq!(server.log().iter().filter(|line| line.contains("denied")).count(), 1);
}
