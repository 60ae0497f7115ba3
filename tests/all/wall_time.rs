//! `--wall-time`: the limit on the total time of a request.

use std::io::Write;

use crate::client::{ask, read_to_end};
use crate::fixture::{FIXTURE, Fixture};

/// The options that leave the wall time as the only limit in effect.
const LIMITS: [&str; 6] = ["--wall-time", "300ms", "--idle-timeout", "1h", "--cpu-time", "1h"];

/// Serves a handler, sends it a request, and returns the line that reports the failure.
fn failure(fixture: &Fixture<'_>, mode: &str) -> String {
    let mut served = fixture.serve(&[&LIMITS[..], &["--concurrency", mode]].concat());
    let mut stream = served.server.connect().unwrap();
    stream.write_all(b"x").unwrap();
    let line = served.server.wait_for_log("Exception occurred").unwrap();
    read_to_end(&mut stream);
    assert_eq!(ask(&served.server, b"-"), b"ok");
    line
}

#[test]
fn wall_time_ends_a_handler_that_computes() {
    for mode in ["threading", "forking"] {
        let line = failure(&Fixture { handle: "(loop $again (br $again))", ..FIXTURE }, mode);
        assert!(line.contains("reason=\"wall-time\"") && line.contains("300ms"), "{line}");
    }
}

#[test]
fn wall_time_ends_a_handler_that_waits() {
    let line = failure(&Fixture { handle: "(call $recv (i32.const 1))", ..FIXTURE }, "threading");
    assert!(line.contains("reason=\"wall-time\"") && line.contains("policy"), "{line}");
}

#[test]
fn wall_time_ends_a_handler_whose_calls_never_wait() {
    let line = failure(
        &Fixture {
            handle: "(loop $again (call $sendall (i32.const 100) (i32.const 0)) (br $again))",
            ..FIXTURE
        },
        "threading",
    );
    assert!(line.contains("reason=\"wall-time\""), "{line}");
}
