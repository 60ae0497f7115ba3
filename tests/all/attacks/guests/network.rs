//! Handlers that misuse the sockets which they open.

use std::process::Command;

use socketserver_tests::build;
use socketserver_tests::bystander::Bystander;
use socketserver_tests::process::Server;

use super::{Hostile, attack, handle, hostile};
use crate::fixture::File;
use crate::network::{MODES, full_listener};

const IDLE: &[&str] = &[
    "--idle-timeout",
    "600ms",
    "--connect",
    "tcp://127.0.0.1:*",
    "--listen-grant",
    "tcp://127.0.0.1:0",
    "--resolve",
    "localhost",
];
const CONNECT: &[&str] = &["--connect", "tcp://127.0.0.1:1"];
const OWN: &[&str] = &["--connect", "unix://@hostile-own", "--listen-grant", "unix://@hostile-own"];

/// Makes a handler that can open sockets.
const fn network(code: &'static str) -> Hostile {
    handle(code)
        .with_functions(
            include_str!("../../../fixtures/network/component.wat"),
            include_str!("../../../fixtures/network/imports.wat"),
            include_str!("../../../fixtures/network/provides.wat"),
        )
        .fields(include_str!("../../../fixtures/network/functions.wat"))
        .options(CONNECT)
}

hostile! {
    a_flood_of_sockets_that_are_closed_at_once: network(
        "(local $socket i32)
        (loop $again (local.set $socket (call $tcp)) (call $host_close (local.get $socket)) (call $host_drop (local.get $socket)) (br $again))"
    ).ends("cpu-time");
    a_flood_of_sockets_that_are_closed_and_kept: network(
        "(loop $again (call $host_close (call $tcp)) (br $again))"
    ).ends("handles").saying("as many handles as it may").cpu_time("10s");
    a_flood_of_pairs: network(
        "(loop $again (call $host_pair (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 512)) (br $again))"
    ).ends("cpu-time");
    a_flood_of_sockets_that_are_denied: network(
        "(loop $again (drop (call $socket (i32.const 0) (i32.const 4))) (br $again))"
    ).ends("cpu-time");
    a_family_that_does_not_exist: network("(drop (call $socket (i32.const 3) (i32.const 0)))").ends("call");
    connecting_for_ever: network(
        "(local $socket i32)
        (loop $again (local.set $socket (call $tcp)) (call $connect (local.get $socket) (i32.const 1)) (call $host_drop (local.get $socket)) (br $again))"
    ).cpu_time("10s").ends("connects");
    connecting_where_it_is_denied_for_ever: network(
        "(local $socket i32) (local.set $socket (call $tcp))
        (loop $again (call $connect (local.get $socket) (i32.const 2)) (br $again))"
    ).ends("cpu-time");
    connecting_the_request: network("(call $connect (global.get $request) (i32.const 1)) (call $answer)").answers(&[1, NOT_SUPPORTED]);
    listening_on_the_request: network("(call $host_listen (global.get $request) (i32.const 5) (i32.const 512)) (call $answer)").answers(&[1, NOT_SUPPORTED]);
    accepting_on_the_request: network("(call $host_accept (global.get $request) (i32.const 512)) (call $answer_of_value)").answers(&[1, NOT_SUPPORTED]);
    accepting_without_waiting_for_ever: network(
        "(local $socket i32) (local.set $socket (call $listening))
        (call $host_settimeout (local.get $socket) (i32.const 1) (f64.const 0) (i32.const 32))
        (loop $again (call $host_accept (local.get $socket) (i32.const 512)) (br $again))"
    ).options(IDLE).cpu_time("10s").ends("connects");
    // The handler connects to itself, and holds no end of any connection.
    accepting_its_own_connections_for_ever: network(
        "(local $listener i32) (local $socket i32)
        (i64.store (i32.const 600) (i64.const 0x2d656c6974736f68)) (i32.store (i32.const 608) (i32.const 0x006e776f))
        (local.set $listener (call $socket (i32.const 2) (i32.const 0)))
        (call $host_bind (local.get $listener) (i32.const 2) (i32.const 2) (i32.const 600) (i32.const 11)
          (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 512))
        (if (i32.load8_u (i32.const 512)) (then unreachable))
        (call $host_listen (local.get $listener) (i32.const 5) (i32.const 512))
        (loop $again
          (local.set $socket (call $socket (i32.const 2) (i32.const 0)))
          (call $host_connect (local.get $socket) (i32.const 2) (i32.const 2) (i32.const 600) (i32.const 11)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 512))
          (if (i32.load8_u (i32.const 512)) (then unreachable))
          (call $host_drop (local.get $socket))
          (call $host_accept (local.get $listener) (i32.const 512))
          (if (i32.load8_u (i32.const 512)) (then unreachable))
          (call $host_drop (i32.load (i32.const 516)))
          (br $again))"
    ).options(OWN).cpu_time("10s").clients(1).ends("connects");

    selecting_closed_sockets: network(
        "(call $host_close (call $tcp)) (call $select (i32.const 516) (i32.const 1) (i32.const 0) (f64.const 0)) (call $answer_of_value)"
    ).answers(&[1, CLOSED]);
    selecting_closed_sockets_for_ever: network(
        "(i32.store (i32.const 600) (call $tcp)) (call $host_close (i32.load (i32.const 600)))
        (loop $again (call $select (i32.const 600) (i32.const 1) (i32.const 0) (f64.const 0)) (br $again))"
    ).ends("cpu-time");
    selecting_a_socket_that_it_has_dropped: network(
        "(call $host_drop (call $tcp)) (call $select (i32.const 516) (i32.const 1) (i32.const 0) (f64.const 0))"
    ).ends("call");
    selecting_without_waiting_for_ever: network(
        "(i32.store (i32.const 600) (global.get $request))
        (loop $again (call $select (i32.const 600) (i32.const 1) (i32.const 1) (f64.const 0)) (br $again))"
    ).ends("cpu-time");
    selecting_with_a_timeout_below_zero: network(
        "(call $select (i32.const 0) (i32.const 0) (i32.const 1) (f64.const -1)) (call $answer_of_value)"
    ).answers(&[1, INVALID_ARGUMENT]);
    selecting_sockets_past_the_end_of_the_memory: network("(call $select (i32.const 65532) (i32.const 2) (i32.const 0) (f64.const 0))").ends("call");
    selecting_sockets_at_an_odd_address: network("(call $select (i32.const 601) (i32.const 1) (i32.const 0) (f64.const 0))").ends("call");
    selecting_one_socket_a_thousand_times: network(
        "(local $at i32) (local.set $at (i32.const 4000))
        (loop $again (i32.store (i32.add (local.get $at) (i32.const 4096)) (global.get $request))
          (br_if $again (local.tee $at (i32.sub (local.get $at) (i32.const 4)))))
        (call $select (i32.const 4100) (i32.const 1000) (i32.const 0) (f64.const 0))"
    ).ends("call").saying("1000");
    selecting_nothing_for_ever: network("(call $select (i32.const 0) (i32.const 0) (i32.const 0) (f64.const 0))").options(IDLE).ends("sleep");
    selecting_its_own_socket_for_ever: network(
        "(i32.store (i32.const 600) (call $listening)) (call $select (i32.const 600) (i32.const 1) (i32.const 0) (f64.const 0))"
    ).options(IDLE).ends_for("outbound", "policy");

    a_name_of_64_kib: network(
        "(drop (memory.grow (i32.const 1))) (memory.fill (i32.const 65536) (i32.const 97) (i32.const 65536))
        (call $lookup (i32.const 65536) (i32.const 65536)) (call $answer_of_value)"
    ).answers(&[1, NO_NAME]);
    names_of_64_kib_for_ever: network(
        "(drop (memory.grow (i32.const 1))) (memory.fill (i32.const 65536) (i32.const 97) (i32.const 65536))
        (loop $again (call $lookup (i32.const 65536) (i32.const 65536)) (br $again))"
    ).ends("cpu-time");
    a_name_with_a_zero_byte: network("(call $lookup (i32.const 1000) (i32.const 3)) (call $answer_of_value)").answers(&[1, NO_NAME]);
    a_name_that_is_not_utf_8: network("(i32.store8 (i32.const 600) (i32.const 255)) (call $lookup (i32.const 600) (i32.const 1))").ends("call").saying("utf-8");
    looking_up_what_is_denied_for_ever: network(
        "(i32.store (i32.const 600) (i32.const 0x656d616e)) (loop $again (call $lookup (i32.const 600) (i32.const 4)) (br $again))"
    ).ends("cpu-time");
    // Each lookup takes a thread, and waits for it.
    looking_up_for_ever: network(
        "(i64.store (i32.const 600) (i64.const 0x736f686c61636f6c)) (i32.store8 (i32.const 608) (i32.const 116))
        (loop $again (call $lookup (i32.const 600) (i32.const 9)) (br $again))"
    ).options(IDLE).cpu_time("10s").ends_for("outbound", "policy");
}

/// Defines a test for each hostile handler, which runs it in every mode.
macro_rules! in_every_mode {
    ($($name:ident: $guest:expr;)*) => {$(
        #[test]
        fn $name() {
            for mode in MODES {
                $guest.run(mode);
            }
        }
    )*};
}

in_every_mode! {
    a_flood_of_sockets: network("(loop $again (drop (call $tcp)) (br $again))").ends("cpu-time");
    accepting_where_no_client_comes: network(
        "(call $host_accept (call $listening) (i32.const 512))"
    ).options(IDLE).ends_for("outbound", "policy");
    selecting_from_4_gib_of_sockets: network(
        "(call $select (i32.const 0) (i32.const -1) (i32.const 0) (f64.const 0))"
    ).ends("call");
    a_name_of_4_gib: network("(call $lookup (i32.const 0) (i32.const -1))").ends("call");
}

/// The queue of the socket is full, so the kernel answers no attempt to connect.
#[test]
fn connecting_to_what_never_answers() {
    let hostile = network("(call $connect (call $tcp) (i32.const PORT))")
        .options(IDLE)
        .ends_for("outbound", "policy");
    for mode in MODES {
        let (listener, _waiting) = full_listener();
        let port = listener.local_addr().unwrap().as_socket().unwrap().port();
        hostile.run_text(&hostile.fixture.text().replace("PORT", &port.to_string()), mode);
    }
}

/// Ten handlers open sockets as long as they get them, and the server has few descriptors.
#[test]
fn the_descriptors_of_ten_handlers_at_once() {
    let hostile =
        network("(loop $again (drop (call $tcp)) (br $again))").clients(10).ends("cpu-time");
    let handler = File::new("fixture.wat", hostile.fixture.text().as_bytes());
    for mode in MODES {
        let mut command = Command::new("prlimit");
        command.arg("--nofile=256:256").arg(build::host().unwrap());
        command.args(["serve", "--bind", "tcp://127.0.0.1:0", "--sockets", "1000"]);
        command.args(["--cpu-time", "50ms"]).arg(&handler.path).args(CONNECT).args(mode);
        let mut server = Server::start(&mut command, 1).unwrap();
        let bystander = Bystander::new(&server.endpoints()[0], b"-", b"ok").unwrap();
        attack(&mut server, &bystander, |server, _| hostile.ask(server));
        hostile.check_count_of_failures(&mut server);
    }
}

/// Cases of `types.error-code`.
const CLOSED: u8 = 4;
const INVALID_ARGUMENT: u8 = 20;
const NOT_SUPPORTED: u8 = 25;
/// A case of `network.lookup-error`.
const NO_NAME: u8 = 6;
