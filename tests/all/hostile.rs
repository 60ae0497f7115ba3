//! Handlers and clients that mean harm, or are broken. Whatever one does, it
//! costs its own request: the log says whose fault it was, and the next client
//! is served.

use std::io::Write;

use crate::client::{ask, expect, read_to_end, reset};
use crate::fixture::{FIXTURE, Fixture, Served};

/// A handler, asked to do its worst, is ended or fails for `reason`.
fn ends(served: &mut Served, reason: &str, blame: &str) -> String {
    assert_eq!(ask(&served.server, b"-"), b"ok");
    ask(&served.server, b"x");
    let line = served.server.wait_for_log("Exception occurred").unwrap();
    assert!(line.contains(&format!("reason=\"{reason}\"")), "{reason}: {line}");
    assert!(line.contains(&format!("blame=\"{blame}\"")), "{blame}: {line}");
    assert!(line.contains("handler=\"fixture\""), "{line}");
    assert!(line.contains("from 127.0.0.1:"), "{line}");
    assert_eq!(ask(&served.server, b"-"), b"ok");
    line
}

fn guest_ends(fixture: Fixture<'_>, reason: &str) -> String {
    ends(&mut fixture.serve(&["--cpu-time", "100ms"]), reason, "guest")
}

#[test]
fn a_trap_in_setup() {
    let line = guest_ends(Fixture { setup: "unreachable", ..FIXTURE }, "trap");
    assert!(line.contains("setup was ended"), "{line}");
}

#[test]
fn a_trap_in_handle() {
    let line = guest_ends(Fixture { handle: "unreachable", ..FIXTURE }, "trap");
    assert!(line.contains("handle was ended"), "{line}");
    assert!(line.contains("unreachable"), "{line}");
}

#[test]
fn a_trap_in_finish() {
    let line = guest_ends(Fixture { finish: "unreachable", ..FIXTURE }, "trap");
    assert!(line.contains("finish was ended"), "{line}");
}

#[test]
fn traps_of_other_kinds() {
    for trap in [
        "(drop (i32.div_s (i32.const 1) (i32.const 0)))",
        "(drop (i32.load (i32.const -4)))",
        "(call_indirect (i32.const 9))",
    ] {
        guest_ends(Fixture { handle: trap, fields: "(table 1 funcref)", ..FIXTURE }, "trap");
    }
}

#[test]
fn an_endless_loop_in_each_step() {
    let endless = "(loop $again (br $again))";
    guest_ends(Fixture { setup: endless, ..FIXTURE }, "cpu-time");
    guest_ends(Fixture { handle: endless, ..FIXTURE }, "cpu-time");
    guest_ends(Fixture { finish: endless, ..FIXTURE }, "cpu-time");
}

#[test]
fn an_endless_loop_while_the_host_brings_data() {
    // realloc is called for what the client sends, so no client is served.
    let fixture = Fixture { realloc: "(loop $again (br $again))", ..FIXTURE };
    let mut served = fixture.serve(&["--cpu-time", "100ms"]);
    for _ in 0..2 {
        assert_eq!(ask(&served.server, b"x"), b"");
        let line = served.server.wait_for_log("Exception occurred").unwrap();
        assert!(line.contains("reason=\"cpu-time\""), "{line}");
    }
}

#[test]
fn an_endless_recursion() {
    let fixture = Fixture {
        handle: "(call $deeper)",
        fields: "(func $deeper (call $deeper) (call $deeper))",
        ..FIXTURE
    };
    guest_ends(fixture, "stack");
}

#[test]
fn an_endless_loop_of_host_calls() {
    let fixture = Fixture {
        handle: "(loop $again
            (call $host_settimeout (global.get $request) (i32.const 0) (f64.const 0) (i32.const 32))
            (br $again))",
        ..FIXTURE
    };
    guest_ends(fixture, "cpu-time");
}

#[test]
fn waiting_is_not_charged_as_cpu_time() {
    let fixture = Fixture {
        handle: "(call $recv (i32.const 1)) (call $sendall (i32.const 1024) (i32.const 1))",
        ..FIXTURE
    };
    let served = fixture.serve(&["--cpu-time", "10ms"]);
    let mut stream = served.server.connect().unwrap();
    stream.write_all(b"x").unwrap();
    // Another request that runs into the limit shows that it has passed.
    let looping = Fixture { handle: "(loop $again (br $again))", ..FIXTURE };
    guest_ends(looping, "cpu-time");
    stream.write_all(b"y").unwrap();
    assert_eq!(read_to_end(&mut stream), b"y");
}

#[test]
fn a_memory_bomb() {
    // It grows until it is refused, and does not care.
    let fixture = Fixture {
        handle: "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable",
        ..FIXTURE
    };
    let line = ends(&mut fixture.serve(&["--memory", "8MiB"]), "memory", "guest");
    assert!(line.contains("the limit is 8388608"), "{line}");
}

#[test]
fn refused_memory_alone_is_no_failure() {
    let fixture = Fixture {
        handle: "(drop (memory.grow (i32.const 60000))) (call $sendall (i32.const 100) (i32.const 2))",
        ..FIXTURE
    };
    assert_eq!(ask(&fixture.serve(&[]).server, b"x"), b"ok");
}

#[test]
fn memory_that_others_have_is_not_there() {
    // It takes 10 MB and keeps them until its client says more.
    let fixture = Fixture {
        handle: "(if (i32.eq (memory.grow (i32.const 150)) (i32.const -1)) (then unreachable))
            (call $sendall (i32.const 100) (i32.const 2))
            (call $recv (i32.const 1))",
        ..FIXTURE
    };
    let mut served = fixture.serve(&["--memory-total", "16MiB"]);
    let mut keeps = served.server.connect().unwrap();
    keeps.write_all(b"x").unwrap();
    expect(&mut keeps, b"ok");
    assert_eq!(ask(&served.server, b"-"), b"ok");
    assert_eq!(ask(&served.server, b"x"), b"");
    let line = served.server.wait_for_log("Exception occurred").unwrap();
    assert!(
        line.contains("reason=\"memory-total\"") && line.contains("blame=\"policy\""),
        "{line}"
    );
    keeps.write_all(b"-").unwrap();
    assert_eq!(read_to_end(&mut keeps), b"");
    assert_eq!(ask(&served.server, b"x"), b"ok");
}

#[test]
fn a_table_bomb() {
    let fixture = Fixture {
        handle: "(loop $again (br_if $again (i32.ne (table.grow (ref.null func) (i32.const 1000)) (i32.const -1)))) unreachable",
        fields: "(table 1 funcref)",
        ..FIXTURE
    };
    ends(&mut fixture.serve(&[]), "memory", "guest");
}

#[test]
fn pointers_that_lead_out_of_the_memory() {
    for (data, length) in [("0", "-1"), ("-1", "1"), ("65536", "1"), ("65535", "2")] {
        let handle = format!("(call $sendall (i32.const {data}) (i32.const {length}))");
        guest_ends(Fixture { handle: &handle, ..FIXTURE }, "call");
    }
    guest_ends(Fixture { handle: "(return (i32.const 65535))", ..FIXTURE }, "call");
    guest_ends(
        Fixture { handle: "(return (call $error (i32.const 0) (i32.const -1)))", ..FIXTURE },
        "call",
    );
}

#[test]
fn a_place_for_data_that_is_not_in_the_memory() {
    let fixture = Fixture {
        realloc: "(if (i32.eq (local.get 3) (i32.const 2)) (then (return (i32.const 65535))))",
        handle: "(call $recv (i32.const 2))",
        ..FIXTURE
    };
    let mut served = fixture.serve(&[]);
    ask(&served.server, b"xyz");
    let line = served.server.wait_for_log("Exception occurred").unwrap();
    assert!(line.contains("reason=\"call\""), "{line}");
    assert_eq!(ask(&served.server, b"-"), b"ok");
}

#[test]
fn text_that_is_not_utf_8() {
    let fixture = Fixture {
        handle: "(i32.store8 (i32.const 1024) (i32.const 255)) (call $host_log (i32.const 1) (i32.const 1024) (i32.const 1))",
        ..FIXTURE
    };
    guest_ends(fixture, "call");
    let fixture = Fixture {
        handle: "(i32.store8 (i32.const 1024) (i32.const 255)) (return (call $error (i32.const 1024) (i32.const 1)))",
        ..FIXTURE
    };
    guest_ends(fixture, "call");
}

#[test]
fn handles_that_are_not_its_own() {
    for handle in [
        "(call $host_close (i32.const 7))",
        "(call $host_drop (i32.const 7))",
        "(call $host_drop (global.get $request)) (call $host_drop (global.get $request))",
        "(call $host_drop (global.get $request)) (call $recv (i32.const 1))",
    ] {
        guest_ends(Fixture { handle, ..FIXTURE }, "call");
    }
}

#[test]
fn asking_for_four_gigabytes_allocates_none() {
    let fixture = Fixture {
        handle: "(call $recv (i32.const -1)) (call $sendall (i32.const 1024) (i32.load (i32.const 24)))",
        ..FIXTURE
    };
    let served = fixture.serve(&[]);
    for _ in 0..20 {
        let mut stream = served.server.connect().unwrap();
        stream.write_all(b"x").unwrap();
        stream.write_all(b"data").unwrap();
        expect(&mut stream, b"d");
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", served.server.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kilobytes < 200 << 10, "the host has used {peak}");
}

#[test]
fn a_flood_of_log_lines_and_escapes() {
    let fixture = Fixture {
        handle: "(local $left i32) (local.set $left (i32.const 10000))
            (loop $again
              (call $host_log (i32.const 1) (i32.const 120) (i32.const 12))
              (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))",
        ..FIXTURE
    };
    let mut served = fixture.serve(&["--log-rate", "10000"]);
    ask(&served.server, b"x");
    served.server.wait_for_log("is dropped").unwrap();
    assert_eq!(ask(&served.server, b"-"), b"ok");
    served.server.stop().unwrap();
    let lines: Vec<_> = served.server.log().iter().filter(|line| line.contains("[2Jred")).collect();
    // 64 KiB of lines that count as 64 bytes each.
    assert_eq!(lines.len(), 1024);
    assert!(lines[0].contains(r"\u{1b}[2Jred\nline"), "{}", lines[0]);
    assert!(lines.iter().all(|line| !line.contains('\x1b')));
}

#[test]
fn a_long_line_is_cut() {
    let fixture = Fixture {
        handle: "(memory.fill (i32.const 2048) (i32.const 65) (i32.const 60000))
            (call $host_log (i32.const 1) (i32.const 2048) (i32.const 60000))
            (return (call $error (i32.const 2048) (i32.const 60000)))",
        ..FIXTURE
    };
    let mut served = fixture.serve(&[]);
    ask(&served.server, b"x");
    for text in ["INFO", "Exception occurred"] {
        let line = served.server.wait_for_log(text).unwrap();
        assert!(line.len() < 1500 && line.contains("bytes more"), "{line}");
    }
}

#[test]
fn a_client_that_says_nothing_is_left_after_the_idle_timeout() {
    let mut served = FIXTURE.serve(&["--idle-timeout", "200ms"]);
    let mut stream = served.server.connect().unwrap();
    assert_eq!(read_to_end(&mut stream), b"");
    let line = served.server.wait_for_log("Exception occurred").unwrap();
    assert!(
        line.contains("reason=\"idle-timeout\"") && line.contains("blame=\"client\""),
        "{line}"
    );
    assert_eq!(ask(&served.server, b"-"), b"ok");
}

#[test]
fn a_client_that_does_not_read_is_left_after_the_idle_timeout() {
    let fixture = Fixture {
        handle: "(loop $again (call $sendall (i32.const 0) (i32.const 65536)) (br $again))",
        ..FIXTURE
    };
    let mut served = fixture.serve(&["--idle-timeout", "200ms"]);
    let mut stream = served.server.connect().unwrap();
    stream.write_all(b"x").unwrap();
    let line = served.server.wait_for_log("Exception occurred").unwrap();
    assert!(
        line.contains("reason=\"idle-timeout\"") && line.contains("blame=\"client\""),
        "{line}"
    );
    assert_eq!(ask(&served.server, b"-"), b"ok");
}

#[test]
fn a_guest_cannot_wait_for_longer_by_waiting_often() {
    // Each recv gives up after 10 ms, and is tried again for ever.
    let fixture = Fixture {
        handle: "(call $host_settimeout (global.get $request) (i32.const 1) (f64.const 0.01) (i32.const 32))
            (loop $again (call $recv (i32.const 1)) (br_if $again (i32.load8_u (i32.const 16))))",
        ..FIXTURE
    };
    let mut served = fixture.serve(&["--idle-timeout", "200ms"]);
    let mut stream = served.server.connect().unwrap();
    stream.write_all(b"x").unwrap();
    let line = served.server.wait_for_log("Exception occurred").unwrap();
    assert!(line.contains("reason=\"idle-timeout\""), "{line}");
}

#[test]
fn a_client_that_resets_is_to_blame() {
    let fixture = Fixture {
        handle: "(call $sendall (i32.const 100) (i32.const 2))
            (call $recv (i32.const 1))
            (if (i32.load8_u (i32.const 16)) (then (return (call $failed))))",
        ..FIXTURE
    };
    let mut served = fixture.serve(&[]);
    for _ in 0..20 {
        let mut stream = served.server.connect().unwrap();
        stream.write_all(b"x").unwrap();
        expect(&mut stream, b"ok");
        reset(stream);
        let line = served.server.wait_for_log("Exception occurred").unwrap();
        assert!(
            line.contains("reason=\"connection-lost\"") && line.contains("blame=\"client\""),
            "{line}"
        );
    }
    for _ in 0..20 {
        reset(served.server.connect().unwrap());
    }
    assert_eq!(ask(&served.server, b"-"), b"ok");
}
