//! The turns on the processor of the threads that run guests.

use std::fs;
use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use crate::fixture::{FIXTURE, Fixture, Served};

/// A short turn, in nanoseconds.
const SHORT: u64 = 200_000;

const THREADS: &[&str] = &["--concurrency", "threading"];

/// Whether the kernel lets a thread choose how long its turns are, and tells.
fn has_turns() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let has = version >= (6, 12) && turn("self").is_some();
    if !has {
        eprintln!("skipped: this kernel has no turns, or tells nobody how long they are");
    }
    has
}

/// How long a turn of that process or thread is, in nanoseconds.
fn turn(path: &str) -> Option<u64> {
    let state = fs::read_to_string(format!("/proc/{path}/sched")).ok()?;
    let slice = state.lines().find_map(|line| line.strip_prefix("se.slice"))?;
    slice.trim_start_matches([' ', ':']).parse().ok()
}

/// Whether a thread of the server that runs requests has short turns.
fn one_is_short(served: &Served) -> bool {
    let pid = served.server.pid();
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads.into_iter().any(|thread| {
        let path = format!("{pid}/task/{}", thread.unwrap().file_name().display());
        turn(&path) == Some(SHORT)
    })
}

fn wait_until_one_is_short(served: &Served) {
    let begun = Instant::now();
    while !one_is_short(served) {
        assert!(begun.elapsed() < Duration::from_secs(30), "no turn became short");
        thread::yield_now();
    }
}

#[test]
fn a_request_that_computes_for_long_has_short_ones_until_it_ends() {
    if !has_turns() {
        return;
    }
    let fixture = Fixture { handle: "(loop $again (br $again))", ..FIXTURE };
    let served = fixture.serve(&[THREADS, &["--cpu-time", "2s"]].concat());
    let mut client = served.server.connect().unwrap();
    client.write_all(b"x").unwrap();
    wait_until_one_is_short(&served);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    assert!(!one_is_short(&served));
}

/// To fill it is one instruction, which may take as long as many turns.
#[test]
fn a_request_with_much_memory_has_short_ones_at_once() {
    if !has_turns() {
        return;
    }
    for (pages, short) in [(64, false), (256, true)] {
        let handle = format!(
            "(drop (memory.grow (i32.const {pages})))
            (call $sendall (i32.const 100) (i32.const 2)) (call $recv (i32.const 1))"
        );
        let served = Fixture { handle: &handle, ..FIXTURE }.serve(THREADS);
        let mut client = served.server.connect().unwrap();
        client.write_all(b"x").unwrap();
        client.read_exact(&mut [0; 2]).unwrap();
        assert_eq!(one_is_short(&served), short, "{pages} pages");
        client.write_all(b"x").unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        assert!(!one_is_short(&served));
    }
}

/// It takes nobody's turn, and short ones would cost it and others.
#[test]
fn a_request_that_waits_for_its_client_has_the_kernels() {
    if !has_turns() {
        return;
    }
    let handle = "(loop $again
        (call $recv (i32.const 1))
        (call $sendall (i32.const 100) (i32.const 2))
        (br_if $again (i32.load (i32.const 24))))";
    let served = Fixture { handle, ..FIXTURE }.serve(THREADS);
    let mut client = served.server.connect().unwrap();
    client.write_all(b"x").unwrap();
    for _ in 0..20 {
        // A client that is as slow as an epoch is long.
        thread::sleep(Duration::from_millis(11));
        client.write_all(b"x").unwrap();
        client.read_exact(&mut [0; 2]).unwrap();
        assert!(!one_is_short(&served));
    }
}
