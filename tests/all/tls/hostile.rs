//! Clients that use TLS to keep a server busy, and clients that wait in the loop before it.

use std::fs;
use std::io::{ErrorKind, Read, Write};

use serde_json::json;
use socketserver_tests::process::wait_until;

use super::{Certificates, ask, end, secure};
use crate::client::read_to_end;
use crate::counters::request_counters;
use crate::fixture::{FIXTURE, Fixture, MODES};

/// The message of the handshake arrives in records of one byte, and never ends.
#[test]
fn a_handshake_that_trickles_has_no_more_time_than_another() {
    let certificates = Certificates::new();
    for mode in MODES {
        let options = ["--tls-handshake-timeout", "200ms", "--log-format", "json"];
        let mut server = certificates.serve("upper", &[&options[..], mode].concat());
        let mut slow = server.connect().unwrap();
        let bytes = [1, 0, 0xff, 0xff].into_iter().chain([0; 3000]);
        // The server may have gone.
        let _ = bytes.map(|byte| slow.write_all(&[22, 3, 1, 0, 1, byte])).find(Result::is_err);
        let mut rest = [0; 1];
        let ended = slow.read(&mut rest).map_err(|error| error.kind());
        assert!(matches!(ended, Ok(0) | Err(ErrorKind::ConnectionReset)), "{mode:?}: {ended:?}");
        server.wait_for_log("the handshake was not done within 200ms").unwrap();
        let mut client = certificates.connect(&server);
        assert_eq!(ask(&mut client, b"hello").unwrap(), b"HELLO", "{mode:?}");
    }
}

/// A chain is a message of the handshake, which has a bound.
#[test]
fn a_client_with_a_huge_chain_of_certificates_is_refused() {
    let certificates = Certificates::new();
    certificates.issue("client", "DNS:client.example");
    let ca = certificates.file("ca.pem");
    let options = ["--tls-client-ca", &ca, "--log-format", "json"];
    let mut server = certificates.serve("upper", &options);
    let own = fs::read_to_string(certificates.path("client.pem")).unwrap();
    let more = fs::read_to_string(certificates.path("server.pem")).unwrap();
    for (count, is_served) in [(20, true), (400, false)] {
        fs::write(certificates.path("client.pem"), own.clone() + &more.repeat(count)).unwrap();
        let config = certificates.client_config(Some("client"));
        let mut client = secure(server.connect().unwrap(), "localhost", config);
        let answer = ask(&mut client, b"hello");
        assert_eq!(answer.is_ok_and(|answer| answer == b"HELLO"), is_served, "{count}");
    }
    wait_until("the refusal is counted, and costs no instance", || {
        let counters = request_counters(&mut server);
        counters["requests"]["failed"] == json!({ "handshake": 1 }) && counters["instances"] == 1
    });
}

/// Each makes the server compute new keys and answer, and brings it no plain byte.
#[test]
fn endless_updates_of_keys_end_the_request() {
    let certificates = Certificates::new();
    for mode in MODES {
        let mut server = certificates.serve("echo", &[&["--log-format", "json"], mode].concat());
        let mut client = certificates.connect(&server);
        client.write_all(b"1").unwrap();
        client.read_exact(&mut [0; 1]).unwrap();
        let mut update = || {
            client.conn.refresh_traffic_keys().unwrap();
            client.flush()
        };
        assert!((0..100_000).any(|_| update().is_err()), "{mode:?}");
        wait_until("the request has failed", || {
            request_counters(&mut server)["requests"]["failed"].as_object().unwrap().len() == 1
        });
        let mut next = certificates.connect(&server);
        assert_eq!(ask(&mut next, b"next").unwrap(), b"next", "{mode:?}");
    }
}

#[test]
fn records_of_one_byte_are_plain_bytes_like_others() {
    let certificates = Certificates::new();
    let server = certificates.serve("sink", &[]);
    let mut client = certificates.connect(&server);
    for _ in 0..3000 {
        client.write_all(b"x").unwrap();
        client.flush().unwrap();
    }
    let answer = String::from_utf8(ask(&mut client, b"").unwrap()).unwrap();
    assert!(answer.starts_with("3000 "), "{answer}");
}

/// The session holds a part of what the handler sends, and takes no more before the kernel does.
#[test]
fn a_client_that_reads_nothing_is_ended_at_the_idle_timeout() {
    let certificates = Certificates::new();
    for mode in MODES {
        let options = ["--idle-timeout", "500ms", "--log-format", "json"];
        let mut server = certificates.serve("source", &[&options[..], mode].concat());
        let mut client = certificates.connect(&server);
        client.write_all(b"100000000\n").unwrap();
        wait_until("the request has failed", || {
            request_counters(&mut server)["requests"]["failed"] == json!({ "idle-timeout": 1 })
        });
        let mut next = certificates.connect(&server);
        assert_eq!(ask(&mut next, b"3\n").unwrap(), [0, 1, 2], "{mode:?}");
    }
}

/// The handler fails with a text of its own if its call ends with `timed-out`, and traps if the
/// call ends in another way.
#[test]
fn the_timeout_of_the_handler_ends_a_call_that_sends() {
    let certificates = Certificates::new();
    let handle = "
        (call $host_settimeout (global.get $request) (i32.const 1) (f64.const 0.1) (i32.const 32))
        (loop $more (call $sendall (i32.const 0) (i32.const 65536))
          (br_if $more (i32.eqz (i32.load8_u (i32.const 32)))))
        (if (i32.eqz (i32.load8_u (i32.const 33))) (then (return (call $failed))))
        unreachable";
    let fixture = Fixture { handle, ..FIXTURE };
    for mode in MODES {
        let tls = certificates.options("server");
        let options: Vec<_> = tls.iter().map(String::as_str).chain(mode.iter().copied()).collect();
        let mut served = fixture.serve(&options);
        let mut client = certificates.connect(&served.server);
        client.write_all(b"x").unwrap();
        served.server.wait_for_log("it failed").unwrap();
        drop(client);
        let mut next = certificates.connect(&served.server);
        assert_eq!(ask(&mut next, b"n").unwrap(), b"ok", "{mode:?}");
    }
}

/// The client may end its side in TLS, and leave the connection open.
#[test]
fn a_client_that_says_its_end_and_stays_is_served_and_left() {
    let certificates = Certificates::new();
    for mode in MODES {
        let server = certificates.serve("sink", mode);
        let mut client = certificates.connect(&server);
        client.write_all(b"hello").unwrap();
        end(&mut client);
        // No plain bytes follow the end, whatever comes.
        client.sock.write_all(&[23, 3, 3, 0, 20]).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("5 "), "{mode:?}: {answer}");
        assert_eq!(read_to_end(&mut client.sock), b"", "{mode:?}");
    }
}

/// The header of the proxy comes first, and then the first byte of the client: that of TLS. Both
/// are awaited in the loop.
#[test]
fn connections_that_wait_in_the_loop_get_tls_after_that() {
    let certificates = Certificates::new();
    for mode in MODES {
        for header in [&b""[..], b"PROXY TCP4 192.0.2.7 192.0.2.7 4711 443\r\n"] {
            let proxies: &[&str] =
                if header.is_empty() { &[] } else { &["--proxy-from", "127.0.0.1"] };
            let options = [&["--defer-accept", "--log-format", "json"], proxies, mode].concat();
            let mut server = certificates.serve("whoami", &options);
            let mut streams = [(); 3].map(|()| server.connect().unwrap());
            for stream in &mut streams {
                stream.write_all(header).unwrap();
            }
            wait_until("the connections wait", || {
                let counters = request_counters(&mut server);
                counters["connections_waiting"] == 3 && counters["requests"]["accepted"] == 0
            });
            for stream in streams {
                let config = certificates.client_config(None);
                let mut client = secure(stream, "localhost", config);
                let answer = String::from_utf8(ask(&mut client, b"").unwrap()).unwrap();
                let is_named = answer.contains("client_address=192.0.2.7 4711\n");
                assert_eq!(is_named, !header.is_empty(), "{mode:?}: {answer}");
            }
            assert_eq!(request_counters(&mut server)["instances"], 3, "{mode:?}");
        }
    }
}
