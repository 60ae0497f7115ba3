//! The log on standard error.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use serde_json::Value;
use socketserver_tests::process::{Server, wait_until};

use crate::client::ask;
use crate::fixture::{FIXTURE, File, Fixture, MODES, serve};

mod access;
mod guests;
mod unread;

const FAILS: Fixture<'static> = Fixture { handle: "(return (call $failed))", ..FIXTURE };

#[test]
fn a_failed_request_is_one_line_with_peer_handler_blame_and_reason() {
    let mut served = FAILS.serve(&[]);
    let mut stream = served.server.connect().unwrap();
    let peer = stream.local_addr().unwrap();
    Write::write_all(&mut stream, b"x").unwrap();
    assert_eq!(crate::client::read_to_end(&mut stream), b"");
    let line = served.server.wait_for_log("Exception").unwrap();
    let expected = format!(
        "ERROR Exception occurred during processing of request from {peer}: \"handle failed: it failed\" \
         peer=\"{peer}\" handler=\"fixture\" blame=\"guest\" reason=\"error\""
    );
    assert!(line.ends_with(&expected), "{line}\n{expected}");
    served.server.stop().unwrap();
    assert_eq!(served.server.log().iter().filter(|line| line.contains("Exception")).count(), 1);
}

#[test]
fn in_json_each_line_is_an_object() {
    let mut served = FAILS.serve(&["--log-format", "json"]);
    ask(&served.server, b"x");
    served.server.wait_for_log("Exception").unwrap();
    served.server.stop().unwrap();
    let lines: Vec<Value> =
        served.server.log().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failed = lines.iter().find(|line| line["reason"] == "error").unwrap();
    assert_eq!(failed["level"], "ERROR");
    assert_eq!(failed["blame"], "guest");
    assert_eq!(failed["handler"], "fixture");
    assert!(failed["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
}

#[test]
fn successful_requests_and_a_graceful_end_log_nothing() {
    let mut server = Server::start(serve().args(["--log-level", "warning"]), 1).unwrap();
    assert_eq!(ask(&server, b"one"), b"ONE");
    assert_eq!(ask(&server, b""), b"");
    assert!(server.stop().unwrap().success());
    assert!(server.log().is_empty(), "{:?}", server.log());
}

#[test]
fn a_failure_of_the_client_is_a_warning_and_of_the_guest_an_error() {
    for (level, logged) in [("error", false), ("warning", true)] {
        let mut server = Server::start(serve().args(["--log-level", level]), 1).unwrap();
        crate::client::reset(server.connect().unwrap());
        assert_eq!(ask(&server, b"next"), b"NEXT");
        server.stop().unwrap();
        let client_blamed = server.log().iter().any(|line| line.contains("blame"));
        assert!(logged || !client_blamed, "{level}: {:?}", server.log());
    }
    let mut served = FAILS.serve(&["--log-level", "error"]);
    ask(&served.server, b"x");
    served.server.wait_for_log("blame=\"guest\"").unwrap();
}

#[test]
fn finish_runs_after_a_failed_handle_and_the_last_error_is_reported() {
    let mut served = Fixture {
        finish: "(call $sendall (i32.const 100) (i32.const 2)) (return (call $failed))",
        ..FAILS
    }
    .serve(&[]);
    assert_eq!(ask(&served.server, b"x"), b"ok");
    let line = served.server.wait_for_log("Exception").unwrap();
    assert!(
        line.contains("finish failed: it failed; before that, handle: handle failed: it failed"),
        "{line}"
    );
}

#[test]
fn neither_handle_nor_finish_runs_after_a_failed_setup() {
    let send = "(call $sendall (i32.const 100) (i32.const 2))";
    let mut served =
        Fixture { setup: "(return (call $failed))", handle: send, finish: send, ..FIXTURE }
            .serve(&[]);
    assert_eq!(ask(&served.server, b"x"), b"");
    let line = served.server.wait_for_log("Exception").unwrap();
    assert!(line.contains("setup failed: it failed"), "{line}");
}

#[test]
fn finish_does_not_run_after_a_trap() {
    let mut served = Fixture {
        handle: "unreachable",
        finish: "(call $sendall (i32.const 100) (i32.const 2))",
        ..FIXTURE
    }
    .serve(&[]);
    assert_eq!(ask(&served.server, b"x"), b"");
    let line = served.server.wait_for_log("reason=\"trap\"").unwrap();
    assert!(line.contains("handle was ended") && !line.contains("finish"), "{line}");
}

#[test]
fn log_rate_bounds_the_lines_of_many_failures() {
    // Each request fails, and five lines per second may be logged.
    let mut served = FAILS.serve(&["--log-rate", "5", "--poll-interval", "0.1"]);
    let begun = std::time::Instant::now();
    for _ in 0..200 {
        ask(&served.server, b"x");
    }
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap() + 1;
    // Every line must be logged, or counted as dropped.
    let (mut dropped, mut logged) = (0, 0);
    while logged + dropped < 200 {
        served.server.wait_for_log("lines were not logged").unwrap();
        let lines = served.server.log();
        logged = lines.iter().filter(|line| line.contains("Exception")).count();
        let count = |line: &String| line.split_once("dropped=")?.1.parse::<usize>().ok();
        dropped = lines.iter().filter_map(count).sum();
    }
    assert_eq!(logged + dropped, 200);
    assert!(logged <= 5 * (seconds + 1), "{logged} lines in {seconds} s");
    assert!(logged > 0);
}

/// Makes a named pipe, and opens both ends of it.
fn pipe(path: &Path) -> fs::File {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    fs::OpenOptions::new().read(true).write(true).custom_flags(nonblocking).open(path).unwrap()
}

/// Writes until the pipe is full.
fn fill(mut pipe: &fs::File) {
    while pipe.write(&[b'\n'; 4096]).is_ok() {}
}

/// Serves a handler with the log to the file `log`.
fn serve_logging_to(log: &Path, handler: &File, options: &[&str]) -> Server {
    let host = serve();
    let mut command = Command::new("sh");
    command.args(["-c", "exec 2>\"$0\" \"$@\""]).arg(log).arg(host.get_program());
    command.envs(host.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.args(host.get_args()).arg(&handler.path).args(options);
    Server::start(&mut command, 1).unwrap()
}

/// The pipe of the log is full, and no process reads it.
#[test]
fn a_log_that_is_not_read_delays_no_request_and_dropped_lines_are_counted() {
    for mode in MODES {
        let handler = File::new("fails.wat", FAILS.text().as_bytes());
        let path = handler.path.with_file_name("log");
        let mut log = pipe(&path);
        fill(&log);
        let mut server =
            serve_logging_to(&path, &handler, &[mode, &["--poll-interval", "0.1"]].concat());
        for _ in 0..3 {
            assert_eq!(ask(&server, b"x"), b"", "{mode:?}");
            assert_eq!(ask(&server, b"-"), b"ok", "{mode:?}");
        }
        // Once the log is read again, a line tells how many were dropped.
        let mut lines = Vec::new();
        wait_until("the dropped lines are counted", || {
            // The pipe does not block: an error means that it is empty.
            let _ = log.read_to_end(&mut lines);
            String::from_utf8_lossy(&lines).contains("lines were not logged")
        });
        assert!(server.stop().unwrap().success(), "{mode:?}");
    }
}

#[test]
fn a_log_that_is_not_read_does_not_delay_the_end_of_the_server() {
    for mode in MODES {
        let handler = File::new("fails.wat", FAILS.text().as_bytes());
        let path = handler.path.with_file_name("log");
        let log = pipe(&path);
        let mut server = serve_logging_to(&path, &handler, &[mode, &["--stats"]].concat());
        fill(&log);
        assert!(server.stop().unwrap().success(), "{mode:?}");
    }
}

#[test]
fn an_error_that_cannot_be_printed_still_has_its_exit_code() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = serve().arg("no such handler").stderr(full).status().unwrap();
    assert_eq!(status.code(), Some(1));
}
