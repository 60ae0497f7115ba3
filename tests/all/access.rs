//! Who is served: each option of `serve` that refuses clients, that it lets in
//! whom it says, and that whom is next to it is refused.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::process::{getegid, geteuid};
use serde_json::json;
use socketserver_tests::build;
use socketserver_tests::process::{PATIENCE, Server};
use tempfile::TempDir;

use crate::client::{ask, connect_from, echo, expect, in_flight, read_to_end, reset};
use crate::counters::asked;
use crate::fixture::{MODES, host, serve};

/// The sample, with these options.
fn upper(options: &[&str]) -> Server {
    Server::start(serve().args(options), 1).unwrap()
}

/// Asks the server from there.
fn ask_from(client: &str, server: SocketAddr) -> Vec<u8> {
    let mut stream = connect_from(client, server);
    // A refused client may be gone already.
    let _ = stream.write_all(b"hello");
    read_to_end(&mut stream)
}

fn children(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    children.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "not so: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn allow_and_deny_name_networks() {
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
fn ipv4_in_ipv6_is_ipv4() {
    let mut command = host();
    command.args(["serve", "--bind", "tcp://[::]:0", "--deny", "127.0.0.2"]);
    let server = Server::start(&mut command, 1).unwrap();
    let v4 = SocketAddr::from(([127, 0, 0, 1], server.address().port()));
    assert_eq!(ask_from("127.0.0.1", v4), b"HELLO");
    assert_eq!(ask_from("127.0.0.2", v4), b"");
}

/// A server of streams and one of datagrams, with these options.
struct OnUnix {
    stream: Server,
    datagram: Server,
    directory: TempDir,
}

impl OnUnix {
    fn new(options: &[&str]) -> OnUnix {
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
        OnUnix { stream, datagram, directory }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn ask_stream(&self) -> Vec<u8> {
        ask_unix(&self.path("stream"))
    }

    /// A client of datagrams with a name.
    fn client(&self, name: &str) -> UnixDatagram {
        let client = UnixDatagram::bind(self.path(name)).unwrap();
        client.connect(self.path("datagram")).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
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
    // A refused client may be gone already.
    let _ = stream.write_all(b"hello");
    let mut answer = Vec::new();
    // Unread data makes a reset of the end.
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn allow_and_deny_name_users_and_groups_of_unix_sockets() {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let user = |uid| format!("user:{uid}");
    let group = |gid| format!("group:{gid}");
    for (option, who, rule) in [
        ("--allow", user(uid), None),
        ("--allow", user(uid + 1), Some("allow")),
        ("--deny", user(uid), Some("deny")),
        ("--deny", user(uid + 1), None),
        ("--allow", group(gid), None),
        ("--allow", group(gid + 1), Some("allow")),
        ("--deny", group(gid), Some("deny")),
        ("--deny", group(gid + 1), None),
    ] {
        let mut servers = OnUnix::new(&[option, &who]);
        let Some(rule) = rule else {
            assert_eq!(servers.ask_stream(), b"HELLO", "{option} {who}");
            assert_eq!(servers.ask_datagram("client"), b"HELLO", "{option} {who}");
            continue;
        };
        assert_eq!(servers.ask_stream(), b"", "{option} {who}");
        servers.client("client").send(b"hello").unwrap();
        let rule = format!("rule=\"{rule}\"");
        servers.stream.wait_for_log(&rule).unwrap();
        servers.datagram.wait_for_log(&rule).unwrap();
    }
}

#[test]
fn a_source_has_so_many_requests_in_flight_in_every_mode() {
    for mode in
        [&["--concurrency", "threading"][..], &["--concurrency", "forking"], &["--workers", "1"]]
    {
        let options = [mode, &["--max-per-source", "2", "--log-level", "debug"]].concat();
        let mut server = echo(&options);
        let first = in_flight(&server);
        let mut second = in_flight(&server);
        assert_eq!(ask_from("127.0.0.1", server.address()), b"", "{mode:?}");
        server.wait_for_log("rule=\"per-source\"").unwrap();
        // Others have places of their own.
        let mut other = connect_from("127.0.0.2", server.address());
        other.write_all(b"3").unwrap();
        expect(&mut other, b"3");
        drop(first);
        wait_until("there is a place", || ask(&server, b"4") == b"4");
        second.write_all(b"5").unwrap();
        expect(&mut second, b"5");
    }
}

#[test]
fn the_place_of_a_child_that_is_killed_is_free() {
    let mut server = echo(&["--concurrency", "forking", "--max-per-source", "1"]);
    for _ in 0..3 {
        let mut stream = in_flight(&server);
        let child = children(server.pid())[0];
        assert_eq!(ask(&server, b"x"), b"");
        let kill = ["-KILL", &child.to_string()];
        assert!(std::process::Command::new("kill").args(kill).status().unwrap().success());
        assert_eq!(read_to_end(&mut stream), b"");
        server.wait_for_log("was ended by signal 9").unwrap();
        assert_eq!(ask(&server, b"next"), b"next");
        wait_until("the child is gone", || children(server.pid()).is_empty());
    }
}

#[test]
fn a_source_may_come_so_often_in_every_mode() {
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
fn a_client_too_many_in_a_second_begins_a_pause() {
    let mut server = upper(&["--cps", "1:1h", "--log-format", "json"]);
    // Two in the same second, sooner or later.
    while ask(&server, b"x") == b"X" {}
    let line = server.wait_for_log("too many clients in a second").unwrap();
    assert!(line.contains("WARN") && line.contains("\"rule\":\"rate\""), "{line}");
    for _ in 0..3 {
        assert_eq!(ask(&server, b"x"), b"");
    }
    let refused = &asked(&mut server)["requests"]["refused"];
    assert_eq!(*refused, json!({ "rate": 1, "pause": 3 }));
    assert!(server.stop().unwrap().success());
    let lines = server.log().iter().filter(|line| line.contains("too many")).count();
    assert_eq!(lines, 1, "the others cost none");
}

/// A burst, and then 30 clients in a second, where 50 may come: those that come in the
/// pause are not the reason for the next one.
#[test]
fn a_burst_costs_one_pause_and_a_load_below_the_rate_none() {
    for mode in MODES {
        let options = [mode, &["--cps", "50:1s", "--log-format", "json"]].concat();
        let mut server = upper(&options);
        let come = |pace| {
            thread::sleep(pace);
            let mut client = server.connect().unwrap();
            // It may have been refused already.
            let _ = client.write_all(b"x");
            let _ = client.shutdown(Shutdown::Write);
            client
        };
        let _burst: Vec<_> = (0..120).map(|_| come(Duration::ZERO)).collect();
        let mut steady: Vec<_> = (0..90).map(|_| come(Duration::from_millis(33))).collect();
        let last = read_to_end(steady.last_mut().unwrap());
        let requests = &asked(&mut server)["requests"];
        assert_eq!(requests["refused"]["rate"], 1, "{mode:?}: {requests}");
        let answered = steady.iter_mut().map(read_to_end).filter(|answer| answer == b"X").count();
        assert!(last == b"X" && answered >= 50, "{mode:?}: {answered} {requests}");
    }
}

#[test]
fn a_busy_machine_serves_nobody() {
    // A machine that runs tests is busier than the first and less than the second.
    for (load, answer) in [("0.01", &b""[..]), ("10000", b"X")] {
        assert_eq!(ask(&upper(&["--max-load", load]), b"x"), answer, "{load}");
    }
}

#[test]
fn clients_are_served_at_some_times_of_the_day_by_the_local_clock() {
    // Time zones in which it is noon or midnight, or was a moment ago.
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
fn a_refused_client_hears_the_banner_and_others_do_not() {
    let options = ["--deny", "127.0.0.2", "--source-rate", "0.001:1"];
    let options = [&options[..], &["--banner-refused", r"not now\r\n"]].concat();
    let server = upper(&options);
    assert_eq!(ask_from("127.0.0.2", server.address()), b"not now\r\n");
    assert_eq!(ask_from("127.0.0.1", server.address()), b"HELLO");
    assert_eq!(ask_from("127.0.0.1", server.address()), b"not now\r\n");
}

#[test]
fn a_jailed_worker_judges_too() {
    let options = ["--workers", "1", "--jail", "try", "--max-load", "10000", "--source-rate", "99"];
    let more = ["--access-times", "00:00-24:00", "--max-per-source", "9", "--cps", "99"];
    let banner = ["--deny", "127.0.0.2", "--banner-refused", "no"];
    let server = upper(&[&options[..], &more, &banner].concat());
    assert_eq!(ask(&server, b"x"), b"X");
    assert_eq!(ask_from("127.0.0.2", server.address()), b"no");
    let own = format!("user:{}", geteuid().as_raw());
    let servers = OnUnix::new(&[&options[..], &more, &["--allow", &own]].concat());
    assert_eq!(servers.ask_stream(), b"HELLO");
    assert_eq!(servers.ask_datagram("client"), b"HELLO");
}

#[test]
fn a_flood_of_refused_clients_costs_no_line_and_starves_nobody() {
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
fn connections_that_were_reset_before_they_were_taken_cost_no_instance() {
    for mode in
        [&["--concurrency", "sync"][..], &["--concurrency", "threading", "--max-requests", "1"]]
    {
        let mut server = echo(&[mode, &["--stats", "--log-level", "debug"]].concat());
        let first = in_flight(&server);
        // There is no place for them, so they wait in the backlog.
        for _ in 0..7 {
            reset(server.connect().unwrap());
        }
        drop(first);
        assert_eq!(ask(&server, b"next"), b"next");
        assert!(server.stop().unwrap().success());
        let log = server.log();
        let stands = |what: [&str; 2]| {
            log.iter().filter(|line| what.iter().all(|what| line.contains(what))).count()
        };
        assert_eq!(stands(["refused", "rule=\"reset\""]), 7, "{mode:?}: {log:#?}");
        assert_eq!(stands(["reset  ", " 7"]), 1, "{mode:?}: {log:#?}");
        assert_eq!(stands(["instances  ", " 2"]), 1, "{mode:?}: {log:#?}");
        assert_eq!(stands(["Exception", ""]), 0, "{mode:?}: {log:#?}");
    }
}
