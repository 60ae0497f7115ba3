//! What one request may move, hold and log: up to each limit, and one beyond.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, UdpSocket};

use crate::client::ask;
use crate::fixture::{DATAGRAM, FIXTURE, Fixture, Served, WITH_HANDLES};

/// Receives to the end of the stream, and then goes on to answer nothing.
const RECEIVES: Fixture<'static> = Fixture {
    handle: "(loop $again
        (call $recv (i32.const 1000))
        (if (i32.load8_u (i32.const 16)) (then (return (call $failed))))
        (br_if $again (i32.load (i32.const 24))))
        (call $sendall (i32.const 100) (i32.const 2))",
    ..FIXTURE
};

/// Sends a hundred bytes.
const SENDS: Fixture<'static> =
    Fixture { handle: "(call $sendall (i32.const 0) (i32.const 100))", ..FIXTURE };

/// Makes a hundred handles, of a resource of its own.
const HOLDS: Fixture<'static> = Fixture {
    handle: "(local $left i32)
        (local.set $left (i32.const 100))
        (loop $again
            (drop (call $new (i32.const 1)))
            (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (call $sendall (i32.const 100) (i32.const 2))",
    ..WITH_HANDLES
};

/// Sends all of `data` and reads to the end.
fn talk(served: &Served, data: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = served.server.connect().unwrap();
    stream.write_all(data).unwrap();
    // It fails if a reset is there already, which is then read.
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map(|_| answer)
}

fn failed(served: &mut Served, reason: &str, blame: &str) {
    let line = served.server.wait_for_log("Exception occurred").unwrap();
    assert!(line.contains(&format!("reason=\"{reason}\"")), "{line}");
    assert!(line.contains(&format!("blame=\"{blame}\"")), "{line}");
    assert_eq!(ask(&served.server, b"-"), b"ok");
}

#[test]
fn a_client_may_send_so_many_bytes() {
    let mut served = RECEIVES.serve(&["--max-received", "10"]);
    assert_eq!(talk(&served, b"x123456789").unwrap(), b"ok");
    assert_eq!(talk(&served, b"x1234567890").unwrap(), b"");
    failed(&mut served, "received", "client");
}

#[test]
fn a_handler_may_send_so_many_bytes() {
    assert_eq!(talk(&SENDS.serve(&["--max-sent", "100"]), b"x").unwrap().len(), 100);
    let mut served = SENDS.serve(&["--max-sent", "99"]);
    assert_eq!(talk(&served, b"x").unwrap().len(), 99);
    failed(&mut served, "sent", "guest");
}

/// An empty datagram costs whoever gets it as much as one of a byte.
#[test]
fn empty_datagrams_count_as_a_byte_each() {
    let handle = "(loop $again
        (call $reply (i32.const 100) (i32.const 0))
        (br_if $again (i32.eqz (i32.load8_u (i32.const 32)))))";
    let fixture = Fixture { handle, ..DATAGRAM };
    let mut served = fixture.serve_at(&["udp://127.0.0.1:0"], &["--max-sent", "3"]);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(served.server.endpoints()[0].strip_prefix("udp://").unwrap()).unwrap();
    client.send(b"x").unwrap();
    let line = served.server.wait_for_log("Exception occurred").unwrap();
    assert!(line.contains("reason=\"sent\"") && line.contains("blame=\"guest\""), "{line}");
    client.set_nonblocking(true).unwrap();
    for _ in 0..3 {
        assert_eq!(client.recv(&mut [0; 1]).unwrap(), 0);
    }
    assert_eq!(client.recv(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn one_recv_returns_no_more_than_the_host_allocates_for_a_call() {
    let fixture = Fixture {
        // The length of what came is the answer.
        handle: "(call $recv (i32.const -1))
            (i32.store (i32.const 100) (i32.load (i32.const 24)))
            (call $sendall (i32.const 100) (i32.const 4))",
        realloc: "(if (i32.gt_u (local.get 3) (i32.const 1)) (then (return (i32.const 8192))))",
        memory: "2",
        ..FIXTURE
    };
    let served = fixture.serve(&["--call-memory", "4KiB"]);
    let mut data = vec![b'x'];
    data.resize(50_000, b'.');
    assert_eq!(talk_to_the_end(&served, &data), 4096_u32.to_le_bytes());
}

/// As `talk`, of a handler that leaves something unread, which may reset the
/// connection after the answer.
fn talk_to_the_end(served: &Served, data: &[u8]) -> Vec<u8> {
    let mut stream = served.server.connect().unwrap();
    stream.write_all(data).unwrap();
    let mut answer = vec![0; 4];
    stream.read_exact(&mut answer).unwrap();
    answer
}

#[test]
fn one_call_hands_over_no_more_than_sixteen_mebibytes() {
    for (bytes, passes) in [(16 << 20, true), ((16 << 20) + 1, false)] {
        let handle = format!("(call $sendall (i32.const 0) (i32.const {bytes}))");
        let mut served = Fixture { handle: &handle, memory: "257", ..FIXTURE }.serve(&[]);
        let answer = talk(&served, b"x").unwrap();
        if passes {
            assert_eq!(answer.len(), bytes);
        } else {
            assert_eq!(answer, b"");
            failed(&mut served, "call", "guest");
        }
    }
}

/// What a memory is refused by its own maximum it does not have.
#[test]
fn a_memory_that_may_not_grow_takes_nothing() {
    let fixture = Fixture {
        memory: "1 2",
        fields: "(table $table 0 funcref)",
        handle: "(local $left i32)
            (local.set $left (i32.const 10))
            (loop $again
                (if (i32.ne (memory.grow (i32.const 30)) (i32.const -1)) (then unreachable))
                (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
            (i32.store8 (i32.const 100)
                (i32.add (i32.const 48) (table.grow $table (ref.null func) (i32.const 100000))))
            (call $sendall (i32.const 100) (i32.const 1))",
        ..FIXTURE
    };
    let served = fixture.serve(&["--memory", "4MiB"]);
    // The size that the table had, and not that it could not grow.
    assert_eq!(talk(&served, b"x").unwrap(), b"0");
}

#[test]
fn a_handler_may_hold_so_many_handles() {
    // One more is that of its request, and one is lent to the host for the call
    // that answers.
    assert_eq!(talk(&HOLDS.serve(&["--handles", "102"]), b"x").unwrap(), b"ok");
    let mut served = HOLDS.serve(&["--handles", "101"]);
    assert_eq!(talk(&served, b"x").unwrap(), b"");
    failed(&mut served, "handles", "guest");
}

#[test]
fn a_request_may_log_so_many_bytes() {
    // Four lines of a hundred bytes.
    let log = "(call $host_log (i32.const 1) (i32.const 2048) (i32.const 100))";
    let handle = format!(
        "(memory.fill (i32.const 2048) (i32.const 76) (i32.const 100)) {log}{log}{log}{log}
        (call $sendall (i32.const 100) (i32.const 2))"
    );
    let fixture = Fixture { handle: &handle, ..FIXTURE };
    for (limit, logged) in [("400", 4), ("399", 3), ("0", 0)] {
        let mut served = fixture.serve(&["--log-bytes", limit]);
        assert_eq!(talk(&served, b"x").unwrap(), b"ok");
        served.server.stop().unwrap();
        let log = served.server.log();
        let count = |text: &str| log.iter().filter(|line| line.contains(text)).count();
        assert_eq!(count("LLLL"), logged, "{limit}: {log:#?}");
        assert_eq!(count("reason=\"log-bytes\""), usize::from(logged < 4), "{limit}: {log:#?}");
    }
}

/// The log says why, the client sees an end.
#[test]
fn a_killed_request_is_closed_as_the_operator_chooses() {
    for (killed, resets) in [("close", false), ("reset", true)] {
        for (handle, reason) in [("unreachable", "trap"), ("(loop $again (br $again))", "cpu-time")]
        {
            let fixture = Fixture { handle, ..FIXTURE };
            for mode in ["threading", "forking", "sync"] {
                let options = ["--killed", killed, "--cpu-time", "50ms", "--concurrency", mode];
                let mut served = fixture.serve(&options);
                let end = talk(&served, b"x");
                if resets {
                    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset, "{mode}");
                } else {
                    assert_eq!(end.unwrap(), b"", "{mode}");
                }
                failed(&mut served, reason, "guest");
            }
        }
    }
}

#[test]
fn a_request_that_fails_by_itself_is_never_reset() {
    let fixture = Fixture { handle: "(return (call $failed))", ..FIXTURE };
    let mut served = fixture.serve(&["--killed", "reset"]);
    assert_eq!(talk(&served, b"x").unwrap(), b"");
    failed(&mut served, "error", "guest");
}
