//! The options of `serve` that refuse clients: each admits the clients that it should, and
//! refuses those beyond.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::process::{getegid, geteuid};
use serde_json::json;
use socketserver_tests::build;
use socketserver_tests::process::{Server, TIMEOUT, send_signal, wait_until};
use socketserver_tests::procfs::children;
use tempfile::TempDir;

use crate::client::{ask, connect_from, echo, expect, in_flight, read_to_end, reset};
use crate::counters::request_counters;
use crate::fixture::{MODES, host, serve};

/// Starts the sample `upper` with `options`.
fn upper(options: &[&str]) -> Server {
    Server::start(serve().args(options), 1).unwrap()
}

/// Sends a request from the address `client` and returns the answer.
fn ask_from(client: &str, server: SocketAddr) -> Vec<u8> {
    let mut stream = connect_from(client, server);
    // The server may have refused the client already.
    let _ = stream.write_all(b"hello");
    read_to_end(&mut stream)
}

#[test]
fn allow_and_deny_take_networks() {
    let options = ["--allow", "127.0.0.0/24", "--allow", "127.0.1.77", "--deny", "127.0.0.2"];
    let server = upper(&options);
    for (client, answer) in [
        ("127.0.0.1", &b"HELLO"[..]),
        ("127.0.0.2", b""),
        ("127.0.0.3", b"HELLO"),
        ("127.0.1.77", b"HELLO"),
        ("127.0.1.78", b""),
        ("127.0.2.1", b""),
    ] {
        assert_eq!(ask_from(client, server.address()), answer, "{client}");
    }
}

#[test]
fn an_ipv4_address_mapped_to_ipv6_is_judged_as_ipv4() {
    let mut command = host();
    command.args(["serve", "--bind", "tcp://[::]:0", "--deny", "127.0.0.2"]);
    let server = Server::start(&mut command, 1).unwrap();
    let v4 = SocketAddr::from(([127, 0, 0, 1], server.address().port()));
    assert_eq!(ask_from("127.0.0.1", v4), b"HELLO");
    assert_eq!(ask_from("127.0.0.2", v4), b"");
}

/// A server of a Unix stream socket and one of a Unix datagram socket.
struct UnixServers {
    stream: Server,
    datagram: Server,
    directory: TempDir,
}

impl UnixServers {
    fn start(options: &[&str]) -> UnixServers {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let start = |sample: &str, bind: String| {
            let mut command = host();
            command.arg("serve").arg(build::guest("rust", sample).unwrap());
            command.args(["--bind", &bind, "--log-level", "debug"]).args(options);
            Server::start(&mut command, 1).unwrap()
        };
        let stream = start("upper", format!("unix://{}", path("stream")));
        let datagram = start("dupper", format!("unixgram://{}", path("datagram")));
        UnixServers { stream, datagram, directory }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn ask_stream(&self) -> Vec<u8> {
        ask_unix(&self.path("stream"))
    }

    /// Makes a client of the datagram server that is bound to a path.
    fn client(&self, name: &str) -> UnixDatagram {
        let client = UnixDatagram::bind(self.path(name)).unwrap();
        client.connect(self.path("datagram")).unwrap();
        client.set_read_timeout(Some(TIMEOUT)).unwrap();
        client
    }

    fn ask_datagram(&self, name: &str) -> Vec<u8> {
        let client = self.client(name);
        client.send(b"hello").unwrap();
        let mut answer = [0; 100];
        let count = client.recv(&mut answer).unwrap();
        answer[..count].to_vec()
    }
}

fn ask_unix(path: &Path) -> Vec<u8> {
    let mut stream = UnixStream::connect(path).unwrap();
    // The server may have refused the client already.
    let _ = stream.write_all(b"hello");
    let mut answer = Vec::new();
    // A server that closes with data unread resets the connection.
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn allow_and_deny_take_users_and_groups_of_unix_clients() {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let user = |uid| format!("user:{uid}");
    let group = |gid| format!("group:{gid}");
    for (option, identity, rule) in [
        ("--allow", user(uid), None),
        ("--allow", user(uid + 1), Some("allow")),
        ("--deny", user(uid), Some("deny")),
        ("--deny", user(uid + 1), None),
        ("--allow", group(gid), None),
        ("--allow", group(gid + 1), Some("allow")),
        ("--deny", group(gid), Some("deny")),
        ("--deny", group(gid + 1), None),
    ] {
        let mut servers = UnixServers::start(&[option, &identity]);
        let Some(rule) = rule else {
            assert_eq!(servers.ask_stream(), b"HELLO", "{option} {identity}");
            assert_eq!(servers.ask_datagram("client"), b"HELLO", "{option} {identity}");
            continue;
        };
        assert_eq!(servers.ask_stream(), b"", "{option} {identity}");
        servers.client("client").send(b"hello").unwrap();
        let rule = format!("rule=\"{rule}\"");
        servers.stream.wait_for_log(&rule).unwrap();
        servers.datagram.wait_for_log(&rule).unwrap();
    }
}

#[test]
fn max_per_source_bounds_the_requests_of_a_source_in_every_mode() {
    for mode in
        [&["--concurrency", "threading"][..], &["--concurrency", "forking"], &["--workers", "1"]]
    {
        let options = [mode, &["--max-per-source", "2", "--log-level", "debug"]].concat();
        let mut server = echo(&options);
        let first = in_flight(&server);
        let mut second = in_flight(&server);
        assert_eq!(ask_from("127.0.0.1", server.address()), b"", "{mode:?}");
        server.wait_for_log("rule=\"per-source\"").unwrap();
        // Another source has its own permits.
        let mut other = connect_from("127.0.0.2", server.address());
        other.write_all(b"3").unwrap();
        expect(&mut other, b"3");
        drop(first);
        wait_until("a permit is free", || ask(&server, b"4") == b"4");
        second.write_all(b"5").unwrap();
        expect(&mut second, b"5");
    }
}

#[test]
fn the_permit_of_a_killed_child_is_free_again() {
    let mut server = echo(&["--concurrency", "forking", "--max-per-source", "1"]);
    for _ in 0..3 {
        let mut stream = in_flight(&server);
        let child = children(server.pid()).unwrap()[0];
        assert_eq!(ask(&server, b"x"), b"");
        send_signal(child, "KILL").unwrap();
        assert_eq!(read_to_end(&mut stream), b"");
        server.wait_for_log("was ended by signal 9").unwrap();
        assert_eq!(ask(&server, b"next"), b"next");
        wait_until("the child has ended", || children(server.pid()).unwrap().is_empty());
    }
}

#[test]
fn source_rate_bounds_how_often_a_source_comes_in_every_mode() {
    for mode in [&["--concurrency", "sync"][..], &["--concurrency", "forking"], &["--workers", "1"]]
    {
        let options = [mode, &["--source-rate", "0.001:3", "--log-level", "debug"]].concat();
        let mut server = upper(&options);
        for client in ["127.0.0.1", "127.0.0.2"] {
            for answer in [&b"HELLO"[..], b"HELLO", b"HELLO", b"", b""] {
                assert_eq!(ask_from(client, server.address()), answer, "{mode:?}");
            }
        }
        server.wait_for_log("rule=\"source-rate\"").unwrap();
    }
}

#[test]
fn one_client_too_many_in_a_second_begins_a_pause() {
    let mut server = upper(&["--cps", "1:1h", "--log-format", "json"]);
    // Sooner or later two clients come in the same second.
    while ask(&server, b"x") == b"X" {}
    let line = server.wait_for_log("too many clients in a second").unwrap();
    assert!(line.contains("WARN") && line.contains("\"rule\":\"rate\""), "{line}");
    for _ in 0..3 {
        assert_eq!(ask(&server, b"x"), b"");
    }
    let refused = &request_counters(&mut server)["requests"]["refused"];
    assert_eq!(*refused, json!({ "rate": 1, "pause": 3 }));
    assert!(server.stop().unwrap().success());
    let lines = server.log().iter().filter(|line| line.contains("too many")).count();
    assert_eq!(lines, 1, "clients that come in the pause are not logged");
}

/// A burst comes, and then 30 clients per second, where 50 are allowed. Clients that come in
/// a pause do not count, so that they begin no other pause.
#[test]
fn a_burst_begins_one_pause_and_a_load_below_the_rate_begins_none() {
    for mode in MODES {
        let options = [mode, &["--cps", "50:1s", "--log-format", "json"]].concat();
        let mut server = upper(&options);
        let come = |pace| {
            thread::sleep(pace);
            let mut client = server.connect().unwrap();
            // The server may have refused the client already.
            let _ = client.write_all(b"x");
            let _ = client.shutdown(Shutdown::Write);
            client
        };
        let _burst: Vec<_> = (0..120).map(|_| come(Duration::ZERO)).collect();
        let mut steady: Vec<_> = (0..90).map(|_| come(Duration::from_millis(33))).collect();
        let last = read_to_end(steady.last_mut().unwrap());
        let requests = &request_counters(&mut server)["requests"];
        assert_eq!(requests["refused"]["rate"], 1, "{mode:?}: {requests}");
        let answered = steady.iter_mut().map(read_to_end).filter(|answer| answer == b"X").count();
        assert!(last == b"X" && answered >= 50, "{mode:?}: {answered} {requests}");
    }
}

#[test]
fn above_max_load_all_clients_are_refused() {
    // While tests run, the load of the machine is between the two.
    for (load, answer) in [("0.01", &b""[..]), ("10000", b"X")] {
        assert_eq!(ask(&upper(&["--max-load", load]), b"x"), answer, "{load}");
    }
}

#[test]
fn access_times_are_times_of_the_local_clock() {
    // Time zones in which it is noon or midnight now, or was a moment ago.
    let minutes = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() / 60 % (24 * 60);
    let minutes = i32::try_from(minutes).unwrap();
    let west = |minutes: i32| {
        let sign = if minutes < 0 { '-' } else { '+' };
        format!("HERE{sign}{}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
    };
    let [noon, midnight] = [west(minutes - 12 * 60), west(minutes)];
    for (times, zone, answer) in [
        (&["11:30-12:30"][..], &noon, &b"X"[..]),
        (&["12:30-11:30"], &noon, b""),
        (&["13:00-14:00", "11:30-12:30"], &noon, b"X"),
        (&["11:30-12:30"], &midnight, b""),
        (&["23:30-00:30"], &midnight, b"X"),
    ] {
        let mut command = serve();
        command.env("TZ", zone).args(times.iter().flat_map(|time| ["--access-times", time]));
        let server = Server::start(&mut command, 1).unwrap();
        assert_eq!(ask(&server, b"x"), answer, "{times:?} {zone}");
    }
    let mut command = serve();
    let unknown = command.env("TZ", "No/Where").args(["--access-times", "08:00-18:00"]);
    let error = Server::start(unknown, 1).err().unwrap().to_string();
    assert!(error.contains("cannot tell the time for --access-times"), "{error}");
}

#[test]
fn only_refused_clients_receive_the_banner() {
    let options = ["--deny", "127.0.0.2", "--source-rate", "0.001:1"];
    let options = [&options[..], &["--banner-refused", r"not now\r\n"]].concat();
    let server = upper(&options);
    assert_eq!(ask_from("127.0.0.2", server.address()), b"not now\r\n");
    assert_eq!(ask_from("127.0.0.1", server.address()), b"HELLO");
    assert_eq!(ask_from("127.0.0.1", server.address()), b"not now\r\n");
}

#[test]
fn rules_hold_in_a_jailed_worker() {
    let options = ["--workers", "1", "--jail", "try", "--max-load", "10000", "--source-rate", "99"];
    let more = ["--access-times", "00:00-24:00", "--max-per-source", "9", "--cps", "99"];
    let banner = ["--deny", "127.0.0.2", "--banner-refused", "no"];
    let server = upper(&[&options[..], &more, &banner].concat());
    assert_eq!(ask(&server, b"x"), b"X");
    assert_eq!(ask_from("127.0.0.2", server.address()), b"no");
    let own = format!("user:{}", geteuid().as_raw());
    let servers = UnixServers::start(&[&options[..], &more, &["--allow", &own]].concat());
    assert_eq!(servers.ask_stream(), b"HELLO");
    assert_eq!(servers.ask_datagram("client"), b"HELLO");
}

#[test]
fn a_flood_of_refused_clients_logs_nothing_and_starves_no_other_client() {
    let mut server = upper(&["--deny", "127.0.0.2"]);
    let address = server.address();
    let flood =
        thread::spawn(move || (0..2000).for_each(|_| drop(connect_from("127.0.0.2", address))));
    let mut answered = 0;
    while answered < 20 || !flood.is_finished() {
        assert_eq!(ask_from("127.0.0.1", address), b"HELLO");
        answered += 1;
    }
    flood.join().unwrap();
    assert!(server.stop().unwrap().success());
    assert!(!server.log().iter().any(|line| line.contains("127.0.0.2")), "{:#?}", server.log());
}

#[test]
fn a_connection_that_was_reset_before_accept_costs_no_instance() {
    for mode in
        [&["--concurrency", "sync"][..], &["--concurrency", "threading", "--max-requests", "1"]]
    {
        let mut server = echo(&[mode, &["--stats", "--log-level", "debug"]].concat());
        let first = in_flight(&server);
        // No permit is free, so these connections wait in the backlog.
        for _ in 0..7 {
            reset(server.connect().unwrap());
        }
        drop(first);
        assert_eq!(ask(&server, b"next"), b"next");
        assert!(server.stop().unwrap().success());
        let log = server.log();
        let count = |texts: [&str; 2]| {
            log.iter().filter(|line| texts.iter().all(|text| line.contains(text))).count()
        };
        assert_eq!(count(["refused", "rule=\"reset\""]), 7, "{mode:?}: {log:#?}");
        assert_eq!(count(["reset  ", " 7"]), 1, "{mode:?}: {log:#?}");
        assert_eq!(count(["instances  ", " 2"]), 1, "{mode:?}: {log:#?}");
        assert_eq!(count(["Exception", ""]), 0, "{mode:?}: {log:#?}");
    }
}
