//! Handlers that have the kernel send files.

use std::fs::File;

use super::{FIBERS, FIBERS_IN_WORKERS, FORKING, Hostile, SYNC, WORKERS, handle};
use crate::fixture::{FIXTURE, Fixture};

/// Makes a handler that opens the file `f` of the first granted directory, as `$file`.
const fn with_file(code: &'static str) -> Hostile {
    // The list of directories is not to lie where their names do.
    let realloc = "(if (i32.eq (local.get 2) (i32.const 4)) (then (return (i32.const 2048))))";
    let plain = Hostile { fixture: Fixture { handle: code, realloc, ..FIXTURE }, ..handle("") };
    plain.with_functions(
        r#"
        (import "wasi:filesystem/types@0.2.6" (instance $files
          (export "descriptor" (type $descriptor (sub resource)))
          (type $codes (enum
            "access" "would-block" "already" "bad-descriptor" "busy" "deadlock" "quota" "exist"
            "file-too-large" "illegal-byte-sequence" "in-progress" "interrupted" "invalid" "io"
            "is-directory" "loop" "too-many-links" "message-size" "name-too-long" "no-device"
            "no-entry" "no-lock" "insufficient-memory" "insufficient-space" "not-directory"
            "not-empty" "not-recoverable" "unsupported" "no-tty" "no-such-device" "overflow"
            "not-permitted" "pipe" "read-only" "invalid-seek" "text-file-busy" "cross-device"))
          (export "error-code" (type $code (eq $codes)))
          (type $paths (flags "symlink-follow"))
          (export "path-flags" (type $path-flags (eq $paths)))
          (type $opens (flags "create" "directory" "exclusive" "truncate"))
          (export "open-flags" (type $open-flags (eq $opens)))
          (type $rights (flags
            "read" "write" "file-integrity-sync" "data-integrity-sync" "requested-write-sync"
            "mutate-directory"))
          (export "descriptor-flags" (type $descriptor-flags (eq $rights)))
          (export "[method]descriptor.open-at" (func
            (param "self" (borrow $descriptor)) (param "path-flags" $path-flags) (param "path" string)
            (param "open-flags" $open-flags) (param "flags" $descriptor-flags)
            (result (result (own $descriptor) (error $code)))))))
        (alias export $files "descriptor" (type $descriptor))
        (import "wasi:filesystem/preopens@0.2.6" (instance $preopens
          (alias outer $handler-component $descriptor (type $of-files))
          (export "descriptor" (type $descriptor (eq $of-files)))
          (export "get-directories" (func (result (list (tuple (own $descriptor) string)))))))
        (import "socketserver:handler/sendfile@0.1.0" (instance $sendfile
          (alias outer $handler-component $descriptor (type $of-files))
          (export "descriptor" (type $descriptor (eq $of-files)))
          (alias outer $handler-component $socket (type $of-sockets))
          (export "socket" (type $socket (eq $of-sockets)))
          (alias outer $handler-component $error-code (type $of-types))
          (export "error-code" (type $error-code (eq $of-types)))
          (export "sendfile" (func
            (param "socket" (borrow $socket)) (param "file" (borrow $descriptor))
            (param "offset" u64) (param "count" u64) (result (result u64 (error $error-code)))))))
        (core func $open (canon lower (func $files "[method]descriptor.open-at") (memory $memory)))
        (core func $directories (canon lower (func $preopens "get-directories") (memory $memory) (realloc $realloc)))
        (core func $sendfile (canon lower (func $sendfile "sendfile") (memory $memory)))
        (core func $drop-file (canon resource.drop $descriptor))"#,
        r#"
        (import "host" "open" (func $host_open (param i32 i32 i32 i32 i32 i32 i32)))
        (import "host" "directories" (func $directories (param i32)))
        (import "host" "sendfile" (func $sendfile (param i32 i32 i64 i64 i32)))
        (import "host" "drop-file" (func $drop_file (param i32)))"#,
        r#"
        (export "open" (func $open))
        (export "directories" (func $directories))
        (export "sendfile" (func $sendfile))
        (export "drop-file" (func $drop-file))"#,
    ).fields(
        r#"
        (data (i32.const 300) "f")
        (global $file (mut i32) (i32.const 0))
        (global $directory (mut i32) (i32.const 0))
        (func $open
          (call $directories (i32.const 400))
          (global.set $directory (i32.load (i32.load (i32.const 400))))
          (call $host_open (global.get $directory) (i32.const 0) (i32.const 300) (i32.const 1)
            (i32.const 0) (i32.const 1) (i32.const 408))
          (if (i32.load8_u (i32.const 408)) (then unreachable))
          (global.set $file (i32.load (i32.const 412))))
        ;; The result is at 416: the number of bytes at 424, or the error there.
        (func $send (param $offset i64) (param $count i64)
          (call $sendfile (global.get $request) (global.get $file) (local.get $offset) (local.get $count) (i32.const 416)))
        (func $answer
          (i32.store8 (i32.const 417) (i32.load8_u (i32.const 424)))
          (call $sendall (i32.const 416) (i32.const 2)))"#,
    )
}

/// Serves the handler with a directory that has the file `f` of a terabyte, all of it a hole,
/// in every mode, in the jail.
fn run(hostile: &Hostile) {
    let directory = tempfile::tempdir().unwrap();
    File::create(directory.path().join("f")).unwrap().set_len(1 << 40).unwrap();
    let grant = format!("{}::/d:ro", directory.path().display());
    for mode in [&[][..], FORKING, SYNC, WORKERS, FIBERS, FIBERS_IN_WORKERS] {
        hostile.run(&[&["--dir", &grant], mode].concat());
    }
}

#[test]
fn a_terabyte_for_a_client_that_does_not_read() {
    run(&with_file(
        "(call $open) (loop $again (call $send (i64.const 0) (i64.const -1)) (br $again))",
    )
    .cpu_time("10s")
    .options(&["--idle-timeout", "600ms"])
    .ends_for("idle-timeout", "client"));
}

#[test]
fn more_of_a_file_than_a_request_may_send() {
    run(&with_file(
        "(call $open) (loop $again (call $send (i64.const 0) (i64.const -1)) (br $again))",
    )
    .cpu_time("10s")
    .options(&["--max-sent", "64KiB"])
    .ends("sent"));
}

#[test]
fn an_offset_past_every_file() {
    run(&with_file("(call $open) (call $send (i64.const -1) (i64.const -1)) (call $answer)")
        .answers(&[1, INVALID_ARGUMENT]));
}

#[test]
fn nothing_of_a_file_for_ever() {
    run(&with_file(
        "(call $open) (loop $again (call $send (i64.const 0) (i64.const 0)) (br $again))",
    )
    .ends("cpu-time"));
}

#[test]
fn a_directory_in_the_place_of_a_file() {
    run(&with_file(
        "(call $open) (global.set $file (global.get $directory))
        (call $send (i64.const 0) (i64.const 1)) (call $answer)",
    )
    .answers(&[1, INVALID_ARGUMENT]));
}

#[test]
fn a_file_that_the_handler_has_dropped() {
    run(&with_file("(call $open) (call $drop_file (global.get $file)) (call $send (i64.const 0) (i64.const 1))")
        .ends("call"));
}

#[test]
fn the_socket_in_the_place_of_a_file() {
    run(&with_file("(call $open) (global.set $file (global.get $request)) (call $send (i64.const 0) (i64.const 1))")
        .ends("call"));
}

/// A case of `types.error-code`.
const INVALID_ARGUMENT: u8 = 20;
