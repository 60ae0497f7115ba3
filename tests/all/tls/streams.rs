//! The plain bytes of a connection, and its end.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;

use socket2::{Domain, Socket, Type};
use socketserver_tests::build;
use socketserver_tests::process::{Server, wait_until};

use super::{Certificates, JAILED, ask, end, secure};
use crate::counters::request_counters;
use crate::fixture::{FIXTURE, Fixture, MODES, host, serve};

const SIZE: usize = 4 << 20;

fn pattern(size: usize) -> Vec<u8> {
    (0..251).cycle().take(size).collect()
}

/// The handler `source` sends while the kernel takes no more, and `sink` answers to a client
/// that has ended its side.
#[test]
fn megabytes_go_both_ways_in_each_way_of_running_requests() {
    let certificates = Certificates::new();
    for mode in JAILED {
        let source = certificates.serve("source", mode);
        let mut client = certificates.connect(&source);
        let answer = ask(&mut client, format!("{SIZE}\n").as_bytes()).unwrap();
        assert!(answer == pattern(SIZE), "{mode:?}: {} bytes", answer.len());
        let sink = certificates.serve("sink", mode);
        let mut client = certificates.connect(&sink);
        let answer = String::from_utf8(ask(&mut client, &pattern(SIZE)).unwrap()).unwrap();
        assert!(answer.starts_with(&format!("{SIZE} ")), "{mode:?}: {answer}");
    }
}

/// The kernel resets a connection that is closed with something unread in it, and drops what the
/// client has not received.
#[test]
fn a_client_that_ends_its_side_late_gets_the_whole_answer() {
    let certificates = Certificates::new();
    for mode in JAILED {
        let source = certificates.serve("source", mode);
        let mut client = certificates.connect(&source);
        client.write_all(format!("{SIZE}\n").as_bytes()).unwrap();
        let mut answer = vec![0];
        // The handler has read the line, and reads no more.
        client.read_exact(&mut answer).unwrap();
        end(&mut client);
        client.read_to_end(&mut answer).unwrap();
        assert!(answer == pattern(SIZE), "{mode:?}: {} bytes", answer.len());
    }
}

#[test]
fn a_client_sends_while_it_receives() {
    let certificates = Certificates::new();
    for mode in MODES {
        let server = certificates.serve("echo", mode);
        let mut client = certificates.connect(&server);
        let data = pattern(SIZE);
        for part in data.chunks(100_000) {
            client.write_all(part).unwrap();
            let mut answer = vec![0; part.len()];
            client.read_exact(&mut answer).unwrap();
            assert!(answer == part, "{mode:?}");
        }
        assert_eq!(ask(&mut client, b"").unwrap(), b"", "{mode:?}");
    }
}

/// As for Python's `ssl`, it is the end of the stream for the handler.
#[test]
fn a_connection_that_is_cut_off_ends_for_the_handler_and_is_noted() {
    let certificates = Certificates::new();
    for mode in MODES {
        let options = [&["--log-level", "debug"], mode].concat();
        let mut server = certificates.serve("sink", &options);
        let mut client = certificates.connect(&server);
        client.write_all(b"hello").unwrap();
        client.sock.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("5 "), "{mode:?}: {answer}");
        server.wait_for_log("the connection ended without TLS's close_notify").unwrap();
    }
}

/// A client can tell a part of an answer from all of it.
#[test]
fn only_an_answer_that_is_whole_ends_with_close_notify() {
    let certificates = Certificates::new();
    let handle = "(call $sendall (i32.const 1024) (i32.const 1))
        (call $recv (i32.const 1)) (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 116))
        (then unreachable))";
    let fixture = Fixture { handle, ..FIXTURE };
    for mode in MODES {
        let tls = certificates.options("server");
        let options: Vec<_> = tls.iter().map(String::as_str).chain(mode.iter().copied()).collect();
        let served = fixture.serve(&options);
        let mut client = certificates.connect(&served.server);
        assert_eq!(ask(&mut client, b"xn").unwrap().len(), 1, "{mode:?}");
        let mut client = certificates.connect(&served.server);
        let error = ask(&mut client, b"xt").unwrap_err().kind();
        let cut_off = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset];
        assert!(cut_off.contains(&error), "{mode:?}: {error}");
    }
}

/// The kernel has not taken all when the handler is done. The host sends the rest.
#[test]
fn a_slow_client_gets_all_and_then_the_end() {
    let certificates = Certificates::new();
    for mode in MODES {
        let mut command = host();
        command.arg("serve").arg(build::guest("rust", "source").unwrap()).args(mode);
        command.args(["--bind", "tcp://127.0.0.1:0?sndbuf=4096", "--access-log", "all"]);
        command.args(["--log-format", "json"]).args(certificates.options("server"));
        let mut server = Server::start(&mut command, 1).unwrap();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&server.address().into()).unwrap();
        let config = certificates.client_config(None);
        let mut client = secure(socket.into(), "localhost", config);
        client.write_all(b"60000\n").unwrap();
        server.wait_for_log("\"access\"").unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert!(answer == pattern(60_000), "{mode:?}: {} bytes", answer.len());
    }
}

/// The handler has the bytes before the record, and then an error.
#[test]
fn a_record_that_was_changed_on_its_way_ends_the_request() {
    let certificates = Certificates::new();
    for mode in MODES {
        let options = [&["--log-format", "json"], mode].concat();
        let mut server = certificates.serve("echo", &options);
        let mut client = certificates.connect(&server);
        // The server has done the handshake, and does not read the record as a part of it.
        client.write_all(b"1").unwrap();
        client.read_exact(&mut [0; 1]).unwrap();
        client.conn.writer().write_all(b"hello").unwrap();
        let mut records = Vec::new();
        client.conn.write_tls(&mut records).unwrap();
        records.extend_from_slice(&[23, 3, 3, 0, 20]);
        records.extend_from_slice(&[7; 20]);
        client.sock.write_all(&records).unwrap();
        // The client hears of the record before the handler answers to what came before it.
        let mut rest = Vec::new();
        assert!(client.read_to_end(&mut rest).is_err(), "{mode:?}");
        wait_until("the request has failed", || {
            let counters = request_counters(&mut server);
            let failed = counters["requests"]["failed"].as_object().unwrap().len();
            failed == 1 && counters["bytes"]["received"] == 6
        });
        let mut next = certificates.connect(&server);
        assert_eq!(ask(&mut next, b"next").unwrap(), b"next", "{mode:?}");
    }
}

/// A client that goes without a word costs its own request.
#[test]
fn a_client_that_resets_ends_its_request_only() {
    let certificates = Certificates::new();
    for mode in MODES {
        let server = certificates.serve("source", mode);
        let mut client = certificates.connect(&server);
        client.write_all(b"100000000\n").unwrap();
        let mut first = [0; 1];
        client.read_exact(&mut first).unwrap();
        crate::client::reset(client.sock);
        let mut next = certificates.connect(&server);
        assert_eq!(ask(&mut next, b"7\n").unwrap(), pattern(7), "{mode:?}");
    }
}

#[test]
fn data_that_stays_unread_costs_no_answer() {
    let certificates = Certificates::new();
    for mode in MODES {
        let server = certificates.serve("unread", mode);
        let stream = server.connect().unwrap();
        let mut client = secure(stream, "localhost", certificates.client_config(None));
        client.write_all(b"x and more").unwrap();
        end(&mut client);
        let mut answer = [0; 3];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"OK\n", "{mode:?}");
    }
}

/// A record is longer than what the program reads at once, and the client waits for the answer.
#[test]
fn a_program_gets_the_plain_bytes_that_the_host_has_already() {
    let certificates = Certificates::new();
    for mode in MODES {
        let mut command = serve();
        command.arg(build::guest("c", "talk").unwrap()).args(certificates.options("server"));
        let server = Server::start(command.args(mode).args(["--", "cat"]), 1).unwrap();
        let mut client = certificates.connect(&server);
        client.sock.set_nodelay(true).unwrap();
        let data = pattern(16_000);
        client.write_all(&data).unwrap();
        let mut answer = vec![0; data.len()];
        client.read_exact(&mut answer).unwrap();
        assert!(answer == data, "{mode:?}");
        assert_eq!(ask(&mut client, b"end").unwrap(), b"end", "{mode:?}");
    }
}
