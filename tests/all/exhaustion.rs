//! Descriptors, threads, address space or disk space run out: the server neither ends nor
//! loses a client, and does not spin.

use std::fs;
use std::io::{Read, Write};
use std::process::Command;

use serde_json::Value;
use socketserver_tests::build;
use socketserver_tests::process::{Server, send_signal};
use socketserver_tests::procfs::{children, memory};

use crate::client::{ask, connect_from, echo, expect, in_flight, read_to_end};
use crate::fixture::{host, serve};

const MODES: [&[&str]; 4] = [
    &["--concurrency", "sync"],
    &["--concurrency", "threading"],
    &["--concurrency", "forking"],
    &["--workers", "1"],
];

/// Sets a soft limit of the running server. Only root could raise a hard limit again.
pub fn set_limit(server: &Server, resource: &str, limit: &str) {
    let mut prlimit = Command::new("prlimit");
    prlimit.args([format!("--pid={}", server.pid()), format!("--{resource}={limit}:")]);
    assert!(prlimit.status().unwrap().success());
}

fn accept_errors(server: &mut Server) -> u64 {
    server.signal("USR1").unwrap();
    let line = server.wait_for_log("\"counters\"").unwrap();
    serde_json::from_str::<Value>(&line).unwrap()["counters"]["accept_errors"].as_u64().unwrap()
}

/// The number of mappings limits the requests at once, so none is taken before a request needs it.
#[test]
fn a_server_at_rest_has_few_mappings() {
    for mode in MODES {
        let server = echo(mode);
        assert_eq!(ask(&server, b"x"), b"x");
        for pid in children(server.pid()).unwrap().into_iter().chain([server.pid()]) {
            let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
            assert!(maps.lines().count() < 200, "{mode:?}: {}", maps.lines().count());
        }
    }
}

/// Returns the number of mappings that a server in this mode has more with 48 requests more.
fn mappings_of_48_requests(mode: &[&str]) -> usize {
    let server = echo(mode);
    let maps = format!("/proc/{}/maps", server.pid());
    let mappings = || fs::read_to_string(&maps).unwrap().lines().count();
    let mut held: Vec<_> = (0..8).map(|_| in_flight(&server)).collect();
    let before = mappings();
    held.extend((0..48).map(|_| in_flight(&server)));
    mappings() - before
}

/// The server takes as many requests as it has mappings for, and counts eight for each: a stack
/// and a signal stack, each with a guard page, and four for a memory.
#[test]
fn a_request_in_flight_takes_eight_mappings() {
    let added = mappings_of_48_requests(MODES[1]);
    // A few mappings are for all requests.
    assert!((48 * 7..48 * 8 + 24).contains(&added), "{added} for 48 requests");
}

/// A fiber takes two for a memory, whose data is copied, and two for a stack. Those of all stacks
/// are there from the start.
#[test]
fn a_request_that_runs_as_a_fiber_takes_four_mappings() {
    let added = mappings_of_48_requests(&["--concurrency", "fibers"]);
    assert!((48..48 * 2 + 24).contains(&added), "{added} for 48 requests");
}

#[test]
fn without_descriptors_clients_wait_the_log_is_short_and_the_loop_does_not_spin() {
    let mut server = echo(&["--log-format", "json"]);
    let held = in_flight(&server);
    // All descriptors below 8 are open, so that the next accept fails.
    set_limit(&server, "nofile", "8");
    let mut waiting = server.connect().unwrap();
    waiting.write_all(b"2").unwrap();
    for _ in 0..3 {
        server.wait_for_log("cannot accept a connection").unwrap();
    }
    let errors = accept_errors(&mut server);
    // The loop tries ten times per second, and three lines take two seconds. A loop that spun
    // would fail tens of thousands of times.
    assert!((3..1000).contains(&errors), "{errors}");
    set_limit(&server, "nofile", "1024");
    expect(&mut waiting, b"2");
    drop(held);
    drop(waiting);
    assert_eq!(ask(&server, b"3"), b"3");
}

#[test]
fn without_threads_a_request_fails_and_the_next_is_served() {
    let mut server = echo(&["--log-format", "json"]);
    let mut held = in_flight(&server);
    // 1 MiB is too little for the stack of another thread, and enough for small allocations,
    // without which the process would end.
    let size = memory(server.pid(), "VmSize").unwrap();
    set_limit(&server, "as", &(size + (1 << 20)).to_string());
    // New threads first use the stacks of threads that have ended, and what else is given back.
    let mut others = Vec::new();
    let refused = (0..100).find(|_| {
        let mut client = server.connect().unwrap();
        // The server may have closed the connection already.
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
    set_limit(&server, "as", "unlimited");
    assert_eq!(ask(&server, b"4"), b"4");
}

#[test]
fn a_limit_on_address_space_lowers_the_requests_at_once_and_clients_wait() {
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

/// Returns a command that starts the binary from another program.
pub fn started_by(program: &[&str]) -> Command {
    let host = host();
    let mut command = Command::new(program[0]);
    command.envs(host.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.args(&program[1..]).arg(host.get_program());
    command
}

#[test]
fn a_log_that_cannot_be_written_ends_neither_the_server_nor_a_request() {
    for mode in MODES {
        // Every write fails as if the disk were full.
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
fn a_file_that_may_not_grow_ends_neither_the_server_nor_a_request() {
    for mode in ["sync", "threading", "forking"] {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        let dir = format!("{}::/data", directory.path().display());
        let served = crate::wasi::serve(&["--dir", &dir, "--concurrency", mode]);
        set_limit(&served.server, "fsize", "8");
        assert_eq!(ask(&served.server, b"afile"), b"k", "{mode}");
        // The handler receives an error of its stream.
        assert_eq!(ask(&served.server, b"afile"), b"E\x00", "{mode}");
        assert_eq!(ask(&served.server, b"afile"), b"E\x00", "{mode}");
    }
}

#[test]
fn a_server_that_was_started_with_sigchld_ignored_sees_the_end_of_its_children() {
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
    // The server waits for the process that compiles, and for the child of a request.
    let mut server = Server::start(&mut command, 1).unwrap();
    let mut stream = in_flight(&server);
    send_signal(children(server.pid()).unwrap()[0], "KILL").unwrap();
    server.wait_for_log("was ended by signal 9").unwrap();
    assert_eq!(read_to_end(&mut stream), b"");
    assert_eq!(ask(&server, b"3"), b"3");
}
