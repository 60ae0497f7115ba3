//! Clients of the monitor that mean no good.

use std::io::{Read, Write};
use std::net::TcpStream;

use socketserver_tests::process::wait_until;

use super::{Monitored, answer, connect, free};
use crate::client::ask;

#[test]
fn a_thousand_silent_clients_do_not_keep_others_from_looking() {
    let monitored = Monitored::start(&[]);
    let silent: Vec<_> = (0..1000).map(|_| connect(monitored.address)).collect();
    assert_eq!(monitored.get("/readyz").0, 200);
    assert_eq!(ask(&monitored.served.server, b"-"), b"ok");
    // The oldest have lost their places.
    let mut first = silent.into_iter().next().unwrap();
    let mut nothing = Vec::new();
    let _ = first.read_to_end(&mut nothing);
    assert!(nothing.is_empty());
}

#[test]
fn clients_that_do_not_read_hold_nothing() {
    let monitored = Monitored::start(&[]);
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut stream = connect(monitored.address);
        stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        slow.push(stream);
    }
    assert_eq!(monitored.get("/metrics").0, 200);
    assert_eq!(ask(&monitored.served.server, b"-"), b"ok");
}

#[test]
fn requests_that_are_no_requests_have_answers() {
    let monitored = Monitored::start(&[]);
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(100));
    for (request, status) in [
        (long.as_str(), 431),
        (&many, 431),
        ("\u{0}\u{1}\u{2}\r\n\r\n", 400),
        ("GET / FTP/1.1\r\n\r\n", 400),
        ("POST /status HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 405),
        ("DELETE / HTTP/1.1\r\n\r\n", 405),
        ("GET /../../etc/passwd HTTP/1.1\r\n\r\n", 404),
        ("GET /status/<script> HTTP/1.1\r\n\r\n", 404),
        ("GET /metrics?x=y HTTP/1.0\r\n\r\n", 200),
    ] {
        let mut stream = connect(monitored.address);
        // The server may answer before the client has sent all.
        let _ = stream.write_all(request.as_bytes());
        assert_eq!(answer(&mut stream).0, status, "{}", &request[..20]);
    }
    let mut head = connect(monitored.address);
    head.write_all(b"HEAD /metrics HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    head.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert_eq!(monitored.get("/healthz").0, 200);
}

/// A page whose name was changed to mean this machine.
#[test]
fn a_page_of_a_stranger_reads_nothing() {
    let monitored = Monitored::start(&[]);
    for (host, status) in [
        ("stranger.example", 421),
        ("stranger.example:80", 421),
        ("127.0.0.1.stranger.example", 421),
        ("localhost:9464", 200),
        ("127.0.0.1", 200),
        ("[::1]:9464", 200),
        ("web1", 200),
    ] {
        for path in ["/", "/status", "/metrics", "/readyz"] {
            let mut stream = connect(monitored.address);
            write!(stream, "GET {path} HTTP/1.1\r\nhOst: {host}\r\n\r\n").unwrap();
            let (found, content) = answer(&mut stream);
            assert_eq!(found, status, "{host} {path}");
            assert!(found == 200 || content.contains("ask by the IP address"), "{content}");
        }
    }
    let mut two = connect(monitored.address);
    two.write_all(b"GET /status HTTP/1.1\r\nHost: localhost\r\nHost: a.example\r\n\r\n").unwrap();
    assert_eq!(answer(&mut two).0, 421);
}

/// Behind a Unix socket there is a proxy, with the name of a site.
#[test]
fn a_proxy_at_a_unix_socket_may_have_any_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("monitor");
    let url = format!("unix://{}", path.display());
    let _served = super::HANDLER.serve(&["--metrics", &url]);
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET /status HTTP/1.1\r\nHost: status.example\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[test]
fn a_request_in_pieces_is_answered() {
    let monitored = Monitored::start(&[]);
    let mut stream = connect(monitored.address);
    stream.set_nodelay(true).unwrap();
    for byte in b"GET /healthz HTTP/1.1\r\n\r\n" {
        stream.write_all(&[*byte]).unwrap();
    }
    assert_eq!(answer(&mut stream), (200, "ok\n".to_owned()));
}

#[test]
fn the_monitor_ends_with_a_server_that_is_killed() {
    let monitored = Monitored::start(&["--concurrency", "forking"]);
    socketserver_tests::process::send_signal(monitored.served.server.pid(), "KILL").unwrap();
    wait_until("the monitor has ended", || TcpStream::connect(monitored.address).is_err());
}

/// The handler's name is that of its file.
#[test]
fn odd_names_of_handlers_are_escaped_in_labels() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a\"b\\c\n<i>.wat");
    std::fs::write(&path, super::HANDLER.text()).unwrap();
    let address = free();
    let mut command = crate::fixture::host();
    command.arg("serve").arg(&path).args(["--bind", "tcp://127.0.0.1:0"]);
    command.arg("--metrics").arg(format!("tcp://{address}"));
    let server = socketserver_tests::process::Server::start(&mut command, 1).unwrap();
    let (_, metrics) = super::get(address, "/metrics");
    let serving = metrics.lines().find(|line| line.starts_with("socketserver_serving{")).unwrap();
    let name = serving.split('"').nth(1).unwrap();
    assert!(name.starts_with("a\\"), "{serving}");
    assert!(serving.ends_with("\"} 1"), "{serving}");
    drop(server);
}
