//! Hostile programs, and hostile clients of programs.

use std::io::{Read, Write};

use socketserver_tests::process::Server;

use crate::client::{ask, read_to_end};
use crate::fixture::{File, MODES, Served, host};
use crate::load::refused;
use crate::programs::talk;

/// Returns the line of the log that reports the failed request of a client that stays.
fn failure_of_silent_client(server: &mut Server) -> String {
    let stream = server.connect().unwrap();
    let line = server.wait_for_log("Exception occurred").unwrap();
    drop(stream);
    line
}

#[test]
fn a_client_that_does_not_read_is_idle_while_the_program_writes_without_end() {
    for mode in MODES {
        let options = [mode, &["--idle-timeout", "300ms"]].concat();
        let mut server = talk("c", &options, &["yes"]);
        let line = failure_of_silent_client(&mut server);
        assert!(line.contains("blame=\"client\" reason=\"idle-timeout\""), "{mode:?}: {line}");
    }
}

/// A process would get `SIGPIPE`. Without an end, the program would use up its CPU time.
#[test]
fn a_program_that_writes_on_ends_when_its_client_is_gone() {
    for language in ["c", "rust"] {
        for mode in MODES {
            let options = [mode, &["--cpu-time", "1h"]].concat();
            let mut server = talk(language, &options, &["yes"]);
            let mut stream = server.connect().unwrap();
            stream.read_exact(&mut [0; 100]).unwrap();
            drop(stream);
            let line = server.wait_for_log("Exception occurred").unwrap();
            let lost = line.contains("blame=\"client\" reason=\"connection-lost\"");
            assert!(lost, "{language} {mode:?}: {line}");
        }
    }
}

#[test]
fn the_limits_of_a_request_hold_for_a_program() {
    for mode in MODES {
        for (options, arguments, reason) in [
            (["--cpu-time", "200ms"], &["spin"][..], "cpu-time"),
            (["--wall-time", "200ms"], &["cat"], "wall-time"),
            (["--wall-time", "200ms"], &["sleep", "3600000"], "wall-time"),
            (["--wall-time", "200ms"], &["poll", "-1"], "wall-time"),
            (["--idle-timeout", "200ms"], &["cat"], "idle-timeout"),
            (["--idle-timeout", "200ms"], &["poll", "-1"], "idle-timeout"),
            (["--idle-timeout", "200ms"], &["poll", "3600000"], "idle-timeout"),
            (["--idle-timeout", "200ms"], &["sleep", "3600000"], "sleep"),
            (["--max-sent", "10"], &["yes"], "sent"),
            (["--cpu-time", "10s"], &["abort"], "trap"),
        ] {
            let mut server = talk("c", &[mode, &options[..]].concat(), arguments);
            let line = failure_of_silent_client(&mut server);
            let found = line.contains(&format!("reason=\"{reason}\""));
            assert!(found, "{mode:?} {arguments:?}: {line}");
        }
    }
}

#[test]
fn a_client_that_sends_too_much_ends_its_request() {
    let mut server = talk("c", &["--max-received", "10"], &["cat"]);
    assert_eq!(ask(&server, &[b'x'; 11]), [b'x'; 10]);
    let line = server.wait_for_log("Exception occurred").unwrap();
    assert!(line.contains("blame=\"client\" reason=\"received\""), "{line}");
}

#[test]
fn a_program_in_the_jail_serves_and_fails_as_outside_of_it() {
    for mode in [&["--concurrency", "forking"][..], &["--workers", "2"]] {
        let options = [mode, &["--jail", "require"]].concat();
        let server = talk("c", &options, &["poll", "3600000"]);
        assert_eq!(ask(&server, b"x"), b"1\nx");
        let mut server = talk("c", &options, &["exit", "1"]);
        assert_eq!(ask(&server, b""), b"bye\n");
        server.wait_for_log("reason=\"exit-status\"").unwrap();
    }
}

/// Returns the text of a module that is a program, with more fields and pages of memory.
fn module(fields: &str, pages: u32) -> String {
    format!("(module {fields} (memory (export \"memory\") {pages}) (func (export \"_start\")))")
}

#[test]
fn a_module_that_cannot_be_a_program_is_refused_by_name() {
    for (fields, why) in [
        ("(import \"env\" \"print\" (func))", "it imports `print` of `env`"),
        ("(import \"wasi_unstable\" \"fd_read\" (func))", "`fd_read` of `wasi_unstable`"),
        ("(import \"wasi_snapshot_preview1\" \"no_such\" (func))", "no_such"),
        ("(import \"wasi_snapshot_preview1\" \"fd_close\" (func))", "fd_close"),
        ("(import \"wasi_snapshot_preview1\" \"memory\" (memory 1))", "memory"),
        ("(import \"socketserver:handler/log@0.1.0\" \"log\" (func))", "`log` of `socketserver:"),
        ("(import \"\\1b[2J\" \"\\0a\" (func))", "\\u{1b}[2J"),
        ("(func (result i32))", "type mismatch"),
    ] {
        let said = refused("module.wat", module(fields, 1).as_bytes(), &[]);
        assert!(said.contains(why), "{fields}: {said}");
    }
    for pages in [65_536, 2000] {
        let said = refused("module.wat", module("", pages).as_bytes(), &[]);
        assert!(said.contains("bytes of memory to begin with"), "{said}");
    }
}

#[test]
fn the_memory_for_adapting_a_module_is_bounded() {
    // A million functions.
    let mut fields = String::new();
    for _ in 0..1_000_000 {
        fields.push_str("(func)");
    }
    let module = File::new("module.wat", module(&fields, 1).as_bytes());
    let mut inspect = host();
    inspect.arg("inspect").arg(&module.path).args(["--compile-memory", "256MiB", "--no-cache"]);
    let said = String::from_utf8(inspect.output().unwrap().stderr).unwrap();
    assert!(said.contains("compiling it takes more than 256 MiB of memory"), "{said}");
}

/// A program that exports `_start`, and has nothing else.
#[test]
fn a_program_without_imports_ends_at_once() {
    let mut served = Served::start(&module("", 1), &["tcp://127.0.0.1:0"], &[]);
    assert_eq!(ask(&served.server, b"x"), b"");
    let mut stream = served.server.connect().unwrap();
    let _ = stream.write_all(b"x");
    assert_eq!(read_to_end(&mut stream), b"");
    assert!(served.server.stop().unwrap().success());
}
