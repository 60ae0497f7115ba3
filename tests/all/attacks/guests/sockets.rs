//! Handlers that wait for ever, or misuse their socket.

use super::{finish, handle, hostile};

const IDLE: &[&str] = &["--idle-timeout", "600ms"];

hostile! {
    parked_in_recv: handle("(call $recv (i32.const 1))").options(IDLE).ends_for("idle-timeout", "client").saying("the client was silent for 600ms");
    parked_in_recv_in_finish: finish("(call $recv (i32.const 1))").options(IDLE).ends_for("idle-timeout", "client").saying("finish was ended");
    parked_in_sendall: handle("(loop $again (call $sendall (i32.const 0) (i32.const 65536)) (br $again))").cpu_time("10s").options(IDLE).ends_for("idle-timeout", "client");
    // Each `recv` times out after 10 ms, and the handler calls it again for ever.
    waiting_in_many_short_calls: handle(
        "(call $host_settimeout (global.get $request) (i32.const 1) (f64.const 0.01) (i32.const 32))
        (loop $again (call $recv (i32.const 1)) (br_if $again (i32.load8_u (i32.const 16))))"
    ).cpu_time("10s").options(IDLE).ends_for("idle-timeout", "client");
    a_timeout_without_end_does_not_lengthen_the_operator_s: handle(
        "(call $host_settimeout (global.get $request) (i32.const 1) (f64.const inf) (i32.const 32))
        (if (i32.load8_u (i32.const 32)) (then unreachable))
        (call $recv (i32.const 1))"
    ).options(IDLE).ends_for("idle-timeout", "client");
    a_timeout_of_eons_does_not_lengthen_the_operator_s: handle(
        "(call $host_settimeout (global.get $request) (i32.const 1) (f64.const 1.7e308) (i32.const 32))
        (if (i32.load8_u (i32.const 32)) (then unreachable))
        (call $recv (i32.const 1))"
    ).options(IDLE).ends_for("idle-timeout", "client");
    // The answer is the result: 1 for an error, and the case of `types.error-code`.
    a_timeout_that_is_not_a_number: handle(
        "(call $host_settimeout (global.get $request) (i32.const 1) (f64.const nan) (i32.const 32)) (call $sendall (i32.const 32) (i32.const 2))"
    ).answers(&[1, INVALID_ARGUMENT]);
    a_timeout_below_zero: handle(
        "(call $host_settimeout (global.get $request) (i32.const 1) (f64.const -0.001) (i32.const 32)) (call $sendall (i32.const 32) (i32.const 2))"
    ).answers(&[1, INVALID_ARGUMENT]);
    a_timeout_of_minus_zero: handle(
        "(call $host_settimeout (global.get $request) (i32.const 1) (f64.const -0.0) (i32.const 32))
        (call $recv (i32.const 1)) (call $sendall (i32.const 20) (i32.const 1))"
    ).answers(&[WOULD_BLOCK]);
    a_timeout_shorter_than_any_clock: handle(
        "(call $host_settimeout (global.get $request) (i32.const 1) (f64.const 5e-324) (i32.const 32))
        (call $recv (i32.const 1)) (call $sendall (i32.const 16) (i32.const 1))"
    ).answers(&[1]);

    receiving_after_close: handle(
        "(call $host_close (global.get $request)) (call $recv (i32.const 1))
        (if (i32.ne (i32.load8_u (i32.const 20)) (i32.const 4)) (then unreachable))
        (return (call $failed))"
    ).ends("error").saying("it failed");
    sending_after_close: handle(
        "(call $host_close (global.get $request)) (call $sendall (i32.const 100) (i32.const 2))
        (if (i32.ne (i32.load8_u (i32.const 33)) (i32.const 4)) (then unreachable))
        (return (call $failed))"
    ).ends("error").saying("it failed");
    closing_a_thousand_times: handle(
        "(local $left i32) (local.set $left (i32.const 1000))
        (call $sendall (i32.const 100) (i32.const 2))
        (loop $again (call $host_close (global.get $request))
          (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))"
    ).answers(b"ok");
    // The handler shut its own socket down, so that the client is not to blame.
    sending_after_its_own_shutdown: handle(
        "(call $host_shutdown (global.get $request) (i32.const 1) (i32.const 32))
        (call $sendall (i32.const 100) (i32.const 2))
        (if (i32.ne (i32.load8_u (i32.const 33)) (i32.const 9)) (then unreachable))
        (return (call $failed))"
    ).ends("error").saying("it failed");
    receiving_after_its_own_shutdown: handle(
        "(call $host_shutdown (global.get $request) (i32.const 0) (i32.const 32))
        (call $recv (i32.const 10))
        (call $sendall (i32.const 24) (i32.const 1))"
    ).answers(b"\0");
    a_shutdown_of_a_kind_that_does_not_exist: handle("(call $host_shutdown (global.get $request) (i32.const 3) (i32.const 32))").ends("call");
    shutting_down_for_ever: handle(
        "(loop $again (call $host_shutdown (global.get $request) (i32.const 2) (i32.const 32)) (br $again))"
    ).ends("cpu-time");

    an_option_of_a_level_that_does_not_exist: handle(
        "(call $host_setsockopt (global.get $request) (i32.const -1) (i32.const 0x80000000) (i32.const 0x7fffffff) (i32.const 32))
        (call $sendall (i32.const 32) (i32.const 2))"
    ).answers(&[1, DENIED]);
    a_receive_buffer_of_2_gib: handle(
        "(call $host_setsockopt (global.get $request) (i32.const 1) (i32.const 8) (i32.const 0x7fffffff) (i32.const 32))
        (call $host_getsockopt (global.get $request) (i32.const 1) (i32.const 8) (i32.const 40))
        (if (i32.gt_u (i32.load (i32.const 44)) (i32.const 425984)) (then unreachable))
        (call $sendall (i32.const 32) (i32.const 1))"
    ).answers(&[0]);
    // SO_BINDTODEVICE, SO_ATTACH_FILTER, SO_MARK, SO_PEERPIDFD, TCP_REPAIR, IP_TTL.
    options_that_concern_the_network: handle(
        "(call $set (i32.const 1) (i32.const 25)) (call $set (i32.const 1) (i32.const 26))
        (call $set (i32.const 1) (i32.const 36)) (call $set (i32.const 1) (i32.const 77))
        (call $set (i32.const 6) (i32.const 19)) (call $set (i32.const 0) (i32.const 2))
        (call $sendall (i32.const 100) (i32.const 2))"
    ).fields("(func $set (param i32 i32)
        (call $host_setsockopt (global.get $request) (local.get 0) (local.get 1) (i32.const 1) (i32.const 32))
        (if (i32.ne (i32.load8_u (i32.const 33)) (i32.const 5)) (then unreachable)))").answers(b"ok");
    an_option_read_to_an_odd_address: handle(
        "(call $host_getsockopt (global.get $request) (i32.const 1) (i32.const 3) (i32.const 18))"
    ).ends("call");
}

/// Cases of `types.error-code`.
const WOULD_BLOCK: u8 = 1;
const DENIED: u8 = 5;
const INVALID_ARGUMENT: u8 = 20;
