//! Handshakes that take long or fail, and what stands before and after them.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use rustix::process::geteuid;
use serde_json::json;
use socketserver_tests::build;
use socketserver_tests::process::{Server, wait_until};

use super::{Certificates, ask, secure};
use crate::client::read_to_end;
use crate::counters::request_counters;
use crate::fixture::{MODES, host, serve};

#[test]
fn a_client_that_speaks_no_tls_costs_no_instance() {
    let certificates = Certificates::new();
    for mode in MODES {
        let mut server = certificates.serve("upper", &[&["--log-format", "json"], mode].concat());
        let mut plain = server.connect().unwrap();
        plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let answer = read_to_end(&mut plain);
        assert!(answer.is_empty() || answer[0] == 21, "{mode:?}: {answer:?}");
        drop(server.connect().unwrap());
        let mut client = certificates.connect(&server);
        assert_eq!(ask(&mut client, b"hello").unwrap(), b"HELLO", "{mode:?}");
        wait_until("the counters have all requests", || {
            let counters = request_counters(&mut server);
            let requests = &counters["requests"];
            requests["failed"] == json!({ "handshake": 2 })
                && requests["done"] == 1
                && counters["instances"] == 1
        });
        let log = server.log().join("\n");
        assert!(log.contains("corrupt message"), "{log}");
    }
}

#[test]
fn a_handshake_that_is_late_is_refused() {
    let certificates = Certificates::new();
    for mode in MODES {
        let options = [&["--tls-handshake-timeout", "200ms", "--log-format", "json"], mode];
        let mut server = certificates.serve("upper", &options.concat());
        let mut silent = server.connect().unwrap();
        assert_eq!(read_to_end(&mut silent), b"", "{mode:?}");
        // The client says that a message of 64 KiB begins, and sends no more.
        let mut slow = server.connect().unwrap();
        slow.write_all(&[22, 3, 1, 0, 100, 1, 0, 0xff, 0xff]).unwrap();
        assert_eq!(read_to_end(&mut slow), b"", "{mode:?}");
        let mut client = certificates.connect(&server);
        assert_eq!(ask(&mut client, b"hello").unwrap(), b"HELLO", "{mode:?}");
        wait_until("the counters have all requests", || {
            let counters = request_counters(&mut server);
            counters["requests"]["failed"] == json!({ "handshake": 2 })
                && counters["instances"] == 1
        });
        let log = server.log().join("\n");
        assert!(log.contains("the handshake was not done within 200ms"), "{log}");
    }
}

/// A message of the handshake has a bound, however long its sender says that it is.
#[test]
fn a_handshake_without_end_is_refused() {
    let certificates = Certificates::new();
    let mut server = certificates.serve("upper", &["--log-format", "json"]);
    let mut stream = server.connect().unwrap();
    let part = [&[22, 3, 1, 0x40, 0][..], &[1, 0xff, 0xff, 0xff], &vec![0; (1 << 14) - 4]].concat();
    let failed = (0..10_000).find_map(|_| stream.write_all(&part).err());
    let failed = failed.map(|error| error.kind());
    let ends = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
    assert!(failed.is_some_and(|kind| ends.contains(&kind)), "{failed:?}");
    wait_until("it is counted", || {
        request_counters(&mut server)["requests"]["failed"] == json!({ "handshake": 1 })
    });
}

/// The handshake has a thread or a process of its own.
#[test]
fn slow_handshakes_keep_no_client_waiting() {
    let certificates = Certificates::new();
    for mode in &MODES[1..] {
        let options = [&["--tls-handshake-timeout", "60s"], *mode].concat();
        let server = certificates.serve("upper", &options);
        let mut slow: Vec<TcpStream> = (0..8).map(|_| server.connect().unwrap()).collect();
        for stream in &mut slow {
            stream.write_all(&[22, 3, 1]).unwrap();
        }
        for _ in 0..3 {
            let mut client = certificates.connect(&server);
            assert_eq!(ask(&mut client, b"hello").unwrap(), b"HELLO", "{mode:?}");
        }
    }
}

#[test]
fn a_proxy_names_the_client_before_the_handshake() {
    let certificates = Certificates::new();
    for mode in MODES {
        let options = ["--proxy-from", "127.0.0.1", "--access-log", "all", "--log-format", "json"];
        let mut server = certificates.serve("whoami", &[&options[..], mode].concat());
        let mut stream = server.connect().unwrap();
        stream.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.7 4711 443\r\n").unwrap();
        let mut client = secure(stream, "localhost", certificates.client_config(None));
        let answer = String::from_utf8(ask(&mut client, b"").unwrap()).unwrap();
        assert!(answer.contains("client_address=192.0.2.7 4711\n"), "{mode:?}: {answer}");
        let line = server.wait_for_log("\"access\"").unwrap();
        assert!(line.contains("192.0.2.7:4711"), "{mode:?}: {line}");
    }
}

/// Bytes are those of the handler, and not of the records.
#[test]
fn the_counters_and_the_log_of_access_have_plain_bytes() {
    let certificates = Certificates::new();
    for mode in MODES {
        let options = ["--access-log", "all", "--log-format", "json"];
        let mut server = certificates.serve("upper", &[&options[..], mode].concat());
        let mut client = certificates.connect(&server);
        assert_eq!(ask(&mut client, b"hello").unwrap(), b"HELLO", "{mode:?}");
        let line = server.wait_for_log("\"access\"").unwrap();
        let bytes = ["\"received\":5", "\"sent\":5"];
        assert!(bytes.iter().all(|part| line.contains(part)), "{mode:?}: {line}");
        wait_until("the bytes are counted", || {
            request_counters(&mut server)["bytes"] == json!({ "received": 5, "sent": 5 })
        });
    }
}

/// The files are read before the user changes, and no process that serves has them open.
#[test]
fn a_key_that_only_root_reads_serves_another_user() {
    if !geteuid().is_root() {
        return;
    }
    let certificates = Certificates::new();
    let mut command = serve();
    command.arg(build::guest("rust", "upper").unwrap()).args(certificates.options("server"));
    command.args(["--concurrency", "forking", "--user", "12345:12345"]);
    let server = Server::start(&mut command, 1).unwrap();
    let mut client = certificates.connect(&server);
    assert_eq!(ask(&mut client, b"hello").unwrap(), b"HELLO");
}

/// A connection over a Unix socket is served, too.
#[test]
fn a_unix_socket_has_tls() {
    let certificates = Certificates::new();
    let path = certificates.path("socket");
    let mut command = host();
    command.arg("serve").arg(build::guest("rust", "upper").unwrap());
    command.args(certificates.options("server"));
    let _server =
        Server::start(command.args(["--bind", &format!("unix://{}", path.display())]), 1).unwrap();
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let name = "localhost".try_into().unwrap();
    let config = std::sync::Arc::new(certificates.client_config(None));
    let mut session = rustls::ClientConnection::new(config, name).unwrap();
    let mut client = rustls::Stream::new(&mut session, &mut stream);
    client.write_all(b"hello").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "HELLO");
}

#[test]
fn a_handshake_that_has_begun_at_the_signal_is_served() {
    let certificates = Certificates::new();
    for mode in MODES {
        let mut server = certificates.serve("echo", mode);
        let mut client = certificates.connect(&server);
        client.write_all(b"1").unwrap();
        let mut answer = [0; 1];
        client.read_exact(&mut answer).unwrap();
        server.signal("TERM").unwrap();
        wait_until("the server refuses clients", || TcpStream::connect(server.address()).is_err());
        assert_eq!(ask(&mut client, b"2").unwrap(), b"2", "{mode:?}");
        assert!(server.wait().unwrap().success(), "{mode:?}");
    }
}
