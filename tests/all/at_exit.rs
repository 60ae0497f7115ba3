//! The end of a request does what the end of a program does, in every language: it writes
//! buffered output, and runs destructors and functions of `atexit`.

use serde_json::Value;
use socketserver_tests::build;
use socketserver_tests::process::Server;

use crate::client::ask;
use crate::fixture::{MODES, serve};

/// Runs a request of a handler that begins with `ends`. Returns the lines that the handler
/// prints, first those of standard output and then those of standard error, and the reason if
/// the request fails.
fn printed(language: &str, name: &str, ends: &str, mode: &[&str]) -> Vec<String> {
    let mut command = serve();
    command.arg(build::guest(language, name).unwrap()).args(mode);
    let mut server = Server::start(command.args(["--log-format", "json"]), 1).unwrap();
    ask(&server, ends.as_bytes());
    server.stop().unwrap();
    let lines: Vec<Value> =
        server.log().iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let printed_at = |level: &str| {
        let printed = lines.iter().filter(|line| line["target"] == "guest");
        let printed = printed.filter(|line| line["level"] == level);
        printed.map(|line| line["message"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let failed = lines.iter().filter(|line| line.get("reason").is_some());
    let failed = failed.map(|line| format!("reason {}", line["reason"].as_str().unwrap()));
    [printed_at("INFO"), printed_at("WARN"), failed.collect()].concat()
}

/// Checks what a handler prints in each mode.
fn check_printed(language: &str, name: &str, ends: &str, expected: &[&str]) {
    for mode in MODES {
        assert_eq!(printed(language, name, ends, mode), expected, "{language} {ends} {mode:?}");
    }
}

/// The lines that the handler in C prints at exit.
const C: [&str; 3] = ["atexit, registered second", "atexit, registered first", "unfinished"];

#[test]
fn output_of_c_is_written_at_the_end() {
    let all = [&["setup", "half a line", "handle", "finish"], &C[..], &["an error"]].concat();
    check_printed("c", "goodbye", "-", &all);
    check_printed("c", "goodbye", "v", &all);
    let failed = [&all[..], &["reason error"]].concat();
    check_printed("c", "goodbye", "h", &failed);
    check_printed("c", "goodbye", "f", &failed);
    check_printed("c", "goodbye", "s", &[&["setup"], &C[..], &["reason error"]].concat());
}

#[test]
fn exit_in_c_writes_buffered_output_and_abort_does_not() {
    check_printed(
        "c",
        "goodbye",
        "x",
        &[&["setup", "half a line"], &C[..], &["an error"]].concat(),
    );
    // The C library writes the first line at once, while it finds out the kind of the file.
    check_printed("c", "goodbye", "a", &["setup", "an error", "reason trap"]);
}

/// The lines that the handler in C++ prints at exit. The last static object is destroyed first.
const CPP: [&str; 4] = ["atexit", "local destroyed", "member destroyed", "global destroyed"];

#[test]
fn output_of_cpp_is_written_and_static_objects_are_destroyed() {
    let all = [&["setup", "half a line", "handle", "finish"], &CPP[..]].concat();
    let errors = ["an error", "a note"];
    let fine = [&all[..], &errors].concat();
    check_printed("cpp", "goodbye", "-", &fine);
    let failed = [&fine[..], &["reason error"]].concat();
    check_printed("cpp", "goodbye", "h", &failed);
    check_printed("cpp", "goodbye", "f", &failed);
    check_printed("cpp", "goodbye", "s", &[&["setup"], &CPP[..], &["reason error"]].concat());
    let apart = [&["setup", "half line", "handle", "finish"], &CPP[..], &errors].concat();
    check_printed("cpp", "goodbye", "v", &apart);
    check_printed("cpp", "goodbye", "x", &[&["setup", "half a line"], &CPP[..], &errors].concat());
}

#[test]
fn output_of_go_is_written_and_deferred_functions_run() {
    let begun = ["setup", "setup, deferred", "half a line"];
    let rest = ["handle", "handle, deferred", "finish", "finish, deferred", "unfinished"];
    let errors = ["an error", "a note"];
    let fine = [&begun[..], &rest, &errors].concat();
    check_printed("go", "goodbye", "-", &fine);
    check_printed("go", "goodbye", "h", &[&fine[..], &["reason error"]].concat());
    check_printed("go", "goodbye", "f", &[&fine[..], &["reason error"]].concat());
    check_printed("go", "goodbye", "s", &["setup", "setup, deferred", "reason error"]);
    // os.Exit does not run deferred functions.
    check_printed("go", "goodbye", "x", &[&begun[..], &errors].concat());
}

#[test]
fn rust_drops_the_handler_and_its_fields() {
    let dropped = ["the handler dropped", "what it holds dropped"];
    let fine = [&["setup", "handle", "local dropped", "finish"], &dropped[..]].concat();
    check_printed("rust", "goodbye", "-", &fine);
    check_printed("rust", "goodbye", "h", &[&fine[..], &["reason error"]].concat());
    check_printed("rust", "goodbye", "f", &[&fine[..], &["reason error"]].concat());
    check_printed("rust", "goodbye", "s", &[&["setup"], &dropped[..], &["reason error"]].concat());
}

#[test]
fn output_of_rust_for_wasi_is_written_at_the_end() {
    let fine = ["setup", "half a line", "handle", "finish", "droppedatexit", "an error"];
    check_printed("rust", "wasip2", "-", &fine);
    check_printed("rust", "wasip2", "h", &[&fine[..], &["reason error"]].concat());
    check_printed("rust", "wasip2", "f", &[&fine[..], &["reason error"]].concat());
    check_printed("rust", "wasip2", "s", &["setup", "droppedatexit", "reason error"]);
    check_printed("rust", "wasip2", "x", &["setup", "half a line", "atexit", "an error"]);
}

#[test]
fn functions_that_python_registered_run_at_the_end() {
    let exit = ["atexit", "what it holds finalized", "atexit, registered by the module"];
    let fine = [&["setup", "handle", "finally", "finish"], &exit[..]].concat();
    check_printed("python", "goodbye", "-", &fine);
    check_printed("python", "goodbye", "h", &[&fine[..], &["reason error"]].concat());
    check_printed("python", "goodbye", "f", &[&fine[..], &["reason error"]].concat());
    check_printed("python", "goodbye", "s", &[&["setup"], &exit[..], &["reason error"]].concat());
}

#[test]
fn javascript_logs_each_line_once() {
    let setup = ["setup", "setup, finally"];
    let rest = ["handle", "handle, finally", "finish", "finish, finally"];
    let fine = [&setup[..], &rest].concat();
    check_printed("javascript", "goodbye", "-", &fine);
    check_printed("javascript", "goodbye", "h", &[&fine[..], &["reason error"]].concat());
    check_printed("javascript", "goodbye", "f", &[&fine[..], &["reason error"]].concat());
    check_printed("javascript", "goodbye", "s", &[&setup[..], &["reason error"]].concat());
}
