//! The counters that `--stats` and SIGUSR1 print, in every mode.

use std::io::Write;

use serde_json::{Value, json};
use socketserver_tests::process::{Server, send_signal, wait_until};
use socketserver_tests::procfs::children;

use crate::attacks::wait_until_idle;
use crate::client::{ask, connect_from, echo, expect, in_flight, read_to_end};
use crate::fixture::{FIXTURE, Fixture, MODES};

/// A handler that traps or runs for ever, as the client asks.
const HOSTILE: Fixture<'static> = Fixture {
    handle: "(call $recv (i32.const 1))
        (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 116)) (then unreachable))
        (loop $again (br $again))",
    ..FIXTURE
};

/// Waits for the next counters that the server prints, and returns them.
fn next_counters(server: &mut Server) -> Value {
    let line = server.wait_for_log("\"counters\"").unwrap();
    serde_json::from_str::<Value>(&line).unwrap()["counters"].clone()
}

/// Sends SIGUSR1 and returns the counters that the server prints.
pub fn request_counters(server: &mut Server) -> Value {
    server.signal("USR1").unwrap();
    next_counters(server)
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
        // The last request may end a moment after its answer: the end of the server includes it.
        assert!(served.server.stop().unwrap().success());
        let counted = logged_counters(&mut served.server);
        let requests = json!({
            "accepted": 5, "in_flight": 0, "done": 3,
            "failed": { "trap": 1, "cpu-time": 1 },
            "refused": { "deny": 2 },
        });
        assert_eq!(counted["requests"], requests, "{mode:?}");
        assert_eq!(counted["instances"], 5, "{mode:?}: a refused client costs no instance");
        assert_eq!(counted["bytes"], json!({ "received": 7, "sent": 6 }), "{mode:?}");
        let forked = match mode {
            ["--concurrency", "forking"] => 5,
            [.., "--workers", "2"] => 2,
            _ => 0,
        };
        assert_eq!(counted["children"]["forked"], forked, "{mode:?}");
        assert_eq!(counted["accept_errors"], 0);
    }
}

/// Returns the first counters in the log so far.
pub fn logged_counters(server: &mut Server) -> Value {
    let log = server.log();
    let line = log.iter().find(|line| line.contains("\"counters\"")).unwrap();
    serde_json::from_str::<Value>(line).unwrap()["counters"].clone()
}

#[test]
fn sigusr1_prints_the_counters_while_requests_are_in_flight() {
    let fixture = Fixture {
        handle: "(call $sendall (i32.const 100) (i32.const 2)) (call $recv (i32.const 1))",
        ..FIXTURE
    };
    // In sync mode the loop prints the counters only after the request.
    for mode in &MODES[1..] {
        let mut served = fixture.serve(&[&["--log-format", "json"], *mode].concat());
        let mut stream = served.server.connect().unwrap();
        stream.write_all(b"x").unwrap();
        expect(&mut stream, b"ok");
        let counted = request_counters(&mut served.server);
        let mut prints = 1;
        assert_eq!(counted["requests"]["in_flight"], 1, "{mode:?}");
        assert_eq!(counted["requests"]["accepted"], 1, "{mode:?}");
        assert_eq!(counted["requests"]["done"], 0, "{mode:?}");
        if mode.contains(&"--workers") {
            // A worker may not have started yet.
            wait_until("the server counts two workers", || {
                prints += 1;
                request_counters(&mut served.server)["children"]["workers"] == 2
            });
        }
        stream.write_all(b"!").unwrap();
        assert_eq!(read_to_end(&mut stream), b"");
        // The server goes on, and without --stats it prints no counters at the end.
        assert_eq!(ask(&served.server, b"-"), b"ok");
        assert!(served.server.stop().unwrap().success());
        let log = served.server.log();
        let count = log.iter().filter(|line| line.contains("\"counters\"")).count();
        assert_eq!(count, prints, "{mode:?}");
    }
}

#[test]
fn sigusr1_prints_the_counters_while_once_waits() {
    for mode in &MODES[..3] {
        let options = [&["--once", "--log-format", "json"], *mode].concat();
        let mut served = FIXTURE.serve(&options);
        for _ in 0..2 {
            assert_eq!(request_counters(&mut served.server)["requests"]["accepted"], 0, "{mode:?}");
        }
        assert_eq!(ask(&served.server, b"-"), b"ok");
        assert!(served.server.wait().unwrap().success(), "{mode:?}");
    }
}

#[test]
fn as_text_each_counter_has_a_line() {
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
    let [worker] = children(served.server.pid()).unwrap()[..] else { panic!("no worker") };
    send_signal(worker, "KILL").unwrap();
    served.server.wait_for_log("a worker is gone").unwrap();
    assert_eq!(ask(&served.server, b"-"), b"ok");
    let counted = request_counters(&mut served.server);
    assert_eq!(counted["requests"]["failed"], json!({ "worker": 1 }));
    assert_eq!(counted["requests"]["in_flight"], 0);
    assert_eq!(counted["children"], json!({ "forked": 2, "workers": 1 }));
}

#[test]
fn sigusr1_to_a_worker_writes_nothing_to_its_clients() {
    for jail in ["try", "off"] {
        let options = ["--workers", "1", "--jail", jail];
        let server = echo(&options);
        // Some connections receive the numbers of descriptors that the worker has closed.
        let mut streams: Vec<_> = (0..16).map(|_| in_flight(&server)).collect();
        for worker in children(server.pid()).unwrap() {
            send_signal(worker, "USR1").unwrap();
        }
        for stream in &mut streams {
            stream.write_all(b"2").unwrap();
            expect(stream, b"2");
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(read_to_end(stream), b"", "{jail}");
        }
    }
}

/// A request blocks the loop while the signals come.
#[test]
fn after_many_signals_the_server_uses_no_cpu_time() {
    let mut server = echo(&["--concurrency", "sync", "--log-format", "json"]);
    let mut client = in_flight(&server);
    let pid = rustix::process::Pid::from_raw(server.pid().cast_signed()).unwrap();
    for _ in 0..1000 {
        rustix::process::kill_process(pid, rustix::process::Signal::USR1).unwrap();
        // The kernel merges a signal with a pending one of the same number.
        std::thread::yield_now();
    }
    client.write_all(b"x").unwrap();
    expect(&mut client, b"x");
    drop(client);
    next_counters(&mut server);
    wait_until_idle(server.pid());
    assert_eq!(request_counters(&mut server)["requests"]["done"], 1);
}
