//! What a handler runs as soon as an instance of it is made: in the jail, and for each
//! request anew.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use socketserver_tests::process::PATIENCE;

use crate::client::ask;
use crate::fixture::{FIXTURE, File, Fixture, Served, serve};
use crate::jail::{can_be_had, status, wait_until_in_it};
use crate::load::refused;
use crate::wasi::WASI;

/// The ways in which requests run, with and without a jail.
const MODES: [&[&str]; 6] = [
    &["--concurrency", "sync"],
    &["--concurrency", "threading"],
    &["--concurrency", "forking"],
    &["--concurrency", "forking", "--jail", "off"],
    &["--workers", "2"],
    &["--workers", "2", "--jail", "off"],
];

#[test]
fn what_it_draws_is_drawn_for_each_request() {
    let text = WASI
        .replace("(call $act)", "(call $send (i32.load (i32.const 2048)) (i32.const 8))")
        .replace(
            "{{fields}}",
            "(func $draw (call $random (i64.const 8) (i32.const 2048))) (start $draw)",
        );
    for mode in MODES {
        let served = Served::start(&text, &["tcp://127.0.0.1:0"], mode);
        let drawn: Vec<_> = (0..3).map(|_| ask(&served.server, b"-")).collect();
        assert_eq!(drawn[0].len(), 8, "{mode:?}");
        assert!(drawn[0] != drawn[1] && drawn[1] != drawn[2], "{mode:?}: {drawn:?}");
    }
}

/// The process that was forked from a server before that listens.
pub fn forked_by(server: u32) -> Option<String> {
    let children = fs::read_to_string(format!("/proc/{server}/task/{server}/children")).ok()?;
    let is_fork = |child: &&str| {
        let line = fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
        line.contains("\0serve\0")
    };
    children.split_whitespace().find(is_fork).map(str::to_owned)
}

#[test]
fn where_processes_serve_it_runs_in_the_jail_before_anybody_is_served() {
    if !can_be_had() {
        return;
    }
    let spins =
        Fixture { fields: "(func $spin (loop $again (br $again))) (start $spin)", ..FIXTURE };
    let handler = File::new("spins.wat", spins.text().as_bytes());
    for mode in [&["--concurrency", "forking"], &["--workers", "2"]] {
        let mut server = serve()
            .arg(&handler.path)
            .args(mode)
            .args(["--jail", "require", "--cpu-time", "1s"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        let child = loop {
            if let Some(child) = forked_by(server.id()) {
                break child;
            }
            if begun.elapsed() > PATIENCE || server.try_wait().unwrap().is_some() {
                let _ = server.kill();
                panic!("{mode:?}: nothing was forked: {:?}", server.wait_with_output());
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        // It enters the jail, and then has a second of the processor.
        wait_until_in_it(&child);
        assert_eq!(status(&child, "NoNewPrivs"), "1");
        let output = server.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{mode:?}");
        assert!(output.stdout.is_empty(), "{mode:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("it used up its CPU time of 1s"), "{mode:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

/// One that traps as it starts cannot be served, however requests are run.
#[test]
fn one_that_does_not_start_is_not_served() {
    let fails = Fixture { fields: "(func $fail unreachable) (start $fail)", ..FIXTURE };
    for mode in MODES {
        let said = refused("fails.wat", fails.text().as_bytes(), mode);
        assert!(said.contains("it cannot be instantiated"), "{mode:?}: {said}");
        assert!(said.contains("wasm `unreachable` instruction executed"), "{mode:?}: {said}");
    }
}
