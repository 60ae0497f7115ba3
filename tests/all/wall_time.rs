//! How long a request may take in all.

use std::io::Write;

use crate::client::{ask, read_to_end};
use crate::fixture::{FIXTURE, Fixture};

/// Nothing else is in the way.
const LIMITS: [&str; 6] = ["--wall-time", "300ms", "--idle-timeout", "1h", "--cpu-time", "1h"];

/// Serves a handler, lets a client ask for it, and returns what is logged.
fn ended(fixture: &Fixture<'_>, mode: &str) -> String {
    let mut served = fixture.serve(&[&LIMITS[..], &["--concurrency", mode]].concat());
    let mut stream = served.server.connect().unwrap();
    stream.write_all(b"x").unwrap();
    let line = served.server.wait_for_log("Exception occurred").unwrap();
    read_to_end(&mut stream);
    assert_eq!(ask(&served.server, b"-"), b"ok");
    line
}

#[test]
fn a_handler_that_computes_is_ended() {
    for mode in ["threading", "forking"] {
        let line = ended(&Fixture { handle: "(loop $again (br $again))", ..FIXTURE }, mode);
        assert!(line.contains("reason=\"wall-time\"") && line.contains("300ms"), "{line}");
    }
}

#[test]
fn a_handler_that_waits_is_ended() {
    let line = ended(&Fixture { handle: "(call $recv (i32.const 1))", ..FIXTURE }, "threading");
    assert!(line.contains("reason=\"wall-time\"") && line.contains("policy"), "{line}");
}

#[test]
fn a_handler_that_never_has_to_wait_is_ended() {
    let line = ended(
        &Fixture {
            handle: "(loop $again (call $sendall (i32.const 100) (i32.const 0)) (br $again))",
            ..FIXTURE
        },
        "threading",
    );
    assert!(line.contains("reason=\"wall-time\""), "{line}");
}
