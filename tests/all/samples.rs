//! The sample handlers, in each language, and the clients of the notes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use socketserver_tests::build;
use socketserver_tests::process::{Server, TIMEOUT};

use crate::client::{ask, expect, read_to_end};
use crate::fixture::{MODES, serve};

/// The languages in which there is an `upper`.
const LANGUAGES: [&str; 6] = ["rust", "c", "cpp", "go", "python", "javascript"];

/// Handlers that the probes of `conformance` run.
const PROBED: [&str; 21] = [
    "closer",
    "command",
    "decho",
    "dlen",
    "dlife",
    "dupper",
    "dwho",
    "echo",
    "exiter",
    "lifecycle",
    "line",
    "oneshot",
    "silent",
    "sink",
    "upper",
    "whoami",
    "fresh",
    // By the tests of this file.
    "source",
    // By those of `stream_handlers`.
    "idle",
    "wbuf0",
    "wbufd",
];

fn served(language: &str, name: &str) -> Server {
    Server::start(serve().arg(build::guest(language, name).unwrap()), 1).unwrap()
}

/// Everything that answers as `MyTCPHandler` does: the embedded sample, the
/// sample in each language, and CPython itself.
fn uppers() -> Vec<(String, Server)> {
    let mut servers = vec![("embedded".to_owned(), Server::start(&mut serve(), 1).unwrap())];
    servers.extend(LANGUAGES.map(|language| (language.to_owned(), served(language, "upper"))));
    let script = build::root().join("tests/benches/servers/cpython.py");
    match Server::start(Command::new("python3").arg(script).arg("TCPServer"), 1) {
        Ok(server) => servers.push(("CPython".to_owned(), server)),
        Err(error) => println!("CPython is left out: {error:#}"),
    }
    servers
}

#[test]
fn the_client_of_the_notes_gets_its_answer_from_all_of_them() {
    let program = include_str!("../conformance/seed_client.py");
    for (name, server) in uppers() {
        // Typed in as it stands, but for the port.
        let program = program.replace("9999", &server.address().port().to_string());
        let output = Command::new("python3").args(["-c", &program, "hello", "world"]).output();
        let Ok(output) = output else {
            println!("skipped: there is no python3");
            return;
        };
        let printed = String::from_utf8_lossy(&output.stdout);
        assert_eq!(printed, "Sent: hello world\nReceived: HELLO WORLD\n", "{name}");
    }
}

#[test]
fn all_of_them_know_bytes_as_python_does() {
    let every_byte: Vec<u8> = (0..=255).collect();
    let questions: [(&[u8], &[u8]); 6] = [
        (b" \t\r\n\x0b\x0c mixed Case \x0b\x0c\r\n\t ", b"MIXED CASE"),
        (b"\x00a\x00", b"\x00A\x00"),
        (b"\xa0b\x85", b"\xa0B\x85"),
        (b"\x1cc\x1f", b"\x1cC\x1f"),
        (b" \r\n", b""),
        (b"", b""),
    ];
    for (name, server) in uppers() {
        for (question, answer) in questions {
            assert_eq!(ask(&server, question), answer, "{name}: {question:?}");
        }
        assert_eq!(ask(&server, &every_byte), every_byte.to_ascii_uppercase(), "{name}");
        // recv(1024) is a maximum, and what was not read does not harm.
        let answer = ask(&server, &[b'q'; 5000]);
        assert!(!answer.is_empty() && answer.len() <= 1024, "{name}: {} bytes", answer.len());
        assert!(answer.iter().all(|byte| *byte == b'Q'), "{name}");
    }
}

#[test]
fn every_language_serves_clients_at_the_same_time() {
    for language in LANGUAGES {
        let server = served(language, "upper");
        let mut clients: Vec<_> = (0..20).map(|_| server.connect().unwrap()).collect();
        for (number, client) in clients.iter_mut().enumerate().rev() {
            client.write_all(format!("client {number}").as_bytes()).unwrap();
            expect(client, format!("CLIENT {number}").as_bytes());
            assert_eq!(read_to_end(client), b"", "{language}");
        }
    }
}

#[test]
fn a_reset_is_an_error_that_every_language_can_report() {
    for language in LANGUAGES {
        let guest = build::guest(language, "upper").unwrap();
        let mut command = serve();
        command.arg(guest).args(["--concurrency", "sync"]);
        let mut server = Server::start(&mut command, 1).unwrap();
        // One at a time: while this one says nothing, the other comes and goes.
        let first = server.connect().unwrap();
        let mut other = server.connect().unwrap();
        other.write_all(b"x").unwrap();
        crate::client::reset(other);
        drop(first);
        let line = server.wait_for_log("Exception occurred").unwrap();
        assert!(line.contains("connection reset"), "{language}: {line}");
        assert!(line.contains("blame=\"client\""), "{language}: {line}");
        assert_eq!(ask(&server, b"next"), b"NEXT", "{language}");
    }
}

#[test]
fn fresh_nothing_outlives_its_request() {
    let server = served("rust", "fresh");
    for _ in 0..20 {
        assert_eq!(ask(&server, b""), b"instance=1 shared=1\n");
    }
}

#[test]
fn source_sends_as_much_as_it_is_asked_for() {
    let server = served("rust", "source");
    for length in [0, 1, 251, 1 << 20, (3 << 20) + 1] {
        let answer = ask(&server, format!("{length}\n").as_bytes());
        assert_eq!(answer.len(), length);
        assert!(answer.iter().enumerate().all(|(place, byte)| usize::from(*byte) == place % 251));
    }
}

#[test]
fn unread_input_does_not_turn_the_answer_into_a_reset() {
    let server = served("rust", "unread");
    for _ in 0..50 {
        let mut stream = server.connect().unwrap();
        stream.write_all(&[b'u'; 3000]).unwrap();
        let mut answer = Vec::new();
        // A reset would be an error here.
        Read::read_to_end(&mut stream, &mut answer).unwrap();
        assert_eq!(answer, b"OK\n");
    }
}

#[test]
fn whoami_knows_both_addresses() {
    for host in ["127.0.0.1", "[::1]"] {
        let mut command = crate::fixture::host();
        command.arg("serve").arg(build::guest("rust", "whoami").unwrap());
        command.args(["--bind", &format!("tcp://{host}:0")]);
        let server = Server::start(&mut command, 1).unwrap();
        let mut stream = server.connect().unwrap();
        let facts = String::from_utf8(read_to_end(&mut stream)).unwrap();
        let flat = |address: SocketAddr| match address {
            SocketAddr::V4(address) => format!("{} {}", address.ip(), address.port()),
            SocketAddr::V6(address) => format!("{} {} 0 0", address.ip(), address.port()),
        };
        let (here, there) = (flat(stream.local_addr().unwrap()), flat(server.address()));
        let family = if host.starts_with('[') { "AF_INET6" } else { "AF_INET" };
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

/// One component has a handler for each kind of socket, by two `export!` of Rust.
#[test]
fn both_serves_tcp_and_udp_in_one_process() {
    let guest = build::guest("rust", "both").unwrap();
    for mode in MODES {
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
            assert_eq!(ask(&server, line.as_bytes()), line.as_bytes(), "{mode:?}");
            client.send(format!("{round} over UDP").as_bytes()).unwrap();
            let length = client.recv(&mut answer).unwrap();
            assert_eq!(&answer[..length], format!("{round} over UDP").as_bytes(), "{mode:?}");
        }
        assert!(server.stop().unwrap().success());
        assert!(!server.log().iter().any(|line| line.contains("Exception")), "{mode:?}");
    }
}

/// A handler without a test would prove nothing by being built.
#[test]
fn every_handler_has_a_test() {
    let names = |directory: PathBuf| -> Vec<String> {
        let entries = std::fs::read_dir(&directory).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
            .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    let guests = build::root().join("target/guests");
    let mut tested: Vec<&str> = PROBED.to_vec();
    tested.extend(["unread", "both"]);
    // By the tests of `goodbye` and `wasi::guests`.
    tested.extend(["goodbye", "wasip2"]);
    tested.sort_unstable();
    assert_eq!(names(guests.join("rust")), tested);
    // Each of CPython's reference servers has its handler.
    for reference in std::fs::read_dir(build::root().join("tests/conformance/ref")).unwrap() {
        let path = reference.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let is_sample = path.extension().is_some_and(|extension| extension == "py");
        assert!(!is_sample || name == "_common" || tested.contains(&&*name), "{name}");
    }
    for language in &LANGUAGES[1..] {
        let beside: &[&str] = if ["cpp", "go"].contains(language) { &["echo"] } else { &[] };
        let expected: Vec<&str> = beside.iter().copied().chain(["goodbye", "upper"]).collect();
        assert_eq!(names(guests.join(language)), expected, "{language}");
    }
}

/// Go collects garbage, which must not begin while the host hands over what came.
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
