//! `--metrics` and `--agent`: where operators and programs look at a server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use serde_json::Value;
use socketserver_tests::process::{TIMEOUT, wait_until};

use crate::client::{ask, connect_from, expect, read_to_end};
use crate::fixture::{FIXTURE, Fixture, MODES, Served};

mod agent;
mod browser;
mod certificates;
mod hostile;
mod prometheus;
mod up;

/// A handler that sends `ok`, and fails with a reason that is HTML when the client has sent more.
pub const HANDLER: Fixture<'static> = Fixture {
    handle: "(call $sendall (i32.const 100) (i32.const 2)) (call $recv (i32.const 1))
        (return (call $failed))",
    ..FIXTURE
};

/// A server with a monitor.
pub struct Monitored {
    pub served: Served,
    pub address: SocketAddr,
}

/// Returns a free address.
pub fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Monitored {
    pub fn start(options: &[&str]) -> Monitored {
        let address = free();
        let url = format!("tcp://{address}");
        let served = HANDLER.serve(&[&["--metrics", &url], options].concat());
        Monitored { served, address }
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        get(self.address, path)
    }

    pub fn status(&self) -> Value {
        let status: Value = serde_json::from_str(&self.get("/status").1).unwrap();
        status["handlers"][0].clone()
    }

    /// Connects a client, whose request is in flight then.
    pub fn client(&self) -> TcpStream {
        let mut client = self.served.server.connect().unwrap();
        client.write_all(b"x").unwrap();
        expect(&mut client, b"ok");
        client
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream
}

/// Returns the status and the content of an answer.
pub fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = connect(address);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
    answer(&mut stream)
}

/// Reads an answer to its end.
pub fn answer(stream: &mut TcpStream) -> (u16, String) {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, content) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", content.len())), "{head}");
    (head.split(' ').nth(1).unwrap().parse().unwrap(), content.to_owned())
}

/// Returns the status and the content of the answer of another server, which ends at the end of
/// the connection.
pub fn raw(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = connect(address);
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, content) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), content.to_owned())
}

/// Returns the value of a sample.
pub fn sample(metrics: &str, name: &str) -> Option<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

#[test]
fn the_metrics_say_what_has_become_of_requests_in_each_mode() {
    for mode in MODES {
        let options = [&["--deny", "127.0.0.2"], mode].concat();
        let monitored = Monitored::start(&options);
        assert_eq!(ask(&monitored.served.server, b"-"), b"ok");
        assert_eq!(ask(&monitored.served.server, b"xx"), b"ok");
        let mut refused = connect_from("127.0.0.2", monitored.served.server.address());
        assert_eq!(read_to_end(&mut refused), b"");
        let ended =
            r#"socketserver_requests_total{handler="fixture",blame="guest",reason="error"}"#;
        // A request may end a moment after its answer.
        let mut metrics = String::new();
        wait_until("the requests have ended", || {
            metrics = monitored.get("/metrics").1;
            sample(&metrics, ended) == Some(1.0)
                && sample(&metrics, r#"socketserver_requests_in_flight{handler="fixture"}"#)
                    == Some(0.0)
        });
        for (name, value) in [
            (r#"requests_total{handler="fixture",blame="none",reason="ok"}"#, 1.0),
            (r#"refused_total{handler="fixture",rule="deny"}"#, 1.0),
            (r#"requests_accepted_total{handler="fixture"}"#, 2.0),
            (r#"request_duration_seconds_count{handler="fixture"}"#, 2.0),
            (r#"request_cpu_seconds_count{handler="fixture"}"#, 2.0),
            (r#"request_memory_bytes_bucket{handler="fixture",le="+Inf"}"#, 2.0),
            (r#"sent_bytes_total{handler="fixture"}"#, 4.0),
            (r#"serving{handler="fixture"}"#, 1.0),
            ("ready", 1.0),
        ] {
            let found = sample(&metrics, &format!("socketserver_{name}"));
            assert_eq!(found, Some(value), "{mode:?} {name}\n{metrics}");
        }
    }
}

#[test]
fn the_status_shows_who_is_in_flight_and_what_has_failed_in_each_mode() {
    for mode in MODES {
        let monitored = Monitored::start(mode);
        let mut client = monitored.client();
        let peer = client.local_addr().unwrap().to_string();
        let status = monitored.status();
        assert_eq!(status["in_flight"][0]["peer"], peer.as_str(), "{mode:?}");
        assert_eq!(status["state"], "serving");
        client.write_all(b"x").unwrap();
        assert_eq!(read_to_end(&mut client), b"");
        wait_until("the request has ended", || {
            let status = monitored.status();
            status["in_flight"].as_array().unwrap().is_empty()
                && status["failures"][0]["peer"] == peer.as_str()
        });
        assert_eq!(monitored.status()["failures"][0]["reason"], "error");
    }
}

#[test]
fn a_killed_child_leaves_the_table_of_requests() {
    let monitored = Monitored::start(&["--concurrency", "forking"]);
    let _client = monitored.client();
    let children = socketserver_tests::procfs::children(monitored.served.server.pid()).unwrap();
    let is_child = |pid: &u32| {
        let arguments = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        !arguments.contains("monitor")
    };
    let child = children.into_iter().find(is_child).unwrap();
    socketserver_tests::process::send_signal(child, "KILL").unwrap();
    wait_until("the request has ended", || {
        let status = monitored.status();
        status["in_flight"].as_array().unwrap().is_empty()
            && status["failures"][0]["reason"] == "child"
    });
}

#[test]
fn a_server_that_ends_is_not_ready() {
    let monitored = Monitored::start(&[]);
    assert_eq!(monitored.get("/readyz"), (200, "ready\n".to_owned()));
    assert_eq!(monitored.get("/healthz"), (200, "ok\n".to_owned()));
    let mut client = monitored.client();
    socketserver_tests::process::send_signal(monitored.served.server.pid(), "TERM").unwrap();
    wait_until("the server ends", || monitored.get("/readyz") == (503, "draining\n".to_owned()));
    // It is shown until its last request has ended.
    client.write_all(b"x").unwrap();
    wait_until("the monitor has ended", || TcpStream::connect(monitored.address).is_err());
}

#[test]
fn an_address_that_is_in_use_is_an_error_that_names_the_option() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = crate::fixture::serve();
    command.arg("--metrics").arg(format!("tcp://{}", taken.local_addr().unwrap()));
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("the monitor: cannot bind --metrics tcp://127.0.0.1:"), "{error}");
}
