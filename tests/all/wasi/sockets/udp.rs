//! UDP of `wasi:sockets`.

use std::net::UdpSocket;

use socketserver_tests::process::TIMEOUT;

use super::{DENIED, dial};
use crate::network::{Dialer, MODES, with};

#[test]
fn datagrams_go_to_granted_addresses_only() {
    for mode in MODES {
        let granted = UdpSocket::bind("127.0.0.1:0").unwrap();
        granted.set_read_timeout(Some(TIMEOUT)).unwrap();
        let beside = UdpSocket::bind("127.0.0.1:0").unwrap();
        beside.set_nonblocking(true).unwrap();
        let (to, other) = (granted.local_addr().unwrap(), beside.local_addr().unwrap());
        let server = dial(&with(mode, &["--connect", &format!("udp://{to}")]));
        let mut client = Dialer::connect(&server);
        client.expect(&[
            ("tcp new 4", DENIED),
            ("udp new 4", "ok"),
            ("udp stream", "E invalid-state"),
            (&format!("udp bind {other}"), DENIED),
            ("udp bind 127.0.0.1:0", "ok"),
            ("udp bind 127.0.0.1:0", "E invalid-state"),
            ("udp remote", "E invalid-state"),
            ("udp stream", "ok"),
            (&format!("udp send x {other}"), DENIED),
            ("udp send x", "E invalid-argument"),
            (&format!("udp send hello {to}"), "1"),
            (&format!("udp stream {other}"), DENIED),
            (&format!("udp stream {to}"), "ok"),
            ("udp remote", &to.to_string()),
            (&format!("udp send x {other}"), "E invalid-argument"),
            ("udp send again", "1"),
            (&format!("udp send-long 65536 {to}"), "E datagram-too-large"),
            (&format!("udp send-many 3 {to}"), "3"),
        ]);
        let local = client.ask("udp local");
        let mut received = [0; 16];
        for data in [&b"hello"[..], b"again", b"x", b"x", b"x"] {
            let (length, from) = granted.recv_from(&mut received).unwrap();
            assert_eq!((&received[..length], from.to_string()), (data, local.clone()));
        }
        granted.send_to(b"answer", &local).unwrap();
        client.expect(&[
            ("udp recv", &format!("answer {to}")),
            ("udp receive 18446744073709551615", "0 0"),
        ]);
        assert!(beside.recv(&mut received).is_err(), "nothing came");
    }
}

#[test]
fn a_socket_receives_where_that_is_granted() {
    let server = dial(&["--listen-grant", "udp://127.0.0.1:0", "--listen-grant", "udp://[::1]:0"]);
    let mut client = Dialer::connect(&server);
    client.expect(&[("udp new 4", "ok"), ("udp bind 127.0.0.1:0", "ok"), ("udp stream", "ok")]);
    let address = client.ask("udp local");
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..20 {
        peer.send_to(&[b'x'; 100], &address).unwrap();
    }
    // One call receives a few at most.
    client.expect(&[
        ("udp receive 1", "1 100"),
        ("udp receive 100", "16 1600"),
        ("udp receive 100", "3 300"),
        ("udp receive 0", "0 0"),
        (&format!("udp send x {}", peer.local_addr().unwrap()), DENIED),
        ("udp hop-limit 0", "E invalid-argument"),
        ("udp hop-limit 7", "7"),
        ("udp receive-buffer-size 65536", "65536"),
        ("udp send-buffer-size 18446744073709551615", "212992"),
        ("udp send-buffer-size 0", "E invalid-argument"),
    ]);
    client.send("udp recv");
    peer.send_to(b"late", &address).unwrap();
    assert_eq!(client.answer(), format!("late {}", peer.local_addr().unwrap()));
}
