//! Handlers that misuse the calls with flags and with values of bytes.

use super::{Hostile, handle, hostile};

const IDLE: &[&str] = &["--idle-timeout", "600ms"];

/// Makes a handler that has the calls too.
const fn with_flags(code: &'static str) -> Hostile {
    handle(code).with_functions(
        r#"
        (core func $recv_flags (canon lower (func $sockets "[method]socket.recv-with-flags") (memory $memory) (realloc $realloc)))
        (core func $recvfrom (canon lower (func $sockets "[method]socket.recvfrom") (memory $memory) (realloc $realloc)))
        (core func $sendall_flags (canon lower (func $sockets "[method]socket.sendall-with-flags") (memory $memory)))
        (core func $get_bytes (canon lower (func $sockets "[method]socket.getsockopt-bytes") (memory $memory) (realloc $realloc)))
        (core func $set_bytes (canon lower (func $sockets "[method]socket.setsockopt-bytes") (memory $memory)))"#,
        r#"
        (import "host" "recv-flags" (func $recv_flags (param i32 i32 i32 i32)))
        (import "host" "recvfrom" (func $recvfrom (param i32 i32 i32 i32)))
        (import "host" "sendall-flags" (func $sendall_flags (param i32 i32 i32 i32 i32)))
        (import "host" "get-bytes" (func $get_bytes (param i32 i32 i32 i32 i32)))
        (import "host" "set-bytes" (func $set_bytes (param i32 i32 i32 i32 i32 i32)))"#,
        r#"
        (export "recv-flags" (func $recv_flags))
        (export "recvfrom" (func $recvfrom))
        (export "sendall-flags" (func $sendall_flags))
        (export "get-bytes" (func $get_bytes))
        (export "set-bytes" (func $set_bytes))"#,
    )
}

hostile! {
    // The first byte of the question is taken: the handler sees the others again and again.
    peeking_for_ever: with_flags(
        "(loop $again (call $recv_flags (global.get $request) (i32.const -1) (i32.const 2) (i32.const 16)) (br $again))"
    ).question(b"xyz").ends("cpu-time");
    peeking_where_nothing_comes: with_flags(
        "(call $recv_flags (global.get $request) (i32.const -1) (i32.const 2) (i32.const 16))"
    ).options(IDLE).ends_for("idle-timeout", "client");
    waiting_for_4_gib_that_do_not_come: with_flags(
        "(call $recv_flags (global.get $request) (i32.const -1) (i32.const 256) (i32.const 16))"
    ).question(b"xyz").options(IDLE).ends_for("idle-timeout", "client");
    waiting_for_4_gib_to_peek: with_flags(
        "(call $recv_flags (global.get $request) (i32.const -1) (i32.const 258) (i32.const 16))
        (call $sendall (i32.const 1024) (i32.const 2))"
    ).question(b"xyz").answers(b"yz");
    receiving_without_waiting_for_ever: with_flags(
        "(loop $again (call $recvfrom (global.get $request) (i32.const 1) (i32.const 64) (i32.const 48)) (br $again))"
    ).ends("cpu-time");
    // The answer is the result: 1 for an error, and the case of `types.error-code`.
    all_flags: with_flags(
        "(call $recv_flags (global.get $request) (i32.const 1) (i32.const -1) (i32.const 32))
        (i32.store8 (i32.const 33) (i32.load8_u (i32.const 36)))
        (call $sendall (i32.const 32) (i32.const 2))"
    ).answers(&[1, NOT_SUPPORTED]);
    sending_4_gib_with_flags: with_flags(
        "(call $sendall_flags (global.get $request) (i32.const 0) (i32.const -1) (i32.const 64) (i32.const 32))"
    ).ends("call");
    sending_more_for_ever: with_flags(
        "(loop $again (call $sendall_flags (global.get $request) (i32.const 0) (i32.const 65536) (i32.const 0x8000) (i32.const 32)) (br $again))"
    ).cpu_time("10s").options(IDLE).ends_for("idle-timeout", "client");
    an_option_of_4_gib: with_flags(
        "(call $set_bytes (global.get $request) (i32.const 1) (i32.const 9) (i32.const 0) (i32.const -1) (i32.const 32))"
    ).ends("call");
    an_option_of_64_kib: with_flags(
        "(call $set_bytes (global.get $request) (i32.const 1) (i32.const 9) (i32.const 0) (i32.const 65536) (i32.const 32))
        (call $sendall (i32.const 32) (i32.const 1))"
    ).answers(&[0]);
    setting_an_option_of_64_kib_for_ever: with_flags(
        "(loop $again (call $set_bytes (global.get $request) (i32.const 1) (i32.const 9) (i32.const 0) (i32.const 65536) (i32.const 32)) (br $again))"
    ).ends("cpu-time");
    setting_an_option_outside_of_the_list_for_ever: with_flags(
        "(loop $again (call $set_bytes (global.get $request) (i32.const 1) (i32.const 26) (i32.const 0) (i32.const 65536) (i32.const 32)) (br $again))"
    ).ends("cpu-time");
    an_option_of_no_bytes: with_flags(
        "(call $set_bytes (global.get $request) (i32.const 1) (i32.const 9) (i32.const 0) (i32.const 0) (i32.const 32))
        (call $sendall (i32.const 32) (i32.const 2))"
    ).answers(&[1, INVALID_ARGUMENT]);
    an_option_read_as_4_gib: with_flags(
        "(call $get_bytes (global.get $request) (i32.const 6) (i32.const 11) (i32.const -1) (i32.const 32))
        (i32.store8 (i32.const 33) (i32.load8_u (i32.const 36)))
        (call $sendall (i32.const 32) (i32.const 2))"
    ).answers(&[1, INVALID_ARGUMENT]);
    // The host closes the connection, with data that the client does not read.
    lingering_for_68_years: with_flags(
        "(call $host_settimeout (global.get $request) (i32.const 1) (f64.const 0) (i32.const 32))
        (i32.store (i32.const 200) (i32.const 1)) (i32.store (i32.const 204) (i32.const 0x7fffffff))
        (call $set_bytes (global.get $request) (i32.const 1) (i32.const 13) (i32.const 200) (i32.const 8) (i32.const 32))
        (if (i32.load8_u (i32.const 32)) (then unreachable))
        (loop $again (call $sendall (i32.const 0) (i32.const 65536)) (br_if $again (i32.eqz (i32.load8_u (i32.const 32)))))
        (return (call $failed))"
    ).ends("error").saying("it failed");
}

/// Cases of `types.error-code`.
const INVALID_ARGUMENT: u8 = 20;
const NOT_SUPPORTED: u8 = 25;
