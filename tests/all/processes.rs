//! Servers of several processes: a child for each request, and workers.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use socketserver_tests::process::PATIENCE;

use crate::client::{ask, echo, expect, in_flight, read_to_end};
use crate::fixture::{FIXTURE, Fixture};

/// The processes that it has forked.
pub fn children(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    children.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "not so: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Sends a signal by name.
pub fn kill(pid: u32, signal: &str) {
    let args = [format!("-{signal}"), pid.to_string()];
    assert!(std::process::Command::new("kill").args(args).status().unwrap().success());
}

#[test]
fn b48_each_request_has_a_process_and_the_parent_one_thread() {
    let server = echo(&["--concurrency", "forking"]);
    let mut first = in_flight(&server);
    let mut second = in_flight(&server);
    let pids = children(server.pid());
    assert_eq!(pids.len(), 2);
    assert_eq!(threads(server.pid()), 1);
    assert!(pids.iter().all(|pid| threads(*pid) == 1));
    for stream in [&mut first, &mut second] {
        stream.write_all(b"2").unwrap();
        expect(stream, b"2");
    }
    drop((first, second));
    wait_until("the children are gone", || children(server.pid()).is_empty());
}

#[test]
fn b48_a_child_holds_no_listening_socket() {
    let server = echo(&["--concurrency", "forking"]);
    let _stream = in_flight(&server);
    let sockets = |pid: u32| -> Vec<String> {
        let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let links = links.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
        let links = links.map(|link| link.display().to_string());
        links.filter(|link| link.starts_with("socket:")).collect()
    };
    // Those that are listened on, by their inode.
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let listening: Vec<String> = table
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            (fields.get(3) == Some(&"0A")).then(|| format!("socket:[{}]", fields[9]))
        })
        .collect();
    let listens = |pid: u32| sockets(pid).iter().any(|socket| listening.contains(socket));
    assert!(listens(server.pid()));
    assert!(!listens(children(server.pid())[0]));
}

#[test]
fn b50_past_max_children_a_client_waits() {
    let mut server = echo(&["--concurrency", "forking", "--max-children", "2"]);
    let first = in_flight(&server);
    let _second = in_flight(&server);
    let mut third = server.connect().unwrap();
    third.write_all(b"3").unwrap();
    third.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(third.read(&mut [0; 1]).is_err(), "a third child was forked");
    assert_eq!(children(server.pid()).len(), 2);
    drop(first);
    third.set_read_timeout(Some(PATIENCE)).unwrap();
    expect(&mut third, b"3");
    // A full server is not deaf to signals, as CPython's is.
    server.signal("TERM").unwrap();
    server.wait_for_log("ending").unwrap();
}

#[test]
fn a_child_that_dies_is_reported_and_costs_its_own_request_only() {
    let mut server = echo(&["--concurrency", "forking"]);
    let mut stream = in_flight(&server);
    let peer = stream.local_addr().unwrap().to_string();
    kill(children(server.pid())[0], "KILL");
    assert_eq!(read_to_end(&mut stream), b"");
    let line = server.wait_for_log("was ended by signal 9").unwrap();
    assert!(line.contains(&peer) && line.contains("reason=\"child\""), "{line}");
    assert_eq!(ask(&server, b"next"), b"next");
}

#[test]
fn limits_hold_in_a_child_too() {
    let mut served = Fixture { handle: "(loop $again (br $again))", ..FIXTURE }.serve(&[
        "--concurrency",
        "forking",
        "--cpu-time",
        "100ms",
    ]);
    assert_eq!(ask(&served.server, b"x"), b"");
    let line = served.server.wait_for_log("cpu-time").unwrap();
    assert!(line.contains("blame=\"guest\""), "{line}");
    assert_eq!(ask(&served.server, b"y"), b"ok");
}

#[test]
fn children_do_not_outlive_the_host() {
    for options in [&["--concurrency", "forking"][..], &["--workers", "2"]] {
        let mut server = echo(options);
        let mut stream = in_flight(&server);
        let pids = children(server.pid());
        assert!(!pids.is_empty());
        server.signal("KILL").unwrap();
        server.wait().unwrap();
        assert_eq!(read_to_end(&mut stream), b"");
        for pid in pids {
            wait_until("it is gone", || {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                stat.is_empty() || stat.contains(") Z ")
            });
        }
    }
}

#[test]
fn a_worker_that_dies_is_replaced_and_costs_its_own_requests_only() {
    let mut server = echo(&["--workers", "2"]);
    wait_until("there are two", || children(server.pid()).len() == 2);
    // Requests in both of them.
    let mut streams: Vec<TcpStream> = (0..40).map(|_| in_flight(&server)).collect();
    let victim = children(server.pid())[0];
    kill(victim, "KILL");
    server.wait_for_log("a worker is gone").unwrap();
    wait_until("there are two again", || {
        let now = children(server.pid());
        now.len() == 2 && !now.contains(&victim)
    });
    let alive = streams
        .iter_mut()
        .filter_map(|stream| {
            stream.write_all(b"2").ok()?;
            let mut answer = [0];
            stream.read_exact(&mut answer).ok()
        })
        .count();
    println!("{alive} of 40 requests were in the other worker");
    assert!(alive < 40);
    assert_eq!(ask(&server, b"next"), b"next");
    assert!(server.stop().unwrap().success());
}

#[test]
fn a_terminal_s_interrupt_is_left_to_the_parent() {
    for options in [&["--concurrency", "forking"][..], &["--workers", "2"]] {
        let mut server = echo(&[options, &["--grace", "1h"]].concat());
        let mut stream = in_flight(&server);
        // A terminal sends it to all of them.
        for pid in children(server.pid()) {
            kill(pid, "INT");
        }
        stream.write_all(b"2").unwrap();
        expect(&mut stream, b"2");
        for signal in ["INT", "INT"] {
            server.signal(signal).unwrap();
            if server.log().iter().all(|line| !line.contains("ending")) {
                server.wait_for_log("ending").unwrap();
            }
        }
        assert_eq!(server.wait().unwrap().code(), Some(130), "{options:?}");
        assert_eq!(read_to_end(&mut stream), b"");
    }
}
