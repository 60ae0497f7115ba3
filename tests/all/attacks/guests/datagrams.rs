//! Hostile handlers of datagrams. They share the server's socket, so that what a handler can
//! do with it affects every client.

use std::net::UdpSocket;

use socketserver_tests::bystander::Bystander;
use socketserver_tests::load::Target;
use socketserver_tests::process::{Server, TIMEOUT};

use super::{assert_reported, logged};
use crate::attacks::attack;
use crate::fixture::{DATAGRAM, Fixture};

/// Defines a test for each row: its name, the handler, and the outcome of its requests.
macro_rules! hostile_to_datagrams {
    ($($name:ident: $fixture:expr, $end:expr;)*) => {$(
        #[test]
        fn $name() {
            run(&$fixture, &$end);
        }
    )*};
}

/// The outcome that a request must have.
enum End {
    /// The request fails for this reason, and the guest is to blame.
    Fails(&'static str),
    /// The host denies the call, and the handler sends that error to its client.
    Denied,
    /// The handler sends this word to its client.
    Sends(u32),
}
use End::{Denied, Fails, Sends};

/// Cases of `types.error-code`.
const DENIED: u32 = 5;
const MESSAGE_TOO_LONG: u32 = 19;
const NOT_SUPPORTED: u32 = 25;

/// Makes a handler that runs `handle`.
const fn handle(handle: &'static str) -> Fixture<'static> {
    Fixture { handle, ..DATAGRAM }
}

/// Code that sends to an address, in the twelve words of the canonical ABI, and sends the
/// result to the client.
macro_rules! sendto {
    ($($word:literal)*) => {
        concat!(
            "(call $host_sendto (global.get $request) (i32.const 104) (i32.const 9)",
            $(" (i32.const ", $word, ")",)*
            " (i32.const 16)) (call $tell_error (i32.const 20))"
        )
    };
}

hostile_to_datagrams! {
    a_datagram_and_an_endless_loop_in_setup: Fixture { setup: "(loop $again (br $again))", ..DATAGRAM }, Fails("cpu-time");
    a_datagram_and_an_endless_loop: handle("(loop $again (br $again))"), Fails("cpu-time");
    a_datagram_and_a_trap: handle("unreachable"), Fails("trap");
    a_datagram_and_an_error: handle("(return (call $failed))"), Fails("error");
    a_reply_larger_than_a_datagram: handle(
        "(call $reply (i32.const 0) (i32.const 65536)) (call $tell (i32.load8_u (i32.const 36)))"
    ), Sends(MESSAGE_TOO_LONG);
    replying_for_ever: handle("(loop $again (call $reply (i32.const 100) (i32.const 2)) (br $again))"), Fails("cpu-time");
    a_reply_of_4_gib: handle("(call $reply (i32.const 0) (i32.const -1))"), Fails("call");
    taking_the_datagrams_of_others: handle(
        "(call $host_recv (global.get $request) (i32.const 9) (i32.const 16)) (call $tell_error (i32.const 20))"
    ), Sends(NOT_SUPPORTED);
    shutting_the_server_s_socket_down: handle(
        "(call $host_shutdown (global.get $request) (i32.const 2) (i32.const 16)) (call $tell_error (i32.const 17))"
    ), Sends(NOT_SUPPORTED);
    setting_an_option_of_the_server_s_socket: handle(
        "(call $host_setsockopt (global.get $request) (i32.const 1) (i32.const 9) (i32.const 1) (i32.const 16))
        (call $tell_error (i32.const 17))"
    ), Sends(NOT_SUPPORTED);
    closing_the_server_s_socket: handle(
        "(call $tell (i32.const 7)) (call $host_close (global.get $request)) (call $reply (i32.const 100) (i32.const 2))"
    ), Sends(7);
    a_reply_to_another_address: handle(sendto!(0 127 0 0 3 9 0 0 0 0 0 0)), Denied;
    a_reply_to_another_port: handle(sendto!(0 127 0 0 1 9 0 0 0 0 0 0)), Denied;
    a_reply_to_the_broadcast_address: handle(sendto!(0 255 255 255 255 9 0 0 0 0 0 0)), Denied;
    a_reply_to_a_multicast_group: handle(sendto!(0 224 0 0 1 9 0 0 0 0 0 0)), Denied;
    a_reply_to_the_unspecified_address: handle(sendto!(0 0 0 0 0 0 0 0 0 0 0 0)), Denied;
    a_reply_to_the_same_address_in_ipv6: handle(sendto!(1 0 0 0 0 0 65535 32512 1 9 0 0)), Denied;
    a_reply_to_a_unix_socket: handle(sendto!(2 1 100 2 0 0 0 0 0 0 0 0)), Denied;
    a_reply_to_a_name_of_64_kib: handle(sendto!(2 1 0 65536 0 0 0 0 0 0 0 0)), Denied;
    a_reply_to_a_name_of_4_gib: handle(sendto!(2 1 0 -1 0 0 0 0 0 0 0 0)), Fails("call");
    a_reply_to_an_address_of_no_family: handle(sendto!(9 0 0 0 0 0 0 0 0 0 0 0)), Fails("call");
    a_reply_to_a_port_past_the_last: handle(sendto!(0 127 0 0 1 65545 0 0 0 0 0 0)), Denied;
}

fn run(fixture: &Fixture<'_>, end: &End) {
    let mut served = fixture.serve_at(&["udp://127.0.0.1:0"], &["--cpu-time", "50ms"]);
    let bystander = Bystander::new(&served.server.endpoints()[0], b"-", b"ok").unwrap();
    attack(&mut served.server, &bystander, |server, _| {
        let client = client(server);
        client.send(b"x").unwrap();
        let peer = client.local_addr().unwrap();
        match end {
            Fails(reason) => {
                assert_reported(&logged(server, &format!("from {peer}: ")), reason, "guest");
            }
            Denied => {
                assert_eq!(receive_word(&client), DENIED);
                let line = logged(server, &format!("a handler may send to its own client, {peer}"));
                assert!(line.contains("denied call=\"sendto ") && line.contains("INFO"), "{line}");
            }
            Sends(word) => assert_eq!(receive_word(&client), *word),
        }
    });
}

/// Makes a client that receives only from the server.
fn client(server: &Server) -> UdpSocket {
    let Target::Udp(address) = Target::parse(&server.endpoints()[0]).unwrap() else {
        panic!("{:?}", server.endpoints())
    };
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(address).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    socket
}

fn receive_word(client: &UdpSocket) -> u32 {
    let mut word = [0; 5];
    assert_eq!(client.recv(&mut word).unwrap(), 4);
    u32::from_le_bytes(word[..4].try_into().unwrap())
}
