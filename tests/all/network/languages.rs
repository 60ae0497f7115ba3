//! The same conversation about sockets in every language that opens them.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Output;

use serde_json::Value;
use socketserver_tests::build;
use socketserver_tests::process::Server;

use super::{DENIED, Dialer};
use crate::fixture::{host, serve};

/// The languages whose SDK has `network`.
const LANGUAGES: [&str; 6] = ["rust", "c", "cpp", "go", "python", "javascript"];

/// Returns the interfaces of the contract that a handler imports.
fn imports(language: &str, name: &str) -> Vec<String> {
    let handler = build::guest(language, name).unwrap();
    let Output { stdout, .. } = host().arg("inspect").arg(handler).arg("--json").output().unwrap();
    let report: Value = serde_json::from_slice(&stdout).unwrap();
    let names = report["imports"].as_array().unwrap().iter().map(|import| &import["name"]);
    names.filter_map(|name| Some(name.as_str()?.to_owned())).collect()
}

#[test]
fn only_a_handler_that_uses_network_imports_it() {
    for language in LANGUAGES {
        let imports_network = |name| {
            let interfaces = imports(language, name);
            interfaces.iter().any(|name| name.starts_with("socketserver:handler/network"))
        };
        assert!(imports_network("dialer"), "{language}");
        assert!(!imports_network("upper"), "{language}");
    }
}

#[test]
fn only_a_handler_that_sends_files_imports_sendfile() {
    for language in LANGUAGES {
        let sends = |name| {
            let interfaces = imports(language, name);
            interfaces.iter().any(|name| name.starts_with("socketserver:handler/sendfile"))
        };
        assert!(sends("calls"), "{language}");
        for name in ["dialer", "upper"] {
            assert!(!sends(name), "{language}/{name}");
        }
    }
    // The library of C has files only if a handler uses them.
    for name in ["upper", "dupper", "decho"] {
        let interfaces = imports("c", name);
        assert!(!interfaces.iter().any(|name| name.starts_with("wasi:")), "{name}: {interfaces:?}");
    }
}

#[test]
fn the_same_calls_on_sockets_have_the_same_results_in_every_language() {
    for language in LANGUAGES {
        let granted = TcpListener::bind("127.0.0.1:0").unwrap();
        let beside = TcpListener::bind("127.0.0.1:0").unwrap();
        let (to, other) = (granted.local_addr().unwrap(), beside.local_addr().unwrap());
        let (port, grant) = (to.port(), format!("tcp://{to}"));
        // No client of another test has a port of this address.
        let listening = TcpListener::bind("127.7.0.1:0").unwrap().local_addr().unwrap();
        let listen = format!("tcp://{listening}");
        let mut command = serve();
        command.arg(build::guest(language, "dialer").unwrap());
        command.args(["--connect", &grant, "--connect", &listen, "--listen-grant", &listen]);
        command.args(["--connect", "unix:///nowhere", "--resolve", "localhost"]);
        let server = Server::start(&mut command, 1).unwrap();
        let mut client = Dialer::connect(&server);
        println!("{language}");

        // A granted address, and those beside it.
        client.expect(&[
            ("socket inet stream", "ok"),
            ("timeout 5", "ok"),
            (&format!("connect {other}"), DENIED),
            (&format!("connect_ex {other}"), "13"),
            (&format!("connect 127.0.0.2:{port}"), DENIED),
            ("recv", "E socket is not connected"),
            (&format!("connect {to}"), "ok"),
            (&format!("connect {to}"), "E socket is already connected"),
            ("peer", &to.to_string()),
            ("send hello", "5"),
        ]);
        let (mut upstream, peer) = granted.accept().unwrap();
        let mut received = [0; 5];
        upstream.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"hello", "{language}");
        client.expect(&[("name", &peer.to_string())]);

        // One of two sockets is ready.
        client.expect(&[(&format!("dial 127.0.0.1 {port}"), "ok")]);
        let (mut second, _) = granted.accept().unwrap();
        client.expect(&[("select 0", "[] [0, 1] []")]);
        second.write_all(b"second").unwrap();
        client.expect(&[("select 5", "[1] [0, 1] []"), ("recv", "second")]);
        upstream.write_all(b"first").unwrap();
        client.expect(&[("swap", "ok"), ("recv", "first"), ("timeout 0", "ok")]);
        client.expect(&[("recv", "E resource temporarily unavailable"), ("timeout 0.01", "ok")]);
        client.expect(&[("recv", "E timed out"), ("close", "ok"), ("close", "ok")]);
        client.expect(&[("recv", "E bad file descriptor"), ("select 0", "E bad file descriptor")]);
        client.expect(&[("drop", "ok"), ("drop", "ok"), ("select 0", "[] [] []")]);

        // A socket that listens, and a connection to it.
        client.expect(&[
            ("socket inet stream", "ok"),
            (&format!("bind {other}"), DENIED),
            (&format!("bind {listening}"), "ok"),
            ("listen", "ok"),
            (&format!("dial 127.7.0.1 {}", listening.port()), "ok"),
        ]);
        let name = client.ask("name");
        client.expect(&[("swap", "ok"), ("accept", &name), ("peer", &name), ("send hi", "2")]);
        client.expect(&[("drop", "ok"), ("drop", "ok"), ("recv", "hi"), ("recv", "")]);

        // Two Unix sockets, names, and what no grant permits.
        client.expect(&[("pair dgram", "ok"), ("send one", "3"), ("swap", "ok"), ("recv", "one")]);
        client.expect(&[
            ("hostbyname localhost", "127.0.0.1"),
            ("hostbyname 127.0.0.3", "127.0.0.3"),
            ("lookup 127.0.0.1", "127.0.0.1:80"),
            ("lookup ::1", "[::1]:80"),
            ("lookup example.org", DENIED),
            ("hostbyname example.org", DENIED),
            (&format!("dial 127.0.0.2 {port}"), DENIED),
            ("socket inet raw", DENIED),
            ("socket inet dgram", DENIED),
            ("socket inet seqpacket", "E protocol not supported"),
        ]);
    }
}

/// The deadlines of Go's `net.Conn` are set as timeouts of the socket for one call.
#[test]
fn a_deadline_of_go_leaves_the_timeout_as_it_was() {
    let granted = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = granted.local_addr().unwrap();
    let mut command = serve();
    command.arg(build::guest("go", "dialer").unwrap()).args(["--connect", &format!("tcp://{to}")]);
    let server = Server::start(&mut command, 1).unwrap();
    Dialer::connect(&server).expect(&[
        ("socket inet stream", "ok"),
        (&format!("connect {to}"), "ok"),
        ("deadline 0.02", "true"),
        ("timeout 0.01", "ok"),
        ("deadline -1", "true"),
        ("recv", "E timed out"),
    ]);
}
