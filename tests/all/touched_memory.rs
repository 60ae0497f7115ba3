//! `--memory-total` among fibers, which counts the memory that requests have touched.

use std::io::Write;
use std::net::TcpStream;

use socketserver_tests::process::wait_until;
use socketserver_tests::procfs::{children, memory};

use crate::client::{ask, expect, read_to_end};
use crate::fixture::{FIXTURE, Fixture};
use crate::neighbours::{FIBERS, begin, is_in_flight, serve_in_one_thread};

/// Fibers of the server, and of a process in the jail.
const MODES: [&[&str]; 2] = [&[], &["--workers", "1"]];

/// The memory that the host takes beside that of requests.
const NOISE: u64 = 4 << 20;

/// A handler that answers, receives a number, fills so many pages of its memory, waits for a
/// byte more, and answers again.
const FILLS: Fixture<'static> = Fixture {
    handle: "(call $sendall (i32.const 100) (i32.const 2))
        (call $recv (i32.const 1))
        (memory.fill (i32.const 4096) (i32.const 7)
            (i32.mul (i32.load8_u (i32.const 1024)) (i32.const 65536)))
        (call $recv (i32.const 1))
        (call $sendall (i32.const 100) (i32.const 2))",
    memory: "256",
    ..FIXTURE
};

/// Lets a request of [`FILLS`] that has filled its pages end.
fn end(mut stream: TcpStream) {
    stream.write_all(b"-").unwrap();
    assert_eq!(read_to_end(&mut stream), b"ok");
}

/// Each memory begins with 16 MiB, of which a request touches a few pages.
#[test]
fn a_thousand_requests_that_touch_little_fit_where_eight_could_fill_their_memories() {
    for mode in MODES {
        let served = FILLS.serve(&[FIBERS, &["--memory-total", "128MiB"], mode].concat());
        // The second time, they get the memory that the first has left.
        for _ in 0..2 {
            let mut clients: Vec<_> = (0..1000).map(|_| begin(&served.server, b"x")).collect();
            for client in &mut clients {
                expect(client, b"ok");
            }
            for mut client in clients {
                client.write_all(b"\0-").unwrap();
                assert_eq!(read_to_end(&mut client), b"ok");
            }
        }
    }
}

/// Sixteen requests fill 12 MiB each, in one instruction. Two threads run them.
#[test]
fn requests_that_touch_more_than_is_left_are_ended() {
    const LIMIT: u64 = 64 << 20;
    const OVERSHOOT: u64 = 2 * (16 << 20);
    for mode in MODES {
        let mut served = FILLS.serve(&[FIBERS, &["--memory-total", "64MiB"], mode].concat());
        let mut clients: Vec<_> = (0..16).map(|_| begin(&served.server, b"x")).collect();
        for client in &mut clients {
            expect(client, b"ok");
        }
        let pid = served.server.pid();
        let pid = children(pid).unwrap().first().copied().unwrap_or(pid);
        let before = memory(pid, "VmRSS").unwrap();
        for client in &mut clients {
            client.write_all(&[192]).unwrap();
        }
        // Five fit.
        for _ in 0..11 {
            let line = served.server.wait_for_log("Exception occurred").unwrap();
            assert!(line.contains("blame=\"policy\" reason=\"memory-total\""), "{line}");
            assert!(line.contains("all instances together may have 67108864 bytes"), "{line}");
        }
        wait_until("eleven are ended", || {
            clients.retain(is_in_flight);
            clients.len() <= 5
        });
        let touched = memory(pid, "VmHWM").unwrap() - before;
        assert!(touched < LIMIT + OVERSHOOT + NOISE, "{touched} bytes");
        let touched = memory(pid, "VmRSS").unwrap() - before;
        assert!(touched < LIMIT + NOISE, "{touched} bytes");
        // Three quarters are in use, so that this one waits.
        let mut next = begin(&served.server, b"-");
        assert_eq!(clients.len(), 5);
        clients.into_iter().for_each(end);
        assert_eq!(read_to_end(&mut next), b"ok");
        assert_eq!(ask(&served.server, b"x\xc0-"), b"okok");
    }
}

#[test]
fn a_request_that_touches_too_much_and_never_waits_is_ended() {
    let handle = "(local $to i32)
        (local.set $to (i32.const 4096))
        (loop $again
            (i32.store8 (local.get $to) (i32.const 7))
            (local.set $to (i32.add (local.get $to) (i32.const 4096)))
            (br_if $again (i32.lt_u (local.get $to) (i32.const 16000000))))
        (loop $for_ever (br $for_ever))";
    let fixture = Fixture { handle, ..FILLS };
    let mut served = serve_in_one_thread(&fixture.text(), &["--memory-total", "28MiB"]);
    let mut both = [0; 2].map(|_| begin(&served.server, b"x"));
    let line = served.server.wait_for_log("Exception occurred").unwrap();
    assert!(line.contains("blame=\"policy\" reason=\"memory-total\""), "{line}");
    // The one that finds nothing left: they touch their pages in turns.
    both.sort_by_key(|client| line.contains(&client.local_addr().unwrap().to_string()));
    let [other, ended] = &mut both;
    assert_eq!(read_to_end(ended), b"");
    assert!(is_in_flight(other));
}

/// Memory that is not there is refused when a handler asks for it.
#[test]
fn a_request_grows_by_what_is_left() {
    let handle = "(call $recv (i32.const 1))
        (memory.fill (i32.const 4096) (i32.const 7)
            (i32.mul (i32.load8_u (i32.const 1024)) (i32.const 65536)))
        (call $sendall (i32.const 100) (i32.const 2))
        (call $recv (i32.const 1))
        (i32.store8 (i32.const 100)
            (i32.add (i32.const 48) (i32.eq (memory.grow (i32.const 160)) (i32.const -1))))
        (call $sendall (i32.const 100) (i32.const 1))";
    let fixture = Fixture { handle, ..FILLS };
    let served = serve_in_one_thread(&fixture.text(), &["--memory-total", "24MiB"]);
    let mut full = begin(&served.server, b"x\xf8");
    expect(&mut full, b"ok");
    assert_eq!(ask(&served.server, b"x\0-"), b"ok1");
    full.write_all(b"-").unwrap();
    assert_eq!(read_to_end(&mut full), b"1");
    assert_eq!(ask(&served.server, b"x\0-"), b"ok0");
}

/// Each request begins with 800 KB, for a table, and four fit. Requests that wait get memory in the
/// order in which they came to wait, which is not always that of the connections: the loop may take
/// one, and the thread of fibers another.
#[test]
fn each_request_that_waits_gets_memory_when_enough_is_given_back() {
    let fixture = Fixture { memory: "32", fields: "(table 90000 funcref)", ..FILLS };
    let served = serve_in_one_thread(&fixture.text(), &["--memory-total", "4280000"]);
    // Two take nearly all: 2.4 times as much as a request begins with, and 1.3 times.
    let [large, small] = [b"x\x1d", b"x\x0f"].map(|data| {
        let mut stream = begin(&served.server, data);
        expect(&mut stream, b"ok");
        stream
    });
    let mut waiting = [0; 2].map(|_| begin(&served.server, b"x\0"));
    end(small);
    wait_until("one of them has memory", || !waiting.iter().all(is_in_flight));
    waiting.sort_by_key(is_in_flight);
    let [mut first, mut second] = waiting;
    expect(&mut first, b"ok");
    // The other one has too little.
    assert!(is_in_flight(&second));
    end(first);
    expect(&mut second, b"ok");
    end(second);
    end(large);
}
