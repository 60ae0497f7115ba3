//! TCP and names of `wasi:sockets`.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use super::{DENIED, dial};
use crate::client::read_to_end;
use crate::network::{Dialer, MODES, full_listener, with};

fn read(stream: &mut TcpStream, length: usize) -> String {
    let mut data = vec![0; length];
    stream.read_exact(&mut data).unwrap();
    String::from_utf8(data).unwrap()
}

#[test]
fn a_granted_address_is_reached_and_its_neighbours_are_not() {
    for mode in MODES {
        let granted = TcpListener::bind("127.0.0.1:0").unwrap();
        let beside = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, other) =
            (granted.local_addr().unwrap().port(), beside.local_addr().unwrap().port());
        let mut server = dial(&with(mode, &["--connect", &format!("tcp://127.0.0.1:{port}")]));
        let mut client = Dialer::connect(&server);
        client.expect(&[
            ("tcp new 4", "ok"),
            (&format!("tcp connect 127.0.0.1:{other}"), DENIED),
            (&format!("tcp connect 127.0.0.2:{port}"), DENIED),
            (&format!("tcp connect [::1]:{port}"), "E invalid-argument"),
            ("udp new 4", DENIED),
            ("tcp remote", "E invalid-state"),
            (&format!("tcp connect 127.0.0.1:{port}"), "ok"),
            ("tcp send hello", "ok"),
        ]);
        let (mut upstream, peer) = granted.accept().unwrap();
        assert_eq!(read(&mut upstream, 5), "hello");
        client.expect(&[("tcp read", "")]);
        upstream.write_all(b"world").unwrap();
        client.expect(&[
            ("tcp recv", "world"),
            ("tcp local", &peer.to_string()),
            ("tcp remote", &granted.local_addr().unwrap().to_string()),
            ("tcp family", "IpAddressFamily::Ipv4"),
            ("tcp is-listening", "false"),
            ("tcp shutdown send", "ok"),
            ("tcp shutdown send", "ok"),
            ("tcp send more", "E closed"),
        ]);
        assert_eq!(read_to_end(&mut upstream), b"");
        upstream.write_all(b"last").unwrap();
        drop(upstream);
        client.expect(&[
            ("tcp recv", "last"),
            ("tcp recv", "E closed"),
            ("tcp recv", "E closed"),
            ("tcp shutdown both", "ok"),
            // A client binds no port of its choice, and does not listen.
            ("tcp new 4", "ok"),
            (&format!("tcp bind 127.0.0.1:{other}"), DENIED),
            ("tcp listen", "E invalid-state"),
            ("tcp bind 127.0.0.1:0", "ok"),
            ("tcp bind 127.0.0.1:0", "E invalid-state"),
            ("tcp listen", DENIED),
            (&format!("tcp connect 127.0.0.1:{port}"), "ok"),
            // The IPv4 address of an IPv6 socket, and another family.
            ("tcp new 6", "ok"),
            (&format!("tcp connect [::ffff:127.0.0.1]:{port}"), "E invalid-argument"),
            (&format!("tcp connect [::1]:{port}"), DENIED),
        ]);
        let line = server.wait_for_log("denied").unwrap();
        assert!(line.contains(&format!("--connect tcp://127.0.0.1:{other} would")), "{line}");
        drop(client);
        assert!(server.stop().unwrap().success());
        let lines = server.log().iter().filter(|line| line.contains("denied")).count();
        assert_eq!(lines, 1, "one line for each request");
    }
}

#[test]
fn a_granted_name_may_be_looked_up_and_leads_to_no_private_address() {
    for mode in MODES {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let grant = format!("tcp://localhost:{port}");
        let mut server = dial(&with(mode, &["--connect", &grant, "--resolve", "LOCALHOST."]));
        let mut client = Dialer::connect(&server);
        let found = client.ask("resolve localhost");
        assert!(found.contains("127.0.0.1") || found.contains("::1"), "{found}");
        client.expect(&[
            ("resolve start localhost", "ok"),
            ("resolve finish", &found),
            ("tcp new 4", "ok"),
            (&format!("tcp connect 127.0.0.1:{port}"), DENIED),
            ("resolve localhost.example", DENIED),
            ("resolve www.example", DENIED),
            // An address is no name.
            ("resolve 127.0.0.1", "127.0.0.1"),
            ("resolve [::1]", "::1"),
            ("resolve ::1", "::1"),
            ("resolve not/a/name", "E invalid-argument"),
            ("resolve long 65536", "E invalid-argument"),
        ]);
        let line = server.wait_for_log("denied").unwrap();
        assert!(line.contains("would permit it"), "{line}");
        // The same address, granted as an address, may be reached by its name.
        let address = format!("tcp://127.0.0.0/8:{port}");
        let server = dial(&with(mode, &["--connect", &grant, "--connect", &address]));
        Dialer::connect(&server).expect(&[
            ("resolve localhost", &found),
            ("tcp new 4", "ok"),
            (&format!("tcp connect 127.0.0.1:{port}"), "ok"),
        ]);
    }
}

#[test]
fn a_handler_listens_where_that_is_granted_and_nowhere_else() {
    for mode in MODES {
        let used = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let server = dial(&with(mode, &["--listen-grant", "tcp://127.0.0.1:0"]));
        let mut client = Dialer::connect(&server);
        client.expect(&[
            ("tcp new 4", "ok"),
            (&format!("tcp bind {used}"), DENIED),
            ("tcp bind 0.0.0.0:0", DENIED),
            ("tcp local", "E invalid-state"),
            ("tcp bind 127.0.0.1:0", "ok"),
            ("tcp accept", "E invalid-state"),
            ("tcp listen", "ok"),
            ("tcp listen", "E invalid-state"),
            ("tcp is-listening", "true"),
            ("tcp try-accept", "E would-block"),
            ("tcp set listen-backlog-size 0", "E invalid-argument"),
            ("tcp set listen-backlog-size 18446744073709551615", "ok"),
            ("tcp set keep-alive-idle-time 5000000000", "ok"),
        ]);
        let address = client.ask("tcp local");
        client.send("tcp accept");
        let mut peer = TcpStream::connect(&address).unwrap();
        assert_eq!(client.answer(), peer.local_addr().unwrap().to_string());
        peer.write_all(b"hello").unwrap();
        client.expect(&[
            ("tcp recv", "hello"),
            ("tcp local", &address),
            // A connection has the options of the socket that listens.
            ("tcp get keep-alive-idle-time", "5000000000"),
            // To listen somewhere is no right to connect to it.
            ("tcp new 4", "ok"),
            (&format!("tcp connect {address}"), DENIED),
        ]);
    }
}

#[test]
fn calls_that_wait_are_begun_and_finished() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (full, _waiting) = full_listener();
    let full = full.local_addr().unwrap().as_socket().unwrap();
    let to = listener.local_addr().unwrap();
    let grants = ["--connect", "tcp://127.0.0.0/8:*", "--listen-grant", "tcp://127.0.0.1:*"];
    let server = dial(&grants);
    Dialer::connect(&server).expect(&[
        ("tcp new 4", "ok"),
        ("tcp finish-bind", "E not-in-progress"),
        ("tcp finish-connect", "E not-in-progress"),
        ("tcp finish-listen", "E not-in-progress"),
        ("tcp shutdown both", "E invalid-state"),
        ("tcp bind 224.0.0.1:0", "E invalid-argument"),
        (&format!("tcp bind {to}"), "E address-in-use"),
        ("tcp start-bind 127.0.0.1:0", "ok"),
        ("tcp start-bind 127.0.0.1:0", "E concurrency-conflict"),
        ("tcp start-listen", "E concurrency-conflict"),
        (&format!("tcp start-connect {to}"), "E concurrency-conflict"),
        ("tcp finish-bind", "ok"),
        ("tcp start-listen", "ok"),
        ("tcp is-listening", "false"),
        ("tcp finish-listen", "ok"),
        (&format!("tcp start-connect {to}"), "E invalid-state"),
        ("tcp new 4", "ok"),
        ("tcp start-connect 0.0.0.0:1", "E invalid-argument"),
        ("tcp start-connect 127.0.0.1:0", "E invalid-argument"),
        ("tcp start-connect 255.255.255.255:1", "E invalid-argument"),
        (&format!("tcp start-connect {full}"), "ok"),
        ("tcp finish-connect", "E would-block"),
        (&format!("tcp start-connect {full}"), "E concurrency-conflict"),
        ("tcp local", "E invalid-state"),
        ("tcp drop", "ok"),
        ("tcp new 4", "ok"),
        (&format!("tcp connect {closed}"), "E connection-refused"),
        (&format!("tcp connect {closed}"), "E invalid-state"),
        ("tcp drop", "ok"),
        ("tcp new 4", "ok"),
        (&format!("tcp connect {to}"), "ok"),
        (&format!("tcp connect {to}"), "E invalid-state"),
        ("tcp shutdown receive", "ok"),
        ("tcp recv", "E closed"),
        ("tcp send x", "ok"),
    ]);
    // The end of the client has closed the sockets.
    let (mut peer, _) = listener.accept().unwrap();
    assert_eq!(read_to_end(&mut peer), b"x");
}

#[test]
fn options_have_their_values_and_bounds() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let server = dial(&["--connect", "tcp://127.0.0.1:*", "--connect", "tcp://[::1]:*"]);
    let mut client = Dialer::connect(&server);
    for family in ["4", "6"] {
        client.expect(&[(&format!("tcp new {family}"), "ok")]);
        client.expect(&[
            ("tcp get keep-alive-enabled", "0"),
            ("tcp set keep-alive-enabled 1", "ok"),
            ("tcp get keep-alive-enabled", "1"),
            ("tcp set keep-alive-idle-time 0", "E invalid-argument"),
            ("tcp set keep-alive-idle-time 1", "ok"),
            ("tcp get keep-alive-idle-time", "1000000000"),
            ("tcp set keep-alive-interval 18446744073709551615", "ok"),
            ("tcp get keep-alive-interval", "32767000000000"),
            ("tcp set keep-alive-interval 0", "E invalid-argument"),
            ("tcp set keep-alive-count 4294967295", "ok"),
            ("tcp get keep-alive-count", "127"),
            ("tcp set keep-alive-count 0", "E invalid-argument"),
            ("tcp set hop-limit 0", "E invalid-argument"),
            ("tcp set hop-limit 255", "ok"),
            ("tcp get hop-limit", "255"),
            ("tcp set receive-buffer-size 0", "E invalid-argument"),
            ("tcp set receive-buffer-size 65536", "ok"),
            ("tcp get receive-buffer-size", "65536"),
            // The bound that the contract has.
            ("tcp set send-buffer-size 18446744073709551615", "ok"),
            ("tcp get send-buffer-size", "212992"),
        ]);
    }
    client.expect(&[
        ("tcp new 4", "ok"),
        ("tcp set keep-alive-count 3", "ok"),
        (&format!("tcp connect {to}"), "ok"),
        ("tcp get keep-alive-count", "3"),
        ("tcp set hop-limit 64", "ok"),
    ]);
}

/// The kernel takes a part of what the program writes; the host sends the rest while the program
/// waits for something else, and before it drops the connection.
#[test]
fn what_a_program_wrote_is_sent_while_it_waits_and_when_it_drops_the_connection() {
    const SIZE: usize = 20 << 20;
    for mode in MODES {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let server = dial(&with(mode, &["--connect", &format!("tcp://{to}")]));
        let mut client = Dialer::connect(&server);
        client.expect(&[("tcp new 4", "ok"), (&format!("tcp connect {to}"), "ok")]);
        let (mut upstream, _) = listener.accept().unwrap();
        let mut expect = |client: &mut Dialer, size: usize| {
            client.send(&format!("tcp bulk {size}"));
            let mut received = vec![0; size];
            upstream.read_exact(&mut received).unwrap();
            assert!(received.iter().all(|byte| *byte == b'x'));
            assert_eq!(client.answer(), "ok");
        };
        expect(&mut client, SIZE);
        // A buffer that takes a part of most writes.
        client.expect(&[("tcp set send-buffer-size 1", "ok")]);
        for size in [10_000, 10_001, 50_000] {
            expect(&mut client, size);
        }
        client.send(&format!("tcp bulk {SIZE}"));
        let reader = std::thread::spawn(move || {
            let received = read_to_end(&mut upstream).len();
            upstream.shutdown(Shutdown::Both).ok();
            received
        });
        assert_eq!(client.answer(), "ok");
        client.expect(&[("tcp drop", "ok")]);
        assert_eq!(reader.join().unwrap(), SIZE);
    }
}
