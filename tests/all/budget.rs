//! The limits on the data, handles and log of a request: each is reached, and exceeded by one.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, UdpSocket};

use crate::client::ask;
use crate::fixture::{DATAGRAM, FIXTURE, Fixture, Served, WITH_HANDLES};

/// A handler that receives to the end of the stream, and then sends `ok`.
const RECEIVES: Fixture<'static> = Fixture {
    handle: "(loop $again
        (call $recv (i32.const 1000))
        (if (i32.load8_u (i32.const 16)) (then (return (call $failed))))
        (br_if $again (i32.load (i32.const 24))))
        (call $sendall (i32.const 100) (i32.const 2))",
    ..FIXTURE
};

/// A handler that sends a hundred bytes.
const SENDS: Fixture<'static> =
    Fixture { handle: "(call $sendall (i32.const 0) (i32.const 100))", ..FIXTURE };

/// Returns the code of a handler that makes so many handles of its own resource.
fn holds(handles: u32) -> String {
    format!(
        "(local $left i32)
        (local.set $left (i32.const {handles}))
        (loop $again
            (drop (call $new (i32.const 1)))
            (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (call $sendall (i32.const 100) (i32.const 2))"
    )
}

/// Sends `data` and reads the answer to its end.
fn send_and_read(served: &Served, data: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = served.server.connect().unwrap();
    stream.write_all(data).unwrap();
    // If the server has reset the connection already, the read reports it.
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map(|_| answer)
}

/// Checks that the request failed with this reason and blame, and that the server goes on.
fn check_failed(served: &mut Served, reason: &str, blame: &str) {
    let line = served.server.wait_for_log("Exception occurred").unwrap();
    assert!(line.contains(&format!("reason=\"{reason}\"")), "{line}");
    assert!(line.contains(&format!("blame=\"{blame}\"")), "{line}");
    assert_eq!(ask(&served.server, b"-"), b"ok");
}

#[test]
fn max_received_bounds_what_a_client_sends() {
    let mut served = RECEIVES.serve(&["--max-received", "10"]);
    assert_eq!(send_and_read(&served, b"x123456789").unwrap(), b"ok");
    assert_eq!(send_and_read(&served, b"x1234567890").unwrap(), b"");
    check_failed(&mut served, "received", "client");
}

#[test]
fn max_sent_bounds_what_a_handler_sends() {
    assert_eq!(send_and_read(&SENDS.serve(&["--max-sent", "100"]), b"x").unwrap().len(), 100);
    let mut served = SENDS.serve(&["--max-sent", "99"]);
    assert_eq!(send_and_read(&served, b"x").unwrap().len(), 99);
    check_failed(&mut served, "sent", "guest");
}

/// An empty datagram costs its receiver as much as a datagram of one byte.
#[test]
fn an_empty_datagram_counts_as_one_byte() {
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
fn one_recv_returns_at_most_256_kib() {
    let fixture = Fixture {
        // The answer is the length of the received data.
        handle: "(call $recv (i32.const -1))
            (i32.store (i32.const 100) (i32.load (i32.const 24)))
            (call $sendall (i32.const 100) (i32.const 4))",
        realloc: "(if (i32.gt_u (local.get 3) (i32.const 1)) (then (return (i32.const 8192))))",
        memory: "5",
        ..FIXTURE
    };
    let served = fixture.serve(&[]);
    let mut data = vec![b'x'];
    data.resize(300_000, b'.');
    let mut stream = served.server.connect().unwrap();
    stream.write_all(&data).unwrap();
    // The handler leaves data unread, so that a reset may follow the answer.
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    assert!((1..=256 << 10).contains(&u32::from_le_bytes(answer)), "{answer:?}");
}

#[test]
fn one_call_passes_at_most_16_mib() {
    for (bytes, passes) in [(16 << 20, true), ((16 << 20) + 1, false)] {
        let handle = format!("(call $sendall (i32.const 0) (i32.const {bytes}))");
        let mut served = Fixture { handle: &handle, memory: "257", ..FIXTURE }.serve(&[]);
        let answer = send_and_read(&served, b"x").unwrap();
        if passes {
            assert_eq!(answer.len(), bytes);
        } else {
            assert_eq!(answer, b"");
            check_failed(&mut served, "call", "guest");
        }
    }
}

/// Growth that a memory's own maximum refuses does not count.
#[test]
fn refused_growth_of_a_memory_does_not_count_as_memory() {
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
    // The answer is the size of the table before it grew.
    assert_eq!(send_and_read(&served, b"x").unwrap(), b"0");
}

#[test]
fn a_request_has_at_most_256_handles() {
    // The request socket has one handle, and the call that answers lends one to the host.
    let [fits, exceeds] = [holds(254), holds(255)];
    let [fits, exceeds] = [&fits, &exceeds].map(|handle| Fixture { handle, ..WITH_HANDLES });
    assert_eq!(send_and_read(&fits.serve(&[]), b"x").unwrap(), b"ok");
    let mut served = exceeds.serve(&[]);
    assert_eq!(send_and_read(&served, b"x").unwrap(), b"");
    check_failed(&mut served, "handles", "guest");
}

#[test]
fn log_bytes_bounds_what_a_request_logs() {
    // Four lines of a hundred bytes.
    let log = "(call $host_log (i32.const 1) (i32.const 2048) (i32.const 100))";
    let handle = format!(
        "(memory.fill (i32.const 2048) (i32.const 76) (i32.const 100)) {log}{log}{log}{log}
        (call $sendall (i32.const 100) (i32.const 2))"
    );
    let fixture = Fixture { handle: &handle, ..FIXTURE };
    for (limit, logged) in [("400", 4), ("399", 3), ("0", 0)] {
        let mut served = fixture.serve(&["--log-bytes", limit]);
        assert_eq!(send_and_read(&served, b"x").unwrap(), b"ok");
        served.server.stop().unwrap();
        let log = served.server.log();
        let count = |text: &str| log.iter().filter(|line| line.contains(text)).count();
        assert_eq!(count("LLLL"), logged, "{limit}: {log:#?}");
        assert_eq!(count("reason=\"log-bytes\""), usize::from(logged < 4), "{limit}: {log:#?}");
    }
}

/// The client sees the end of the stream or a reset; only the log says why.
#[test]
fn the_option_on_kill_chooses_how_the_connection_of_a_killed_request_ends() {
    for (on_kill, resets) in [("close", false), ("reset", true)] {
        for (handle, reason) in [("unreachable", "trap"), ("(loop $again (br $again))", "cpu-time")]
        {
            let fixture = Fixture { handle, ..FIXTURE };
            for mode in ["threading", "forking", "sync"] {
                let options = ["--on-kill", on_kill, "--cpu-time", "50ms", "--concurrency", mode];
                let mut served = fixture.serve(&options);
                let end = send_and_read(&served, b"x");
                if resets {
                    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset, "{mode}");
                } else {
                    assert_eq!(end.unwrap(), b"", "{mode}");
                }
                check_failed(&mut served, reason, "guest");
            }
        }
    }
}

#[test]
fn the_connection_of_a_handler_that_returns_an_error_is_never_reset() {
    let fixture = Fixture { handle: "(return (call $failed))", ..FIXTURE };
    let mut served = fixture.serve(&["--on-kill", "reset"]);
    assert_eq!(send_and_read(&served, b"x").unwrap(), b"");
    check_failed(&mut served, "error", "guest");
}
