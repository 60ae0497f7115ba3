//! WASI is `wasmtime-wasi`'s, which would start a runtime of Tokio for what it does. Here it has
//! no thread and no descriptor of its own.

use std::io::Write;

use socketserver_tests::usage::Usage;

use super::WASI;
use crate::fixture::{FIXTURE, Fixture, Served};

const MODES: [&[&str]; 5] = [
    &["--concurrency", "sync"],
    &["--concurrency", "threading"],
    &["--concurrency", "forking"],
    &["--concurrency", "forking", "--jail", "try"],
    &["--workers", "1", "--jail", "try"],
];

/// Code that makes random numbers, appends to a file and reads one, prints, and sleeps.
const USES_WASI: &str = "
    (call $random (i64.const 16) (i32.const 1024))
    (call $append (call $open (i32.const 1) (i32.const 2)) (i32.const 1024))
    (call $blocking_write (i32.load (i32.const 1028)) (i32.const 112) (i32.const 7) (i32.const 1024))
    (if (call $failed) (then unreachable))
    (call $read_via_stream (call $open (i32.const 0) (i32.const 1)) (i64.const 0) (i32.const 1024))
    (call $read (i32.load (i32.const 1028)) (i64.const 7) (i32.const 1024))
    (if (call $failed) (then unreachable))
    (call $blocking_write (call $get_stderr) (i32.const 112) (i32.const 7) (i32.const 1024))
    (call $blocking_write (call $get_stderr) (i32.const 103) (i32.const 1) (i32.const 1024))
    (call $block (call $subscribe_duration (i64.const 600000000000)))";

/// The files that this code has open while it sleeps.
const OPEN_FILES: usize = 2;

/// Code that logs, and waits for the client.
const USES_NO_WASI: &str = "
    (call $host_log (i32.const 2) (i32.const 104) (i32.const 9))
    (call $recv (i32.const 1))";

/// Returns the threads, descriptors and children of a server with one request, whose client has
/// sent `question`, and which has logged `line` and waits.
fn usage(mut served: Served, question: &[u8], line: &str) -> [usize; 3] {
    let mut stream = served.server.connect().unwrap();
    stream.write_all(question).unwrap();
    served.server.wait_for_log(line).unwrap();
    let usage = Usage::of_process_and_children(served.server.pid()).unwrap();
    [usage.threads, usage.descriptors, usage.children]
}

#[test]
fn a_handler_that_uses_wasi_takes_no_thread_and_no_descriptor_more() {
    let with = WASI.replace("(call $act)", USES_WASI).replace("{{fields}}", "");
    let without = Fixture { handle: USES_NO_WASI, ..FIXTURE }.text();
    let directory = tempfile::tempdir().unwrap();
    let grant = format!("{}::/data", directory.path().display());
    for mode in MODES {
        let options = [mode, &["--dir", &grant]].concat();
        let serve = |text: &str| Served::start(text, &["tcp://127.0.0.1:0"], &options);
        let with = usage(serve(&with), b"xfile", "\"written\"");
        let [threads, descriptors, children] = usage(serve(&without), b"x", "\"it failed\"");
        let expected = [threads, descriptors + OPEN_FILES, children];
        assert_eq!(with, expected, "{mode:?}: threads, descriptors, children");
    }
}
