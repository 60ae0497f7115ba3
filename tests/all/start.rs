//! Start functions of handlers run in the jail, and for each request.

use std::path::Path;
use std::process::{Child, Stdio};

use socketserver_tests::process::wait_for_child;
use socketserver_tests::procfs::status;

use crate::client::ask;
use crate::fixture::{FIXTURE, File, Fixture, Served, serve};
use crate::jail::{is_available, wait_until_jailed};
use crate::load::refused;
use crate::wasi::WASI;

/// The options for each way of running requests, with and without the jail.
const MODES: [&[&str]; 6] = [
    &["--concurrency", "sync"],
    &["--concurrency", "threading"],
    &["--concurrency", "forking"],
    &["--concurrency", "forking", "--jail", "off"],
    &["--workers", "2"],
    &["--workers", "2", "--jail", "off"],
];

#[test]
fn random_numbers_of_a_start_function_differ_between_requests() {
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

/// Starts a server of a handler whose start function runs for ever, and waits for its preflight
/// process. Returns both.
pub fn start_preflight(handler: &Path, options: &[&str], limits: &[&str]) -> (Child, u32) {
    let command = || {
        let mut command = serve();
        command.arg(handler).args(options).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    // With the handler in the cache, the server has no process that compiles. Between fork and
    // exec that process could be taken for the preflight process.
    let output = command().args(["--cpu-time", "1ms"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let mut server = command().args(limits).spawn().unwrap();
    let preflight = wait_for_child(&mut server, |_| true).unwrap();
    (server, preflight)
}

#[test]
fn in_forking_and_worker_mode_the_preflight_runs_a_start_function_in_the_jail() {
    if !is_available() {
        return;
    }
    let spins =
        Fixture { fields: "(func $spin (loop $again (br $again))) (start $spin)", ..FIXTURE };
    let handler = File::new("spins.wat", spins.text().as_bytes());
    for mode in [&["--concurrency", "forking"], &["--workers", "2"]] {
        let options = [&mode[..], &["--jail", "require"]].concat();
        let (server, preflight) = start_preflight(&handler.path, &options, &["--cpu-time", "1s"]);
        // The process enters the jail, and then has a second of CPU time.
        wait_until_jailed(preflight);
        assert_eq!(status(preflight, "NoNewPrivs").unwrap(), "1");
        let output = server.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{mode:?}");
        assert!(output.stdout.is_empty(), "{mode:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("it used up its CPU time of 1s"), "{mode:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn a_handler_whose_start_function_traps_is_not_served() {
    let fails = Fixture { fields: "(func $fail unreachable) (start $fail)", ..FIXTURE };
    for mode in MODES {
        let said = refused("fails.wat", fails.text().as_bytes(), mode);
        assert!(said.contains("it cannot be instantiated"), "{mode:?}: {said}");
        assert!(said.contains("wasm `unreachable` instruction executed"), "{mode:?}: {said}");
    }
}
