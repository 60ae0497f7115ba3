//! Servers with several processes: a child for each request, or workers.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use socketserver_tests::process::{TIMEOUT, send_signal, wait_until};
use socketserver_tests::procfs::{children, state};

use crate::attacks::SetWhenDropped;
use crate::client::{ask, echo, expect, in_flight, read_to_end};
use crate::fixture::{FIXTURE, Fixture};

/// Workers that run requests as tasks.
const FIBERS: &[&str] = &["--workers", "2", "--concurrency", "fibers"];

fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
}

#[test]
fn b48_each_request_has_a_process_and_the_parent_one_thread() {
    let server = echo(&["--concurrency", "forking"]);
    let mut first = in_flight(&server);
    let mut second = in_flight(&server);
    let pids = children(server.pid()).unwrap();
    assert_eq!(pids.len(), 2);
    assert_eq!(threads(server.pid()), 1);
    assert!(pids.iter().all(|pid| threads(*pid) == 1));
    for stream in [&mut first, &mut second] {
        stream.write_all(b"2").unwrap();
        expect(stream, b"2");
    }
    drop((first, second));
    wait_until("the children have ended", || children(server.pid()).unwrap().is_empty());
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
    // The inodes of all listening sockets.
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
    assert!(!listens(children(server.pid()).unwrap()[0]));
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
    assert_eq!(children(server.pid()).unwrap().len(), 2);
    drop(first);
    third.set_read_timeout(Some(TIMEOUT)).unwrap();
    expect(&mut third, b"3");
    // Unlike CPython's, a full server sees signals.
    server.signal("TERM").unwrap();
    server.wait_for_log("ending").unwrap();
}

#[test]
fn a_child_that_dies_is_reported_and_costs_its_own_request_only() {
    let mut server = echo(&["--concurrency", "forking"]);
    let mut stream = in_flight(&server);
    let peer = stream.local_addr().unwrap().to_string();
    send_signal(children(server.pid()).unwrap()[0], "KILL").unwrap();
    assert_eq!(read_to_end(&mut stream), b"");
    let line = server.wait_for_log("was ended by signal 9").unwrap();
    assert!(line.contains(&peer) && line.contains("reason=\"child\""), "{line}");
    assert_eq!(ask(&server, b"next"), b"next");
}

#[test]
fn signals_to_children_that_begin_do_not_end_the_server() {
    let mut server = echo(&["--concurrency", "forking"]);
    let (pid, done) = (server.pid(), AtomicBool::new(false));
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = 0;
            while !done.load(Ordering::Relaxed) {
                // A child may have ended since it was listed.
                for child in children(pid).unwrap_or_default() {
                    let child = Pid::from_raw(child.cast_signed()).unwrap();
                    sent += usize::from(kill_process(child, Signal::TERM).is_ok());
                }
            }
            sent
        });
        // If the server ends, the scope still waits for the sender, which must end.
        let over = SetWhenDropped(&done);
        for _ in 0..500 {
            assert_eq!(ask(&server, b"x"), b"x");
        }
        drop(over);
        assert!(sender.join().unwrap() > 0);
    });
    server.signal("TERM").unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(0));
    let ended = server.log().iter().filter(|line| line.contains("ending")).count();
    assert_eq!(ended, 1);
}

#[test]
fn limits_hold_in_a_child() {
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
    for options in [&["--concurrency", "forking"][..], &["--workers", "2"], FIBERS] {
        let mut server = echo(options);
        let mut stream = in_flight(&server);
        let pids = children(server.pid()).unwrap();
        assert!(!pids.is_empty());
        server.signal("KILL").unwrap();
        server.wait().unwrap();
        assert_eq!(read_to_end(&mut stream), b"");
        for pid in pids {
            wait_until("the child has ended", || matches!(state(pid), Err(_) | Ok('Z')));
        }
    }
}

#[test]
fn a_worker_that_dies_is_replaced_and_costs_its_own_requests_only() {
    let with_threads: &[&str] = &["--workers", "2"];
    [with_threads, FIBERS].into_iter().for_each(kill_a_worker);
}

fn kill_a_worker(options: &[&str]) {
    let mut server = echo(options);
    wait_until("there are two workers", || children(server.pid()).unwrap().len() == 2);
    // With so many requests, both workers have some.
    let mut streams: Vec<TcpStream> = (0..40).map(|_| in_flight(&server)).collect();
    let victim = children(server.pid()).unwrap()[0];
    send_signal(victim, "KILL").unwrap();
    server.wait_for_log("a worker is gone").unwrap();
    wait_until("there are two workers again", || {
        let now = children(server.pid()).unwrap();
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
    drop(streams);
    assert!(server.stop().unwrap().success());
}

#[test]
fn a_worker_of_fibers_has_its_share_of_the_processors_whatever_it_holds() {
    let mut server = echo(FIBERS);
    let streams: Vec<TcpStream> = (0..40).map(|_| in_flight(&server)).collect();
    let share = (thread::available_parallelism().unwrap().get() / 2).max(1);
    for worker in children(server.pid()).unwrap() {
        // The loop, the ticker, and those of requests.
        assert!(threads(worker) <= 2 + share, "{}", threads(worker));
    }
    assert_eq!(threads(server.pid()), 1);
    drop(streams);
    assert!(server.stop().unwrap().success());
}

#[test]
fn children_ignore_sigint_of_a_terminal() {
    for options in [&["--concurrency", "forking"][..], &["--workers", "2"], FIBERS] {
        let mut server = echo(&[options, &["--grace", "1h"]].concat());
        let mut stream = in_flight(&server);
        // A terminal sends SIGINT to all processes.
        for pid in children(server.pid()).unwrap() {
            send_signal(pid, "INT").unwrap();
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

#[test]
fn a_server_that_forks_has_its_program_in_huge_pages() {
    let setting = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let version: Vec<u32> = release.split('.').map_while(|part| part.parse().ok()).collect();
    if setting.is_ok_and(|setting| setting.contains("[never]")) || version < vec![6, 1] {
        eprintln!("skipped: this kernel has no huge pages on request");
        return;
    }
    let huge_code = |options: &[&str]| -> u64 {
        let server = echo(options);
        assert_eq!(ask(&server, b"x"), b"x");
        let mappings = fs::read_to_string(format!("/proc/{}/smaps", server.pid())).unwrap();
        let (mut is_code, mut kib) = (false, 0);
        for line in mappings.lines() {
            let mut fields = line.split_whitespace();
            match (fields.next(), fields.next()) {
                (Some("AnonHugePages:"), Some(size)) if is_code => {
                    kib += size.parse::<u64>().unwrap();
                }
                (Some(range), Some(access)) if !range.ends_with(':') => {
                    is_code = access == "r-xp";
                }
                _ => {}
            }
        }
        kib
    };
    assert!(huge_code(&["--concurrency", "forking"]) >= 4 << 10);
    // Without a fork for each request the file is mapped once, and shared with other servers.
    assert_eq!(huge_code(&["--concurrency", "threading"]), 0);
}
