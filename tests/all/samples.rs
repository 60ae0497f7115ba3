//! The sample handlers in each language.
//!
//! The tests of one language have names that begin with `samples::LANGUAGE::`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use serde_json::Value;
use socketserver_tests::build::{self, LANGUAGES};
use socketserver_tests::process::{Server, TIMEOUT};

use crate::client::{ask, expect, read_to_end, reset};
use crate::fixture::{MODES, host, serve};

/// Defines a module with these tests for each implementation of `upper`.
macro_rules! test_each {
    ([$($implementation:ident)*] $tests:tt) => {
        $(test_each! { @ $implementation $tests })*
    };
    (@ $implementation:ident { $($test:ident)* }) => {
        mod $implementation {
            $(
                #[test]
                fn $test() {
                    super::$test(stringify!($implementation));
                }
            )*
        }
    };
}

/// Defines the modules for the languages of `upper`, and their list.
macro_rules! test_languages {
    ([$($language:ident)*] $tests:tt) => {
        const TESTED: &[&str] = &[$(stringify!($language)),*];
        test_each! { [$($language)*] $tests }
    };
}

test_languages! {
    [rust c cpp go python javascript typescript] {
        upper_answers_the_client_of_python_s_documentation
        upper_treats_bytes_as_python_does
        upper_serves_clients_at_the_same_time
        upper_reports_a_reset
        echo_sends_all_data_back_until_the_client_has_finished
        echo_reports_a_reset_and_serves_the_next_client
    }
}

// The references of the tests above: the embedded sample, and CPython itself.
test_each! {
    [embedded cpython] {
        upper_answers_the_client_of_python_s_documentation
        upper_treats_bytes_as_python_does
    }
}

fn served(language: &str, name: &str) -> Server {
    Server::start(serve().arg(build::guest(language, name).unwrap()), 1).unwrap()
}

/// Starts a server with an implementation of `MyTCPHandler`. Returns `None` if this is
/// CPython and cannot be started.
fn upper(implementation: &str) -> Option<Server> {
    match implementation {
        "embedded" => Some(Server::start(&mut serve(), 1).unwrap()),
        "cpython" => {
            let script = build::root().join("tests/benches/servers/cpython.py");
            let server = Server::start(Command::new("python3").arg(script).arg("TCPServer"), 1);
            server.inspect_err(|error| println!("skipped: {error:#}")).ok()
        }
        language => Some(served(language, "upper")),
    }
}

fn upper_answers_the_client_of_python_s_documentation(implementation: &str) {
    let Some(server) = upper(implementation) else { return };
    // The program is unchanged, except for the port.
    let program = include_str!("../conformance/notes/upper_client.py");
    let program = program.replace("9999", &server.address().port().to_string());
    let output = Command::new("python3").args(["-c", &program, "hello", "world"]).output();
    let Ok(output) = output else {
        println!("skipped: there is no python3");
        return;
    };
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(printed, "Sent: hello world\nReceived: HELLO WORLD\n");
}

fn upper_treats_bytes_as_python_does(implementation: &str) {
    let Some(server) = upper(implementation) else { return };
    let requests: [(&[u8], &[u8]); 6] = [
        (b" \t\r\n\x0b\x0c mixed Case \x0b\x0c\r\n\t ", b"MIXED CASE"),
        (b"\x00a\x00", b"\x00A\x00"),
        (b"\xa0b\x85", b"\xa0B\x85"),
        (b"\x1cc\x1f", b"\x1cC\x1f"),
        (b" \r\n", b""),
        (b"", b""),
    ];
    for (request, reply) in requests {
        assert_eq!(ask(&server, request), reply, "{request:?}");
    }
    let every_byte: Vec<u8> = (0..=255).collect();
    assert_eq!(ask(&server, &every_byte), every_byte.to_ascii_uppercase());
    // recv(1024) returns at most 1024 bytes. Unread data does not change the reply.
    let reply = ask(&server, &[b'q'; 5000]);
    assert!(!reply.is_empty() && reply.len() <= 1024, "{} bytes", reply.len());
    assert!(reply.iter().all(|byte| *byte == b'Q'));
}

fn upper_serves_clients_at_the_same_time(language: &str) {
    let server = served(language, "upper");
    let mut clients: Vec<_> = (0..20).map(|_| server.connect().unwrap()).collect();
    for (number, client) in clients.iter_mut().enumerate().rev() {
        client.write_all(format!("client {number}").as_bytes()).unwrap();
        expect(client, format!("CLIENT {number}").as_bytes());
        assert_eq!(read_to_end(client), b"");
    }
}

fn upper_reports_a_reset(language: &str) {
    let mut command = serve();
    command.arg(build::guest(language, "upper").unwrap()).args(["--concurrency", "sync"]);
    let mut server = Server::start(&mut command, 1).unwrap();
    // The server serves one client at a time: the second client resets its connection
    // while the server waits for the first.
    let first = server.connect().unwrap();
    let mut second = server.connect().unwrap();
    second.write_all(b"x").unwrap();
    reset(second);
    drop(first);
    let line = server.wait_for_log("Exception occurred").unwrap();
    assert!(line.contains("connection reset"), "{line}");
    assert!(line.contains("blame=\"client\""), "{line}");
    assert_eq!(ask(&server, b"next"), b"NEXT");
}

fn echo_sends_all_data_back_until_the_client_has_finished(language: &str) {
    let server = served(language, "echo");
    let every_byte: Vec<u8> = (0..=255).collect();
    let long = b"e".repeat(70_000);
    for data in [&every_byte[..], b"", b"\r\n", &long] {
        assert_eq!(ask(&server, data), data, "{language}");
    }
    // Each part comes back before the client sends the next one, and the end of the request is the
    // client's.
    let mut client = server.connect().unwrap();
    for part in [&b"one"[..], b" ", b"two\n"] {
        client.write_all(part).unwrap();
        expect(&mut client, part);
    }
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut client), b"", "{language}");
}

fn echo_reports_a_reset_and_serves_the_next_client(language: &str) {
    let mut server = served(language, "echo");
    let mut client = server.connect().unwrap();
    client.write_all(b"begun").unwrap();
    expect(&mut client, b"begun");
    reset(client);
    let line = server.wait_for_log("Exception occurred").unwrap();
    assert!(line.contains("connection reset"), "{line}");
    assert!(line.contains("blame=\"client\""), "{line}");
    assert_eq!(ask(&server, b"next"), b"next");
    assert!(server.stop().unwrap().success());
}

/// Returns the samples in `guests/`, as pairs of language and name.
fn samples() -> Vec<(&'static str, String)> {
    let folders = entries(&build::root().join("guests"));
    let mut samples = Vec::new();
    for folder in folders.iter().filter(|path| path.is_dir()) {
        let name = stem(folder);
        for (language, extension) in LANGUAGES {
            if folder.join(&name).with_extension(extension).is_file() {
                samples.push((language, name.clone()));
            }
        }
    }
    samples
}

/// Every implementation of `dupper` treats bytes as Python does, and serves each datagram.
#[test]
fn dupper_treats_bytes_as_python_does() {
    let implementations: Vec<_> =
        samples().into_iter().filter(|(_, name)| name == "dupper").collect();
    assert_eq!(implementations.len(), LANGUAGES.len(), "{implementations:?}");
    for (language, name) in implementations {
        let mut command = host();
        command.arg("serve").arg(build::guest(language, &name).unwrap());
        let server = Server::start(command.args(["--bind", "udp://127.0.0.1:0"]), 1).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(TIMEOUT)).unwrap();
        client.connect(server.endpoints()[0].strip_prefix("udp://").unwrap()).unwrap();
        for (datagram, reply) in [
            (&b" \t\r\n\x0b\x0c mixed Case \x0b\x0c\r\n\t "[..], &b"MIXED CASE"[..]),
            (b"\x00a\xa0b\x85c\x1f", b"\x00A\xa0B\x85C\x1f"),
            (b"", b""),
        ] {
            client.send(datagram).unwrap();
            let mut received = [0; 64];
            let length = client.recv(&mut received).unwrap();
            assert_eq!(&received[..length], reply, "{language}");
        }
    }
}

/// A `DatagramRequestHandler` sends what was written to its file as one datagram, also if that
/// is nothing.
#[test]
fn decho_sends_each_datagram_back_in_every_language() {
    let implementations: Vec<_> =
        samples().into_iter().filter(|(_, name)| name == "decho").collect();
    assert!(implementations.len() >= 5, "{implementations:?}");
    for (language, name) in implementations {
        for mode in MODES {
            let mut command = host();
            command.arg("serve").arg(build::guest(language, &name).unwrap()).args(mode);
            let server = Server::start(command.args(["--bind", "udp://[::1]:0"]), 1).unwrap();
            let client = UdpSocket::bind("[::1]:0").unwrap();
            client.set_read_timeout(Some(TIMEOUT)).unwrap();
            client.connect(server.endpoints()[0].strip_prefix("udp://").unwrap()).unwrap();
            let every_byte: Vec<u8> = (0..=255).collect();
            for datagram in [&every_byte[..], b"", b"one\ntwo\n", &[b'l'; 8000]] {
                client.send(datagram).unwrap();
                let mut received = [0; 9000];
                let length = client.recv(&mut received).unwrap();
                assert_eq!(&received[..length], datagram, "{language} {mode:?}");
            }
        }
    }
}

/// Every sample is served, including a new one that no other test names: it must load, end
/// the request of a client without a trap, and leave the server able to stop.
#[test]
fn every_sample_serves_a_client() {
    let samples = samples();
    assert!(samples.len() >= 13, "{samples:?}");
    for (language, name) in samples {
        let sample = format!("{language}/{name}");
        let component = build::guest(language, &name).unwrap();
        let inspected = host().args(["inspect", "--json"]).arg(&component).output().unwrap();
        let facts: Value = serde_json::from_slice(&inspected.stdout).unwrap();
        assert_eq!(facts["servable"], true, "{sample}: {facts}");
        let worlds = facts["worlds"].to_string();
        let [_, threads, .., fibers, in_workers] = MODES;
        for mode in [threads, fibers, in_workers] {
            sample_serves_a_client(&format!("{sample} {mode:?}"), &component, &worlds, mode);
        }
    }
}

fn sample_serves_a_client(sample: &str, component: &Path, worlds: &str, mode: &[&str]) {
    let mut command = host();
    command.arg("serve").arg(component).args(["--log-format", "json"]).args(mode);
    let mut sockets = 0;
    for (world, scheme) in [("stream-handler", "tcp"), ("datagram-handler", "udp")] {
        if worlds.contains(world) {
            command.args(["--bind", &format!("{scheme}://127.0.0.1:0")]);
            sockets += 1;
        }
    }
    let mut server = Server::start(&mut command, sockets).unwrap();
    for endpoint in server.endpoints() {
        let (scheme, address) = endpoint.split_once("://").unwrap();
        let address: SocketAddr = address.parse().unwrap();
        if scheme == "udp" {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.send_to(b"hello world\n", address).unwrap();
        } else {
            let mut client = TcpStream::connect(address).unwrap();
            client.set_read_timeout(Some(TIMEOUT)).unwrap();
            client.write_all(b"hello world\n").unwrap();
            // This fails if the server has already closed the connection.
            let _ = client.shutdown(Shutdown::Write);
            read_to_end(&mut client);
        }
    }
    // A graceful stop serves the datagram, too.
    assert!(server.stop().unwrap().success(), "{sample}");
    for line in server.log() {
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        let reason = line.get("reason").and_then(Value::as_str);
        // A sample may reject what this client sends, but may not crash.
        assert!(matches!(reason, None | Some("error")), "{sample}: {line}");
    }
}

#[test]
fn nothing_outlives_its_request() {
    let server = served("rust", "fresh");
    for _ in 0..20 {
        assert_eq!(ask(&server, b""), b"instance=1 shared=1\n");
    }
}

#[test]
fn source_sends_as_many_bytes_as_the_client_requests() {
    let server = served("rust", "source");
    for length in [0, 1, 251, 1 << 20, (3 << 20) + 1] {
        let answer = ask(&server, format!("{length}\n").as_bytes());
        assert_eq!(answer.len(), length);
        assert!(answer.iter().enumerate().all(|(place, byte)| usize::from(*byte) == place % 251));
    }
}

#[test]
fn unread_input_does_not_turn_the_reply_into_a_reset() {
    let server = served("rust", "unread");
    for _ in 0..50 {
        let mut stream = server.connect().unwrap();
        stream.write_all(&[b'u'; 3000]).unwrap();
        let mut answer = Vec::new();
        // A reset would be an error of this call.
        Read::read_to_end(&mut stream, &mut answer).unwrap();
        assert_eq!(answer, b"OK\n");
    }
}

#[test]
fn whoami_sends_the_addresses_of_both_ends() {
    for ip in ["127.0.0.1", "[::1]"] {
        let mut command = host();
        command.arg("serve").arg(build::guest("rust", "whoami").unwrap());
        command.args(["--bind", &format!("tcp://{ip}:0")]);
        let server = Server::start(&mut command, 1).unwrap();
        let mut stream = server.connect().unwrap();
        let facts = String::from_utf8(read_to_end(&mut stream)).unwrap();
        let flat = |address: SocketAddr| match address {
            SocketAddr::V4(address) => format!("{} {}", address.ip(), address.port()),
            SocketAddr::V6(address) => format!("{} {} 0 0", address.ip(), address.port()),
        };
        let (here, there) = (flat(stream.local_addr().unwrap()), flat(server.address()));
        let family = if ip.starts_with('[') { "AF_INET6" } else { "AF_INET" };
        for fact in [
            format!("family={family}\n"),
            "type=SOCK_STREAM\n".to_owned(),
            format!("sockname={there}\n"),
            format!("server_address={there}\n"),
            format!("peername={here}\n"),
            format!("client_address={here}\n"),
            "timeout=None\n".to_owned(),
        ] {
            assert!(facts.contains(&fact), "{fact} in {facts}");
        }
    }
}

/// The component has a handler for each kind of socket.
#[test]
fn both_serves_tcp_and_udp_in_one_process() {
    for (language, mode) in
        ["rust", "c", "cpp", "go"].iter().flat_map(|one| MODES.map(|mode| (one, mode)))
    {
        let guest = build::guest(language, "both").unwrap();
        let mut command = serve();
        command.arg(&guest).args(["--bind", "udp://127.0.0.1:0"]).args(mode);
        let mut server = Server::start(&mut command, 2).unwrap();
        let udp: SocketAddr =
            server.endpoints()[1].strip_prefix("udp://").unwrap().parse().unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(udp).unwrap();
        client.set_read_timeout(Some(TIMEOUT)).unwrap();
        let mut answer = [0; 100];
        for round in 0..3 {
            let line = format!("{round} over TCP\nno end");
            assert_eq!(ask(&server, line.as_bytes()), line.as_bytes(), "{language} {mode:?}");
            client.send(format!("{round} over UDP").as_bytes()).unwrap();
            let length = client.recv(&mut answer).unwrap();
            assert_eq!(&answer[..length], format!("{round} over UDP").as_bytes(), "{mode:?}");
        }
        assert!(server.stop().unwrap().success());
        assert!(!server.log().iter().any(|line| line.contains("Exception")), "{mode:?}");
    }
}

/// Every handler in `tests/guests` has a test that names it. A handler that is only built
/// tests nothing.
#[test]
fn every_handler_for_tests_is_named_by_a_test() {
    let mut tests = String::new();
    read_all(&build::root().join("tests/all"), "rs", &mut tests);
    read_all(&build::root().join("tests/conformance/probes"), "py", &mut tests);
    let handlers: BTreeSet<String> =
        entries(&build::root().join("tests/guests")).iter().map(|path| stem(path)).collect();
    assert!(handlers.contains("goodbye"), "{handlers:?}");
    for name in handlers {
        let named = tests.contains(&format!("\"{name}\""));
        assert!(named, "no test in tests/all and no probe names the handler `{name}`");
    }
}

/// Each of CPython's reference servers has a handler of the same name in Rust.
#[test]
fn every_reference_server_has_its_handler() {
    let root = build::root();
    for reference in entries(&root.join("tests/conformance/ref")) {
        let name = stem(&reference);
        if name.starts_with('_') || reference.extension().is_none_or(|end| end != "py") {
            continue;
        }
        let file = format!("{name}.rs");
        let paths =
            [root.join("guests").join(&name).join(&file), root.join("tests/guests").join(&file)];
        assert!(paths.iter().any(|path| path.is_file()), "{name} is none of {paths:?}");
    }
}

/// The tests of this file run in every language of the sample `upper`.
#[test]
fn every_language_of_upper_is_tested() {
    let mut extensions = BTreeSet::new();
    for path in entries(&build::root().join("guests/upper")).iter().filter(|path| path.is_file()) {
        extensions.insert(path.extension().unwrap().to_string_lossy().into_owned());
    }
    extensions.remove("wat");
    assert_eq!(extensions, BTreeSet::from(LANGUAGES.map(|(_, extension)| extension.to_owned())));
    assert_eq!(TESTED, LANGUAGES.map(|(language, _)| language));
}

/// Returns the sorted paths in a folder.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| !path.ends_with("__pycache__") && !path.ends_with("target"));
    paths.sort();
    paths
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

/// Appends the files with an extension, in a folder and its subfolders, to `text`.
fn read_all(folder: &Path, extension: &str, text: &mut String) {
    for path in entries(folder) {
        if path.is_dir() {
            read_all(&path, extension, text);
        } else if path.extension().is_some_and(|end| end == extension) {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

/// A garbage collection of Go must not start while the host allocates memory in the guest.
#[test]
fn go_and_cpp_echo_more_than_their_memory() {
    const PART: usize = 1 << 20;
    for language in ["go", "cpp"] {
        let server = served(language, "echo");
        let mut stream = server.connect().unwrap();
        let mut sending = stream.try_clone().unwrap();
        let sender = thread::spawn(move || {
            for number in 0..100 {
                sending.write_all(&vec![number; PART]).unwrap();
            }
            sending.shutdown(Shutdown::Write).unwrap();
        });
        let mut part = vec![0; PART];
        for number in 0..100 {
            stream.read_exact(&mut part).unwrap();
            assert!(part.iter().all(|byte| *byte == number), "{language}: part {number}");
        }
        assert_eq!(read_to_end(&mut stream), b"", "{language}");
        sender.join().unwrap();
    }
}
