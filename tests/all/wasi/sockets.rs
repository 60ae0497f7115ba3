//! `wasi:sockets`: without a grant every call is denied, and with grants each permits what it says.

mod hostile;
mod python;
mod tcp;
mod udp;

use socketserver_tests::build;
use socketserver_tests::process::Server;

use super::{failure, inspect};
use crate::client::ask;
use crate::fixture::{FIXTURE, Fixture, MODES, serve};

/// Imports of the seven interfaces, with functions of each, as the libraries of Python and
/// Rust declare them.
const IMPORTS: &str = r#"
  (import "wasi:io/poll@0.2.0" (instance $poll (export "pollable" (type (sub resource)))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:sockets/network@0.2.0" (instance $network
    (export "network" (type (sub resource)))
    (type $error-enum (enum "unknown" "access-denied" "not-supported" "invalid-argument"
      "out-of-memory" "timeout" "concurrency-conflict" "not-in-progress" "would-block"
      "invalid-state" "new-socket-limit" "address-not-bindable" "address-in-use"
      "remote-unreachable" "connection-refused" "connection-reset" "connection-aborted"
      "datagram-too-large" "name-unresolvable" "temporary-resolver-failure"
      "permanent-resolver-failure"))
    (export "error-code" (type (eq $error-enum)))
    (type $family-enum (enum "ipv4" "ipv6"))
    (export "ip-address-family" (type (eq $family-enum)))))
  (alias export $network "network" (type $network))
  (alias export $network "error-code" (type $network-error))
  (alias export $network "ip-address-family" (type $family))
  (import "wasi:sockets/instance-network@0.2.0" (instance $instance-network
    (alias outer $handler-component $network (type $of))
    (export "network" (type $network (eq $of)))
    (export "instance-network" (func (result (own $network))))))
  (import "wasi:sockets/tcp@0.2.0" (instance $tcp
    (alias outer $handler-component $pollable (type $of-poll))
    (export "pollable" (type $pollable (eq $of-poll)))
    (alias outer $handler-component $network-error (type $of-network))
    (export "error-code" (type $error (eq $of-network)))
    (export "tcp-socket" (type $socket (sub resource)))
    (export "[method]tcp-socket.start-listen" (func
      (param "self" (borrow $socket)) (result (result (error $error)))))
    (export "[method]tcp-socket.subscribe" (func
      (param "self" (borrow $socket)) (result (own $pollable))))))
  (alias export $tcp "tcp-socket" (type $tcp-socket))
  (import "wasi:sockets/tcp-create-socket@0.2.0" (instance $create-tcp
    (alias outer $handler-component $network-error (type $of-network))
    (export "error-code" (type $error (eq $of-network)))
    (alias outer $handler-component $family (type $of-family))
    (export "ip-address-family" (type $family (eq $of-family)))
    (alias outer $handler-component $tcp-socket (type $of-tcp))
    (export "tcp-socket" (type $socket (eq $of-tcp)))
    (export "create-tcp-socket" (func
      (param "address-family" $family) (result (result (own $socket) (error $error)))))))
  (import "wasi:sockets/udp@0.2.0" (instance $udp
    (export "incoming-datagram-stream" (type (sub resource)))
    (export "outgoing-datagram-stream" (type (sub resource)))
    (export "udp-socket" (type (sub resource)))))
  (alias export $udp "udp-socket" (type $udp-socket))
  (import "wasi:sockets/udp-create-socket@0.2.0" (instance $create-udp
    (alias outer $handler-component $network-error (type $of-network))
    (export "error-code" (type $error (eq $of-network)))
    (alias outer $handler-component $family (type $of-family))
    (export "ip-address-family" (type $family (eq $of-family)))
    (alias outer $handler-component $udp-socket (type $of-udp))
    (export "udp-socket" (type $socket (eq $of-udp)))
    (export "create-udp-socket" (func
      (param "address-family" $family) (result (result (own $socket) (error $error)))))))
  (import "wasi:sockets/ip-name-lookup@0.2.0" (instance $lookup
    (alias outer $handler-component $network-error (type $of-network))
    (export "error-code" (type $error (eq $of-network)))
    (alias outer $handler-component $network (type $of))
    (export "network" (type $network (eq $of)))
    (export "resolve-address-stream" (type $addresses (sub resource)))
    (export "resolve-addresses" (func (param "network" (borrow $network)) (param "name" string)
      (result (result (own $addresses) (error $error)))))))
  (core func $instance-network (canon lower (func $instance-network "instance-network")))
  (core func $create-tcp (canon lower (func $create-tcp "create-tcp-socket") (memory $memory)))
  (core func $create-udp (canon lower (func $create-udp "create-udp-socket") (memory $memory)))
  (core func $lookup (canon lower (func $lookup "resolve-addresses") (memory $memory)))
  (core func $listen (canon lower (func $tcp "[method]tcp-socket.start-listen") (memory $memory)))
  (core func $drop-network (canon resource.drop $network))"#;

/// A handler that calls the three functions that ask for something, and sends their results:
/// for each, one byte that is 1 for an error, and one byte with the error.
const ASKING: Fixture<'static> = Fixture {
    component: IMPORTS,
    imports: r#"
      (import "host" "instance-network" (func $network (result i32)))
      (import "host" "drop-network" (func $drop_network (param i32)))
      (import "host" "create-tcp" (func $create_tcp (param i32 i32)))
      (import "host" "create-udp" (func $create_udp (param i32 i32)))
      (import "host" "lookup" (func $lookup (param i32 i32 i32 i32)))
      (import "host" "listen" (func $listen (param i32 i32)))"#,
    provides: r#"
      (export "instance-network" (func $instance-network))
      (export "drop-network" (func $drop-network))
      (export "create-tcp" (func $create-tcp))
      (export "create-udp" (func $create-udp))
      (export "lookup" (func $lookup))
      (export "listen" (func $listen))"#,
    handle: "
      (i32.store (i32.const 300) (call $network))
      (call $create_tcp (i32.const 0) (i32.const 200))
      (call $create_udp (i32.const 1) (i32.const 208))
      (call $lookup (i32.load (i32.const 300)) (i32.const 100) (i32.const 2) (i32.const 216))
      (call $drop_network (i32.load (i32.const 300)))
      (call $sendall (i32.const 200) (i32.const 24))",
    ..FIXTURE
};

#[test]
fn every_call_to_the_network_is_denied_and_the_first_is_logged() {
    let said = inspect(&ASKING.text(), &[]);
    let note = "wasi:sockets/tcp-create-socket@0.2.0  (empty: --connect URL grants more)";
    assert!(said.contains(note), "{said}");
    let said = inspect(&ASKING.text(), &["--resolve", "db.example", "--connect", "tcp://db:1"]);
    assert!(said.contains("wasi:sockets/ip-name-lookup@0.2.0  (2 granted)"), "{said}");
    assert!(said.contains("serve     yes"), "{said}");
    for mode in MODES {
        let mut served = ASKING.serve(mode);
        let answer = ask(&served.server, b"x");
        let errors: Vec<_> = answer.chunks(8).map(|result| (result[0], result[4])).collect();
        assert_eq!(errors, [(1, 1 /* access-denied */); 3], "{mode:?}");
        let line = served.server.wait_for_log("denied call=\"create-tcp-socket").unwrap();
        assert!(line.contains("--connect tcp://HOST:PORT would permit it"), "{line}");
        assert!(served.server.stop().unwrap().success());
        let log = served.server.log();
        assert_eq!(log.iter().filter(|line| line.contains("denied")).count(), 1, "{log:#?}");
    }
}

#[test]
fn a_method_of_a_socket_ends_a_handler_that_has_none() {
    let mut served =
        Fixture { handle: "(call $listen (i32.const 7) (i32.const 200))", ..ASKING }.serve(&[]);
    let line = failure(&mut served, b"x");
    assert!(line.contains("unknown handle index") && line.contains("\"guest\""), "{line}");
}

/// Serves the program `dial`, which does what its client says.
fn dial(options: &[&str]) -> Server {
    let mut command = serve();
    command.arg(build::guest("rust", "dial").unwrap()).args(options);
    Server::start(&mut command, 1).unwrap()
}

const DENIED: &str = "E access-denied";
