//! What a program does when it ends is done at the end of a request, in every
//! language: what it has printed is written, destructors and functions of `atexit`
//! run.

use serde_json::Value;
use socketserver_tests::build;
use socketserver_tests::process::Server;

use crate::client::ask;
use crate::fixture::{MODES, serve};

/// What a handler prints, and how its request ends, if it begins with `ends`: each
/// line once, in order, those of standard output first.
fn printed(language: &str, name: &str, ends: &str, mode: &[&str]) -> Vec<String> {
    let mut command = serve();
    command.arg(build::guest(language, name).unwrap()).args(mode);
    let mut server = Server::start(command.args(["--log-format", "json"]), 1).unwrap();
    ask(&server, ends.as_bytes());
    server.stop().unwrap();
    let lines: Vec<Value> =
        server.log().iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of = |level: &str| {
        let printed = lines.iter().filter(|line| line["target"] == "guest");
        let printed = printed.filter(|line| line["level"] == level);
        printed.map(|line| line["message"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let failed = lines.iter().filter(|line| line.get("reason").is_some());
    let failed = failed.map(|line| format!("reason {}", line["reason"].as_str().unwrap()));
    [of("INFO"), of("WARN"), failed.collect()].concat()
}

/// Fails unless that is what it prints, however requests run.
fn prints(language: &str, name: &str, ends: &str, expected: &[&str]) {
    for mode in MODES {
        assert_eq!(printed(language, name, ends, mode), expected, "{language} {ends} {mode:?}");
    }
}

/// What C prints at exit.
const C: [&str; 3] = ["atexit, registered second", "atexit, registered first", "unfinished"];

#[test]
fn what_c_prints_is_written_at_the_end() {
    let all = [&["setup", "half a line", "handle", "finish"], &C[..], &["an error"]].concat();
    prints("c", "goodbye", "-", &all);
    prints("c", "goodbye", "v", &all);
    let failed = [&all[..], &["reason error"]].concat();
    prints("c", "goodbye", "h", &failed);
    prints("c", "goodbye", "f", &failed);
    prints("c", "goodbye", "s", &[&["setup"], &C[..], &["reason error"]].concat());
}

#[test]
fn exit_in_c_writes_what_was_printed_and_abort_does_not() {
    prints("c", "goodbye", "x", &[&["setup", "half a line"], &C[..], &["an error"]].concat());
    // The first line is written at once: the library of C finds out what it writes to.
    prints("c", "goodbye", "a", &["setup", "an error", "reason trap"]);
}

/// What C++ prints at exit: the last static object goes first.
const CPP: [&str; 4] = ["atexit", "local destroyed", "member destroyed", "global destroyed"];

#[test]
fn what_cpp_prints_is_written_and_static_objects_are_destroyed() {
    let all = [&["setup", "half a line", "handle", "finish"], &CPP[..]].concat();
    let errors = ["an error", "a note"];
    let fine = [&all[..], &errors].concat();
    prints("cpp", "goodbye", "-", &fine);
    let failed = [&fine[..], &["reason error"]].concat();
    prints("cpp", "goodbye", "h", &failed);
    prints("cpp", "goodbye", "f", &failed);
    prints("cpp", "goodbye", "s", &[&["setup"], &CPP[..], &["reason error"]].concat());
    let apart = [&["setup", "half line", "handle", "finish"], &CPP[..], &errors].concat();
    prints("cpp", "goodbye", "v", &apart);
    prints("cpp", "goodbye", "x", &[&["setup", "half a line"], &CPP[..], &errors].concat());
}

#[test]
fn what_go_prints_is_written_and_what_it_deferred_runs() {
    let begun = ["setup", "setup, deferred", "half a line"];
    let rest = ["handle", "handle, deferred", "finish", "finish, deferred", "unfinished"];
    let errors = ["an error", "a note"];
    let fine = [&begun[..], &rest, &errors].concat();
    prints("go", "goodbye", "-", &fine);
    prints("go", "goodbye", "h", &[&fine[..], &["reason error"]].concat());
    prints("go", "goodbye", "f", &[&fine[..], &["reason error"]].concat());
    prints("go", "goodbye", "s", &["setup", "setup, deferred", "reason error"]);
    // os.Exit leaves what was deferred.
    prints("go", "goodbye", "x", &[&begun[..], &errors].concat());
}

#[test]
fn rust_drops_the_handler_and_what_it_holds() {
    let dropped = ["the handler dropped", "what it holds dropped"];
    let fine = [&["setup", "handle", "local dropped", "finish"], &dropped[..]].concat();
    prints("rust", "goodbye", "-", &fine);
    prints("rust", "goodbye", "h", &[&fine[..], &["reason error"]].concat());
    prints("rust", "goodbye", "f", &[&fine[..], &["reason error"]].concat());
    prints("rust", "goodbye", "s", &[&["setup"], &dropped[..], &["reason error"]].concat());
}

#[test]
fn what_rust_for_wasi_prints_is_written_at_the_end() {
    let fine = ["setup", "half a line", "handle", "finish", "droppedatexit", "an error"];
    prints("rust", "wasip2", "-", &fine);
    prints("rust", "wasip2", "h", &[&fine[..], &["reason error"]].concat());
    prints("rust", "wasip2", "f", &[&fine[..], &["reason error"]].concat());
    prints("rust", "wasip2", "s", &["setup", "droppedatexit", "reason error"]);
    prints("rust", "wasip2", "x", &["setup", "half a line", "atexit", "an error"]);
}

#[test]
fn what_python_registered_runs_at_the_end() {
    let exit = ["atexit", "what it holds finalized", "atexit, registered by the module"];
    let fine = [&["setup", "handle", "finally", "finish"], &exit[..]].concat();
    prints("python", "goodbye", "-", &fine);
    prints("python", "goodbye", "h", &[&fine[..], &["reason error"]].concat());
    prints("python", "goodbye", "f", &[&fine[..], &["reason error"]].concat());
    prints("python", "goodbye", "s", &[&["setup"], &exit[..], &["reason error"]].concat());
}

#[test]
fn what_javascript_says_is_said_once() {
    let setup = ["setup", "setup, finally"];
    let rest = ["handle", "handle, finally", "finish", "finish, finally"];
    let fine = [&setup[..], &rest].concat();
    prints("javascript", "goodbye", "-", &fine);
    prints("javascript", "goodbye", "h", &[&fine[..], &["reason error"]].concat());
    prints("javascript", "goodbye", "f", &[&fine[..], &["reason error"]].concat());
    prints("javascript", "goodbye", "s", &[&setup[..], &["reason error"]].concat());
}
