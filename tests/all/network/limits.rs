//! The limits of sockets that a handler opens, and handlers that try to exceed them.

use std::net::TcpListener;
use std::process::Command;

use socketserver_tests::process::Server;

use super::{Dialer, MODES, dialer, full_listener, with};

fn descriptors(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count()
}

/// Checks that the next failed request has this reason, and that another client is served.
fn ends_for(server: &mut Server, reason: &str) {
    let line = server.wait_for_log("Exception occurred").unwrap();
    assert!(line.contains(&format!("reason=\"{reason}\"")), "{line}");
    Dialer::connect(server).expect(&[("lookup 127.0.0.1", "127.0.0.1:80")]);
}

#[test]
fn a_handler_has_as_many_sockets_open_as_it_may() {
    for mode in MODES {
        let options =
            ["--connect", "tcp://127.0.0.1:1", "--connect", "unix://@x", "--sockets", "5"];
        let server = dialer(&with(mode, &options));
        Dialer::connect(&server).expect(&[
            ("flood inet stream", "5 too many open files"),
            ("socket unix dgram", "E too many open files"),
            ("pair stream", "E too many open files"),
            // A socket that is closed or dropped makes room for another.
            ("close", "ok"),
            ("flood inet stream", "1 too many open files"),
            ("drop", "ok"),
            ("drop", "ok"),
            ("drop", "ok"),
            ("pair stream", "ok"),
        ]);
    }
}

#[test]
fn a_handler_that_connects_without_end_is_ended() {
    for mode in MODES {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let grant = format!("tcp://{closed}");
        let mut server = dialer(&with(mode, &["--connect", &grant, "--connects", "20"]));
        Dialer::connect(&server).send(&format!("storm {closed}"));
        ends_for(&mut server, "connects");
    }
}

#[test]
fn a_handler_that_waits_for_its_own_sockets_for_ever_is_ended() {
    for mode in MODES.into_iter().skip(1) {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let (full, _waiting) = full_listener();
        let full = full.local_addr().unwrap().as_socket().unwrap();
        let mut options = with(mode, &["--listen-grant", "tcp://127.0.0.1:0"]);
        let connect = "tcp://127.0.0.1:*";
        options.extend(["--idle-timeout", "700ms", "--connect", connect]);
        let mut server = dialer(&options);
        // A peer that never sends.
        let mut client = Dialer::connect(&server);
        let address = silent.local_addr().unwrap();
        client.expect(&[("socket inet stream", "ok"), (&format!("connect {address}"), "ok")]);
        client.send("recv");
        ends_for(&mut server, "outbound");
        // A peer that never answers.
        let mut client = Dialer::connect(&server);
        client.expect(&[("socket inet stream", "ok")]);
        client.send(&format!("connect {full}"));
        ends_for(&mut server, "outbound");
        // A client that never comes.
        let mut client = Dialer::connect(&server);
        client.expect(&[("socket inet stream", "ok")]);
        client.expect(&[("bind 127.0.0.1:0", "ok"), ("listen", "ok")]);
        client.send("accept");
        ends_for(&mut server, "outbound");
    }
}

/// The client can end a wait for its own socket, but no other wait.
#[test]
fn the_blame_for_a_wait_in_select_depends_on_its_sockets() {
    for mode in MODES.into_iter().skip(1) {
        let options = ["--idle-timeout", "400ms", "--connect", "unix://@x"];
        let mut server = dialer(&with(mode, &options));
        for (what, reason, blame) in [
            ("own", "outbound", "policy"),
            ("client", "idle-timeout", "client"),
            ("both", "idle-timeout", "client"),
            ("nothing", "sleep", "guest"),
        ] {
            let mut client = Dialer::connect(&server);
            client.expect(&[("pair stream", "ok")]);
            client.send(&format!("wait {what}"));
            let line = server.wait_for_log("Exception occurred").unwrap();
            let end = format!("blame=\"{blame}\" reason=\"{reason}\"");
            assert!(line.contains(&end), "{what}: {line}");
        }
    }
}

#[test]
fn a_timeout_of_a_handler_ends_a_connect_that_hangs() {
    let (full, _waiting) = full_listener();
    let full = full.local_addr().unwrap().as_socket().unwrap();
    let server = dialer(&["--connect", "tcp://127.0.0.1:*"]);
    Dialer::connect(&server).expect(&[
        ("socket inet stream", "ok"),
        ("timeout 0.05", "ok"),
        (&format!("connect {full}"), "E timed out"),
        ("socket inet stream", "ok"),
        ("timeout 0", "ok"),
        (&format!("connect {full}"), "E operation now in progress"),
        (&format!("connect {full}"), "E operation already in progress"),
    ]);
}

#[test]
fn a_thousand_denials_are_one_line_of_the_log() {
    let mut server = dialer(&["--connect", "tcp://127.0.0.1:1"]);
    let mut client = Dialer::connect(&server);
    client.expect(&[("socket inet stream", "ok"), ("denials 127.0.0.1:2", "1000")]);
    drop(client);
    server.stop().unwrap();
    assert_eq!(server.log().iter().filter(|line| line.contains("denied")).count(), 1);
}

/// Ten handlers open all that they can. The server has descriptors left for another client, and
/// closes theirs with their requests.
#[test]
fn handlers_that_open_all_they_can_leave_descriptors_for_others() {
    let mut command = Command::new("prlimit");
    command.arg("--nofile=256:256").arg(socketserver_tests::build::host().unwrap());
    command.args(["serve", "--bind", "tcp://127.0.0.1:0", "--sockets", "1000"]);
    command.args(["--connect", "tcp://127.0.0.1:1"]);
    command.arg(socketserver_tests::build::guest("rust", "dialer").unwrap());
    let server = Server::start(&mut command, 1).unwrap();
    Dialer::connect(&server).expect(&[("lookup 127.0.0.1", "127.0.0.1:80")]);
    let before = descriptors(&server);
    let mut handlers: Vec<_> = (0..10).map(|_| Dialer::connect(&server)).collect();
    let mut opened = 0;
    for handler in &mut handlers {
        let answer = handler.ask("flood inet stream");
        let (count, error) = answer.split_once(' ').unwrap();
        assert_eq!(error, "too many open files");
        opened += count.parse::<usize>().unwrap();
    }
    assert!((20..=96).contains(&opened), "{opened}");
    let mut bystanders: Vec<_> = (0..10).map(|_| Dialer::connect(&server)).collect();
    for bystander in &mut bystanders {
        bystander.expect(&[("lookup 127.0.0.1", "127.0.0.1:80")]);
    }
    drop((handlers, bystanders));
    while descriptors(&server) > before {
        std::thread::yield_now();
    }
}
