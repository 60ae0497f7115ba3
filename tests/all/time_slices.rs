//! The time slices of threads that run guests.

use std::fs;
use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use socketserver_tests::process::wait_until;

use crate::fixture::{FIXTURE, Fixture, Served};

/// A short time slice, in nanoseconds.
const SHORT: u64 = 200_000;

const THREADS: &[&str] = &["--concurrency", "threading"];

/// Returns whether the kernel lets a thread set its time slice, and shows it.
fn has_time_slices() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let has_time_slices = version >= (6, 12) && time_slice("self").is_some();
    if !has_time_slices {
        eprintln!(
            "skipped: the kernel does not let threads set time slices, or does not show them"
        );
    }
    has_time_slices
}

/// Returns the time slice of a process or thread, in nanoseconds.
fn time_slice(path: &str) -> Option<u64> {
    let state = fs::read_to_string(format!("/proc/{path}/sched")).ok()?;
    let slice = state.lines().find_map(|line| line.strip_prefix("se.slice"))?;
    slice.trim_start_matches([' ', ':']).parse().ok()
}

/// Returns whether a thread of the server has a short time slice.
fn has_short_slice(served: &Served) -> bool {
    let pid = served.server.pid();
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads.into_iter().any(|thread| {
        let path = format!("{pid}/task/{}", thread.unwrap().file_name().display());
        time_slice(&path) == Some(SHORT)
    })
}

#[test]
fn a_request_that_computes_for_long_has_short_time_slices_until_it_ends() {
    if !has_time_slices() {
        return;
    }
    let fixture = Fixture { handle: "(loop $again (br $again))", ..FIXTURE };
    let served = fixture.serve(&[THREADS, &["--cpu-time", "2s"]].concat());
    let mut client = served.server.connect().unwrap();
    client.write_all(b"x").unwrap();
    wait_until("a thread has a short time slice", || has_short_slice(&served));
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    assert!(!has_short_slice(&served));
}

/// A single instruction can fill a memory, which may take as long as many time slices.
#[test]
fn a_request_with_much_memory_has_short_time_slices_at_once() {
    if !has_time_slices() {
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
        assert_eq!(has_short_slice(&served), short, "{pages} pages");
        client.write_all(b"x").unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        assert!(!has_short_slice(&served));
    }
}

/// Such a request keeps no other from the processor, and short time slices would slow all of
/// them down.
#[test]
fn a_request_that_waits_for_its_client_has_the_time_slices_of_the_kernel() {
    if !has_time_slices() {
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
        // The client takes as long as an epoch.
        thread::sleep(Duration::from_millis(11));
        client.write_all(b"x").unwrap();
        client.read_exact(&mut [0; 2]).unwrap();
        assert!(!has_short_slice(&served));
    }
}
