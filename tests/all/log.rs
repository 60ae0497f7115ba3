//! The log, on standard error.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use serde_json::Value;
use socketserver_tests::process::Server;

use crate::attacks::wait_until;
use crate::client::ask;
use crate::fixture::{FIXTURE, File, Fixture, MODES, serve};

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
fn json_has_an_object_on_each_line() {
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
fn clean_requests_and_orderly_ends_write_nothing() {
    let mut server = Server::start(serve().args(["--log-level", "warning"]), 1).unwrap();
    assert_eq!(ask(&server, b"one"), b"ONE");
    assert_eq!(ask(&server, b""), b"");
    assert!(server.stop().unwrap().success());
    assert!(server.log().is_empty(), "{:?}", server.log());
}

#[test]
fn levels() {
    // The client's fault is a warning, the guest's an error.
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
fn a_flood_of_failures_is_not_a_flood_of_lines() {
    // Each request fails; a handful may be logged in a second.
    let mut served = FAILS.serve(&["--log-rate", "5", "--poll-interval", "0.1"]);
    let begun = std::time::Instant::now();
    for _ in 0..200 {
        ask(&served.server, b"x");
    }
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap() + 1;
    // In the end every line was logged or counted.
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

/// A pipe with a name, both ends of it, and nobody else's.
fn pipe(path: &Path) -> fs::File {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    fs::OpenOptions::new().read(true).write(true).custom_flags(nonblocking).open(path).unwrap()
}

/// Until there is no room for one more line.
fn fill(mut pipe: &fs::File) {
    while pipe.write(&[b'\n'; 4096]).is_ok() {}
}

/// Serves a handler that fails if it is asked to, with the log to that file.
fn logging_to(log: &Path, handler: &File, options: &[&str]) -> Server {
    let host = serve();
    let mut command = Command::new("sh");
    command.args(["-c", "exec 2>\"$0\" \"$@\""]).arg(log).arg(host.get_program());
    command.envs(host.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.args(host.get_args()).arg(&handler.path).args(options);
    Server::start(&mut command, 1).unwrap()
}

/// Whoever should read the log has stopped, and the pipe to it is full.
#[test]
fn a_log_that_nobody_reads_holds_nobody_up_and_is_counted() {
    for mode in MODES {
        let handler = File::new("fails.wat", FAILS.text().as_bytes());
        let path = handler.path.with_file_name("log");
        let mut log = pipe(&path);
        fill(&log);
        let mut server = logging_to(&path, &handler, &[mode, &["--poll-interval", "0.1"]].concat());
        for _ in 0..3 {
            assert_eq!(ask(&server, b"x"), b"", "{mode:?}");
            assert_eq!(ask(&server, b"-"), b"ok", "{mode:?}");
        }
        // It is read again, and tells what was lost.
        let mut lines = Vec::new();
        wait_until("what was lost is counted", || {
            // It ends where there is nothing more yet.
            let _ = log.read_to_end(&mut lines);
            String::from_utf8_lossy(&lines).contains("lines were not logged")
        });
        assert!(server.stop().unwrap().success(), "{mode:?}");
    }
}

#[test]
fn a_log_that_nobody_reads_does_not_keep_a_server_from_ending() {
    for mode in MODES {
        let handler = File::new("fails.wat", FAILS.text().as_bytes());
        let path = handler.path.with_file_name("log");
        let log = pipe(&path);
        let mut server = logging_to(&path, &handler, &[mode, &["--stats"]].concat());
        fill(&log);
        assert!(server.stop().unwrap().success(), "{mode:?}");
    }
}

#[test]
fn an_error_that_cannot_be_said_has_the_exit_code_of_one() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = serve().arg("no such handler").stderr(full).status().unwrap();
    assert_eq!(status.code(), Some(1));
}
