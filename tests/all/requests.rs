//! Many requests, one after another and at the same time.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socketserver_tests::build;
use socketserver_tests::process::Server;
use socketserver_tests::usage::Usage;

use crate::client::{ask, expect, read_to_end};
use crate::fixture::{FIXTURE, serve};

#[test]
fn at_max_requests_clients_wait_until_others_end() {
    let server = Server::start(serve().args(["--max-requests", "2"]), 1).unwrap();
    let mut clients: Vec<TcpStream> = (0..5).map(|_| server.connect().unwrap()).collect();
    for client in &mut clients {
        client.write_all(b"x").unwrap();
    }
    // All five are answered, although only two fit at once.
    for client in &mut clients {
        assert_eq!(read_to_end(client), b"X");
    }

    // Two requests stay in flight. The third client is answered when one of them ends.
    let mut server = Server::start(
        serve().arg(build::guest("rust", "echo").unwrap()).args(["--max-requests", "2"]),
        1,
    )
    .unwrap();
    let mut stay = [server.connect().unwrap(), server.connect().unwrap()];
    let ping = |clients: &mut [TcpStream]| {
        for client in clients {
            client.write_all(b"ping").unwrap();
            expect(client, b"ping");
        }
    };
    ping(&mut stay);
    let mut third = server.connect().unwrap();
    third.write_all(b"third").unwrap();
    for _ in 0..50 {
        ping(&mut stay);
    }
    third.set_nonblocking(true).unwrap();
    assert_eq!(third.read(&mut [0; 8]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    third.set_nonblocking(false).unwrap();
    let [first, _second] = stay;
    drop(first);
    expect(&mut third, b"third");

    // A full server sees signals.
    server.signal("TERM").unwrap();
    server.wait_for_log("ending").unwrap();
}

#[test]
fn in_sync_mode_the_next_client_waits() {
    let server = Server::start(serve().args(["--concurrency", "sync"]), 1).unwrap();
    let mut first = server.connect().unwrap();
    let mut second = server.connect().unwrap();
    second.write_all(b"second").unwrap();
    second.set_nonblocking(true).unwrap();
    assert_eq!(second.read(&mut [0; 8]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    first.write_all(b"first").unwrap();
    assert_eq!(read_to_end(&mut first), b"FIRST");
    second.set_nonblocking(false).unwrap();
    assert_eq!(read_to_end(&mut second), b"SECOND");
}

/// With the default limits, the connections that do not fit wait in the backlog. The server
/// neither refuses nor loses one, and goes on.
#[test]
fn eight_thousand_idle_connections_are_served() {
    const CLIENTS: u64 = 8000;
    let limit = getrlimit(Resource::Nofile);
    let enough = limit.maximum.is_none_or(|maximum| maximum > CLIENTS + 500);
    assert!(enough, "this test needs {CLIENTS} descriptors: raise the hard limit of open files");
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();

    let mut server = Server::start(&mut serve(), 1).unwrap();
    let mut clients: Vec<TcpStream> = (0..CLIENTS).map(|_| server.connect().unwrap()).collect();
    // The first requests are in flight. As each is answered, another one fits.
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(format!("client {number}").as_bytes()).unwrap();
        expect(client, format!("CLIENT {number}").as_bytes());
    }
    drop(clients);
    assert_eq!(ask(&server, b"alive"), b"ALIVE");
    assert!(server.stop().unwrap().success());
    let log = server.log();
    assert!(!log.iter().any(|line| line.contains("ERROR") || line.contains("WARN")), "{log:?}");
}

/// Serves with a limit of the shell's `ulimit`.
fn serve_limited(limit: &str) -> Server {
    let host = serve();
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit {limit} && exec \"$@\"")]).arg("sh").arg(host.get_program());
    shell.args(host.get_args()).args(["--log-level", "debug"]);
    shell.envs(host.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Server::start(&mut shell, 1).unwrap()
}

#[test]
fn without_room_for_a_pool_instances_are_made_on_demand() {
    let mut server = serve_limited("-v 6000000");
    server.wait_for_log("instances are made on demand").unwrap();
    for _ in 0..20 {
        assert_eq!(ask(&server, b"hello"), b"HELLO");
    }
}

#[test]
fn with_few_descriptors_clients_wait_and_no_client_is_lost() {
    // Both limits are set, because the host raises the soft limit to the hard one.
    let mut server = serve_limited("-Sn 64 && ulimit -Hn 64");
    let mut clients: Vec<TcpStream> = (0..200).map(|_| server.connect().unwrap()).collect();
    for client in &mut clients {
        client.write_all(b"few").unwrap();
        expect(client, b"FEW");
    }
    server.stop().unwrap();
    assert!(!server.log().iter().any(|line| line.contains("ERROR")), "{:?}", server.log());
}

#[test]
fn three_thousand_requests_leave_no_descriptors_threads_or_memory_in_use() {
    let served = FIXTURE.serve(&["--max-requests", "8"]);
    let usage = || Usage::of_process(served.server.pid()).unwrap();
    let round = |requests: usize| {
        for _ in 0..requests {
            assert_eq!(ask(&served.server, b"-"), b"ok");
        }
    };
    round(500);
    let before = usage();
    round(3000);
    // A busy machine may have all eight threads end their last requests at this time.
    let after = usage();
    assert!(after.descriptors <= before.descriptors + 8, "{before:?}, then {after:?}");
    assert!(after.threads <= before.threads + 8, "{before:?}, then {after:?}");
    assert!(after.memory < before.memory + (4 << 20), "{before:?}, then {after:?}");
}

/// The kernel sends a file that is larger than what it takes in one call.
#[test]
fn a_large_file_is_sent_whole() {
    let folder = tempfile::tempdir().unwrap();
    let file: Vec<u8> = (0..3_000_001_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
    std::fs::write(folder.path().join("file"), &file).unwrap();
    let grant = format!("{}::/files:ro", folder.path().display());
    for mode in [&[][..], &["--concurrency", "forking"]] {
        let handler = build::guest("rust", "sender").unwrap();
        let server =
            Server::start(serve().arg(handler).args(["--dir", &grant]).args(mode), 1).unwrap();
        assert!(read_to_end(&mut server.connect().unwrap()) == file, "{mode:?}");
    }
}
