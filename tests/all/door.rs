//! A machine that runs out of things: nobody is lost, nothing spins, nothing ends.

use std::io::{Read, Write};
use std::process::Command;

use serde_json::Value;
use socketserver_tests::build;
use socketserver_tests::process::Server;

use crate::client::{ask, connect_from, echo, expect, in_flight, read_to_end};
use crate::fixture::{host, serve};
use crate::processes::{children, kill};

const MODES: [&[&str]; 4] = [
    &["--concurrency", "sync"],
    &["--concurrency", "threading"],
    &["--concurrency", "forking"],
    &["--workers", "1"],
];

/// Sets a limit of a process that runs.
fn limit(server: &Server, what: &str, to: &str) {
    let mut prlimit = Command::new("prlimit");
    // The soft one: whoever is not root cannot raise the other again.
    prlimit.args([format!("--pid={}", server.pid()), format!("--{what}={to}:")]);
    assert!(prlimit.status().unwrap().success());
}

fn accept_errors(server: &mut Server) -> u64 {
    server.signal("USR1").unwrap();
    let line = server.wait_for_log("\"counters\"").unwrap();
    serde_json::from_str::<Value>(&line).unwrap()["counters"]["accept_errors"].as_u64().unwrap()
}

#[test]
fn without_descriptors_clients_wait_the_log_is_short_and_the_loop_does_not_spin() {
    let mut server = echo(&["--log-format", "json"]);
    let held = in_flight(&server);
    // All below this are taken: the next accept fails.
    limit(&server, "nofile", "8");
    let mut waiting = server.connect().unwrap();
    waiting.write_all(b"2").unwrap();
    for _ in 0..3 {
        server.wait_for_log("cannot accept a connection").unwrap();
    }
    let errors = accept_errors(&mut server);
    // Ten in a second, and three lines take two seconds; a loop that spins makes
    // tens of thousands.
    assert!((3..1000).contains(&errors), "{errors}");
    limit(&server, "nofile", "1024");
    expect(&mut waiting, b"2");
    drop(held);
    drop(waiting);
    assert_eq!(ask(&server, b"3"), b"3");
}

#[test]
fn without_threads_a_request_fails_and_the_next_is_served() {
    let mut server = echo(&["--log-format", "json"]);
    let mut held = in_flight(&server);
    // Too little is left for the stack of another thread, which has more than 1 MiB, and
    // enough for small allocations: without those a process ends.
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    let size: usize = size.trim().trim_end_matches(" kB").parse().unwrap();
    limit(&server, "as", &((size + 1024) << 10).to_string());
    // The stacks of threads that have ended are used first.
    let mut others = Vec::new();
    let refused = (0..10).find(|_| {
        let mut client = server.connect().unwrap();
        // One that is refused may be gone already.
        let _ = client.write_all(b"2");
        let mut answer = [0];
        let is_answered = matches!(client.read(&mut answer), Ok(1));
        others.push(client);
        !is_answered
    });
    assert!(refused.is_some());
    let line = server.wait_for_log("Exception occurred").unwrap();
    assert!(line.contains("no-thread") && line.contains("\"host\""), "{line}");
    held.write_all(b"3").unwrap();
    expect(&mut held, b"3");
    limit(&server, "as", "unlimited");
    assert_eq!(ask(&server, b"4"), b"4");
}

#[test]
fn a_limit_on_addresses_lowers_what_is_in_flight_and_clients_wait() {
    let mut command = Command::new("sh");
    let program = serve().get_program().to_owned();
    command.args(["-c", "ulimit -v 33554432; exec \"$0\" \"$@\""]).arg(program);
    command.args(["serve", "--bind", "tcp://127.0.0.1:0", "--no-cache", "--log-level", "debug"]);
    let mut server = Server::start(&mut command, 1).unwrap();
    server.wait_for_log("on demand").unwrap();
    let line = server.wait_for_log("max_requests").unwrap();
    let number = line.split("max_requests=").nth(1).unwrap();
    let number: usize = number.trim().parse().unwrap();
    assert!((1..=7).contains(&number), "{line}");
    let mut clients: Vec<_> = (0..40).map(|_| server.connect().unwrap()).collect();
    for client in &mut clients {
        client.write_all(b"hello").unwrap();
    }
    for client in &mut clients {
        assert_eq!(read_to_end(client), b"HELLO");
    }
    assert!(!server.log().iter().any(|line| line.contains("Exception")));
}

/// The real binary, started by another program, which does something first.
fn started_by(first: &[&str]) -> Command {
    let host = host();
    let mut command = Command::new(first[0]);
    command.envs(host.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.args(&first[1..]).arg(host.get_program());
    command
}

#[test]
fn a_log_that_cannot_be_written_ends_nobody() {
    for mode in MODES {
        // Every write is one to a full disk.
        let mut command = started_by(&["sh", "-c", "exec \"$0\" \"$@\" 2>/dev/full"]);
        command.args(["serve", "--bind", "tcp://127.0.0.1:0", "--log-level", "debug"]);
        let mut server =
            Server::start(command.args(["--deny", "127.0.0.2"]).args(mode), 1).unwrap();
        for _ in 0..3 {
            let mut refused = connect_from("127.0.0.2", server.address());
            assert_eq!(read_to_end(&mut refused), b"");
            assert_eq!(ask(&server, b"one"), b"ONE", "{mode:?}");
        }
        assert!(server.stop().unwrap().success(), "{mode:?}");
    }
}

#[test]
fn a_file_that_may_not_grow_ends_nobody() {
    for mode in ["sync", "threading", "forking"] {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("file"), "").unwrap();
        let dir = format!("{}::/data", directory.path().display());
        let served = crate::wasi::serve(&["--dir", &dir, "--concurrency", mode]);
        limit(&served.server, "fsize", "8");
        assert_eq!(ask(&served.server, b"afile"), b"k", "{mode}");
        // An error of its stream, which is the handler's own affair.
        assert_eq!(ask(&served.server, b"afile"), b"E\x00", "{mode}");
        assert_eq!(ask(&served.server, b"afile"), b"E\x00", "{mode}");
    }
}

#[test]
fn the_end_of_children_is_seen_by_one_that_was_started_to_ignore_it() {
    let mut command = started_by(&["env", "--ignore-signal=CHLD"]);
    command.args([
        "serve",
        "--no-cache",
        "--bind",
        "tcp://127.0.0.1:0",
        "--concurrency",
        "forking",
    ]);
    command.arg(build::guest("rust", "echo").unwrap());
    // It has to wait for the process that compiles, and for the one that serves.
    let mut server = Server::start(&mut command, 1).unwrap();
    let mut stream = in_flight(&server);
    kill(children(server.pid())[0], "KILL");
    server.wait_for_log("was ended by signal 9").unwrap();
    assert_eq!(read_to_end(&mut stream), b"");
    assert_eq!(ask(&server, b"3"), b"3");
}
