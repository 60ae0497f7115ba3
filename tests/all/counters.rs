//! `--stats` and SIGUSR1: what is counted, in every way of running requests.

use std::io::Write;

use serde_json::{Value, json};
use socketserver_tests::process::Server;

use crate::attacks::{is_idle, wait_until};
use crate::client::{ask, connect_from, echo, expect, in_flight, read_to_end};
use crate::fixture::{FIXTURE, Fixture, MODES};
use crate::processes::{children, kill};

/// Fails in its own way for each request: traps, or runs for ever.
const HOSTILE: Fixture<'static> = Fixture {
    handle: "(call $recv (i32.const 1))
        (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 116)) (then unreachable))
        (loop $again (br $again))",
    ..FIXTURE
};

/// The next counters that the server prints.
fn printed(server: &mut Server) -> Value {
    let line = server.wait_for_log("\"counters\"").unwrap();
    serde_json::from_str::<Value>(&line).unwrap()["counters"].clone()
}

pub fn asked(server: &mut Server) -> Value {
    server.signal("USR1").unwrap();
    printed(server)
}

#[test]
fn requests_are_counted_by_how_they_ended() {
    for mode in MODES {
        let options = ["--log-format", "json", "--stats", "--cpu-time", "50ms"];
        let options = [&options[..], &["--deny", "127.0.0.2"], mode].concat();
        let mut served = HOSTILE.serve(&options);
        for _ in 0..3 {
            assert_eq!(ask(&served.server, b"-"), b"ok");
        }
        assert_eq!(ask(&served.server, b"xt"), b"");
        assert_eq!(ask(&served.server, b"xl"), b"");
        for _ in 0..2 {
            let mut refused = connect_from("127.0.0.2", served.server.address());
            assert_eq!(read_to_end(&mut refused), b"");
        }
        // The last answer is a moment older than the end of its request.
        assert!(served.server.stop().unwrap().success());
        let counted = printed_already(&mut served.server);
        let requests = json!({
            "accepted": 5, "in_flight": 0, "done": 3,
            "failed": { "trap": 1, "cpu-time": 1 },
            "refused": { "deny": 2 },
        });
        assert_eq!(counted["requests"], requests, "{mode:?}");
        assert_eq!(counted["instances"], 5, "{mode:?}: a refused client costs none");
        assert_eq!(counted["bytes"], json!({ "received": 7, "sent": 6 }), "{mode:?}");
        let forked = match mode {
            ["--concurrency", "forking"] => 5,
            ["--workers", "2"] => 2,
            _ => 0,
        };
        assert_eq!(counted["children"]["forked"], forked, "{mode:?}");
        assert_eq!(counted["accept_errors"], 0);
    }
}

fn printed_already(server: &mut Server) -> Value {
    let log = server.log();
    let line = log.iter().find(|line| line.contains("\"counters\"")).unwrap();
    serde_json::from_str::<Value>(line).unwrap()["counters"].clone()
}

#[test]
fn a_signal_prints_them_while_requests_are_in_flight() {
    let fixture = Fixture {
        handle: "(call $sendall (i32.const 100) (i32.const 2)) (call $recv (i32.const 1))",
        ..FIXTURE
    };
    // One at a time there is nobody to print before the request is over.
    for mode in &MODES[1..] {
        let mut served = fixture.serve(&[&["--log-format", "json"], *mode].concat());
        let mut stream = served.server.connect().unwrap();
        stream.write_all(b"x").unwrap();
        expect(&mut stream, b"ok");
        let counted = asked(&mut served.server);
        let mut prints = 1;
        assert_eq!(counted["requests"]["in_flight"], 1, "{mode:?}");
        assert_eq!(counted["requests"]["accepted"], 1, "{mode:?}");
        assert_eq!(counted["requests"]["done"], 0, "{mode:?}");
        if mode[0] == "--workers" {
            // One of them may still be about to begin.
            wait_until("there are two", || {
                prints += 1;
                asked(&mut served.server)["children"]["workers"] == 2
            });
        }
        stream.write_all(b"!").unwrap();
        assert_eq!(read_to_end(&mut stream), b"");
        // It goes on, and without --stats it says nothing at the end.
        assert_eq!(ask(&served.server, b"-"), b"ok");
        assert!(served.server.stop().unwrap().success());
        let log = served.server.log();
        let printed = log.iter().filter(|line| line.contains("\"counters\"")).count();
        assert_eq!(printed, prints, "{mode:?}");
    }
}

#[test]
fn a_server_of_one_request_prints_them_while_it_waits() {
    for mode in &MODES[..3] {
        let options = [&["--once", "--log-format", "json"], *mode].concat();
        let mut served = FIXTURE.serve(&options);
        for _ in 0..2 {
            assert_eq!(asked(&mut served.server)["requests"]["accepted"], 0, "{mode:?}");
        }
        assert_eq!(ask(&served.server, b"-"), b"ok");
        assert!(served.server.wait().unwrap().success(), "{mode:?}");
    }
}

#[test]
fn for_people_there_is_a_line_for_each() {
    let mut served = FIXTURE.serve(&["--stats", "--log-level", "error"]);
    assert_eq!(ask(&served.server, b"-"), b"ok");
    assert!(served.server.stop().unwrap().success());
    let log = served.server.log().join("\n");
    assert!(log.contains("\n  done                   1\n"), "{log}");
    assert!(log.contains("\n  sent                   2\n"), "{log}");
}

#[test]
fn the_requests_of_a_worker_that_is_killed_have_failed() {
    let fixture = Fixture {
        handle: "(call $sendall (i32.const 100) (i32.const 2)) (call $recv (i32.const 1))",
        ..FIXTURE
    };
    let mut served = fixture.serve(&["--log-format", "json", "--workers", "1"]);
    let mut stream = served.server.connect().unwrap();
    stream.write_all(b"x").unwrap();
    expect(&mut stream, b"ok");
    let parent = served.server.pid();
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let mut kill = std::process::Command::new("kill");
    assert!(kill.arg("-KILL").arg(children.unwrap().trim()).status().unwrap().success());
    served.server.wait_for_log("a worker is gone").unwrap();
    assert_eq!(ask(&served.server, b"-"), b"ok");
    let counted = asked(&mut served.server);
    assert_eq!(counted["requests"]["failed"], json!({ "worker": 1 }));
    assert_eq!(counted["requests"]["in_flight"], 0);
    assert_eq!(counted["children"], json!({ "forked": 2, "workers": 1 }));
}

#[test]
fn a_worker_that_is_asked_for_them_says_nothing_to_anybody() {
    for jail in ["try", "off"] {
        let options = ["--workers", "1", "--jail", jail];
        let server = echo(&options);
        // Some of them get the numbers of descriptors that the worker gave up.
        let mut streams: Vec<_> = (0..16).map(|_| in_flight(&server)).collect();
        for worker in children(server.pid()) {
            kill(worker, "USR1");
        }
        for stream in &mut streams {
            stream.write_all(b"2").unwrap();
            expect(stream, b"2");
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(read_to_end(stream), b"", "{jail}");
        }
    }
}

/// A request keeps the loop from looking while the questions come.
#[test]
fn however_often_they_are_asked_for_the_server_rests_afterwards() {
    let mut server = echo(&["--concurrency", "sync", "--log-format", "json"]);
    let mut client = in_flight(&server);
    let pid = rustix::process::Pid::from_raw(server.pid().cast_signed()).unwrap();
    for _ in 0..1000 {
        rustix::process::kill_process(pid, rustix::process::Signal::USR1).unwrap();
        // Another signal of the same number is told of when this one was.
        std::thread::yield_now();
    }
    client.write_all(b"x").unwrap();
    expect(&mut client, b"x");
    drop(client);
    printed(&mut server);
    is_idle(server.pid());
    assert_eq!(asked(&mut server)["requests"]["done"], 1);
}
