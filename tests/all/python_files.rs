//! Files that were written for CPython's `socketserver`: the same file runs under CPython and
//! here, and both give the same bytes.

mod at_paths;
mod building;
mod cannot;
mod dialing;
mod secured;
mod sending;
mod web;

use std::io::Write;
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use socketserver_tests::build::root;
use socketserver_tests::process::{Server, TIMEOUT};

use crate::client::read_to_end;
use crate::fixture::host;

/// A build takes all of a processor, so one runs at a time.
static BUILDING: Mutex<()> = Mutex::new(());

/// Returns the path of a file of these tests.
fn file(name: &str) -> PathBuf {
    root().join("tests/all/python_files").join(name)
}

/// Serves a file here, with a free port in place of its address.
fn here(name: &str, options: &[&str]) -> Server {
    let building = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    // `build` takes as long as it takes. `Server::start` has a limit.
    let folder = tempfile::tempdir().unwrap();
    let (before, arguments) = match options.iter().position(|option| *option == "--") {
        Some(place) => options.split_at(place),
        None => (options, &[][..]),
    };
    let packages = before.chunks(2).filter(|pair| pair[0] == "--python-path").flatten();
    let mut command = host();
    command.arg("build").arg(file(name)).arg("--output").arg(folder.path().join("built.wasm"));
    command.args(packages).args(arguments);
    let built = command.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let mut command = host();
    command.arg("run").arg(file(name)).args(options);
    let sockets = options.iter().filter(|option| **option == "--bind").count();
    let server = Server::start(&mut command, sockets).unwrap();
    drop(building);
    server
}

/// The same program under CPython and here.
struct Both {
    cpython: Server,
    here: Server,
}

const TCP: [&str; 2] = ["--bind", "tcp://127.0.0.1:0"];
const TCP_AND_UDP: [&str; 4] = ["--bind", "tcp://127.0.0.1:0", "--bind", "udp://127.0.0.1:0"];

impl Both {
    /// Starts both. The options after `--` are the arguments of the program.
    fn start(name: &str, options: &[&str]) -> Both {
        let sockets = options.iter().filter(|option| **option == "--bind").count();
        let arguments = options.split(|option| *option == "--").nth(1).unwrap_or_default();
        let mut cpython = Command::new("python3");
        cpython.arg(file("launch.py")).arg(file(name)).args(arguments);
        let cpython = Server::start_logging_to(Stdio::null(), &mut cpython, sockets).unwrap();
        Both { cpython, here: here(name, options) }
    }

    /// Sends both the same bytes, checks that their answers are equal, and returns them.
    fn answer(&self, request: &[u8]) -> String {
        let [expected, answer] = [&self.cpython, &self.here].map(|server| ask(server, request));
        let request = String::from_utf8_lossy(request);
        assert_eq!(answer, expected, "{request}");
        answer
    }

    /// Sends both the same datagram, checks that their answers are equal, and returns them.
    fn datagram(&self, request: &[u8]) -> Vec<u8> {
        let [expected, answer] = [&self.cpython, &self.here].map(|server| {
            let endpoint = server.endpoints().iter().find_map(|it| it.strip_prefix("udp://"));
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.set_read_timeout(Some(TIMEOUT)).unwrap();
            client.send_to(request, endpoint.unwrap()).unwrap();
            let mut answer = [0; 1000];
            let length = client.recv(&mut answer).unwrap();
            answer[..length].to_vec()
        });
        assert_eq!(answer, expected);
        answer
    }
}

fn ask(server: &Server, request: &[u8]) -> String {
    let mut stream = server.connect().unwrap();
    stream.write_all(request).unwrap();
    let _ = stream.shutdown(Shutdown::Write);
    answer_of(&mut stream)
}

fn answer_of(stream: &mut TcpStream) -> String {
    String::from_utf8(read_to_end(stream)).unwrap()
}

#[test]
fn the_server_of_python_s_documentation_runs_unchanged() {
    let mut both = Both::start("documented.py", &TCP);
    assert_eq!(both.answer(b"hello world\n"), "HELLO WORLD\n");
    assert_eq!(both.answer("größe\n".as_bytes()).len(), "größe\n".len());
    both.here.wait_for_log("INFO guest: \"Received from 127.0.0.1:\"").unwrap();
    both.here.wait_for_log("INFO guest: \"hello world\"").unwrap();
    assert!(both.here.stop().unwrap().success());
    let failed = both.here.log().iter().any(|line| line.contains("Exception"));
    assert!(!failed, "{:#?}", both.here.log());
}

#[test]
fn the_servers_of_the_notes_run_unchanged() {
    for name in ["upper_server.py", "threading_server.py", "property_server.py"] {
        let both = Both::start(&format!("../../conformance/notes/{name}"), &TCP);
        let answer = both.answer(b"oneTwo");
        if name == "property_server.py" {
            assert_eq!(answer, "oneI'm the 'x' property.0TwoI am the 'x' property.0");
        } else {
            assert_eq!(answer, "ONETWO");
        }
    }
}

#[test]
fn an_option_takes_the_place_of_what_the_file_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let url = format!("unix://{}", path.display());
    let server = here("documented.py", &["--bind", &url, "--concurrency", "forking"]);
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    stream.write_all(b"over a path\n").unwrap();
    let mut answer = String::new();
    // Python's client_address of an unnamed Unix socket is '', whose [0] is an IndexError.
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert_eq!(answer, "");
    let mut server = server;
    server.wait_for_log("ERROR guest: \"IndexError: string index out of range\"").unwrap();
    // The file is a server for connections.
    let refused = host()
        .arg("run")
        .arg(file("documented.py"))
        .args(["--bind", "udp://127.0.0.1:0"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(error.contains("its program serves no datagrams"), "{error}");
}

#[test]
fn a_program_that_is_its_own_client_serves_others() {
    let both = Both::start("threaded.py", &TCP);
    let without_number = |server: &Server| {
        let answer = ask(server, b"Hello World 4");
        let (name, rest) = answer.split_once(' ').unwrap();
        format!("{} {rest}", name.trim_end_matches(|c: char| c.is_ascii_digit()))
    };
    let answer = without_number(&both.here);
    assert_eq!(answer, "Thread- (process_request_thread): Hello World 4");
    assert_eq!(answer, without_number(&both.cpython));
}

#[test]
fn a_request_frees_objects_of_the_program_and_does_not_write_to_what_it_only_reads() {
    let both = Both::start("memory.py", &TCP);
    let freed = both.answer(b"freed\n");
    assert!(freed.contains("'in a tuple'") && freed.contains("'the weak reference'"), "{freed}");
    both.answer(b"numbers\n");
    // CPython of the host has other objects that are never freed.
    assert_eq!(ask(&both.here, b"kept\n"), "[True, True, True, True, True, True]");
}

#[test]
fn two_servers_of_one_program_serve_connections_and_datagrams() {
    let mut both = Both::start("both.py", &TCP_AND_UDP);
    assert_eq!(both.answer(b" a line\r\nand more"), " A LINE");
    assert_eq!(both.answer(b""), "");
    assert_eq!(both.datagram(b" a datagram "), b"A DATAGRAM");
    both.here.wait_for_log("INFO guest: \"127.0.0.1 wrote:\"").unwrap();
}

#[test]
fn a_server_keeps_its_overrides_its_state_and_its_arguments() {
    let options = [&TCP[..], &["--", "--greeting", "hi", "--port", "9999"]].concat();
    let mut both = Both::start("overrides.py", &options);
    // CPython's parent remembers the calls of earlier requests, so this is first.
    let hooks = "['get_request', 'verify_request', 'process_request', 'finish_request']";
    assert_eq!(both.answer(b"hooks\n"), format!("{hooks}\nfinished\n"));
    assert_eq!(both.answer(b"state\n"), "hi [1, 2, 3] 1000\nfinished\n");
    assert_eq!(both.answer(b"argv\n"), "['--greeting', 'hi', '--port', '9999']\nfinished\n");
    assert_eq!(both.answer(b"steps\n"), "['setup', 'handle']\nfinished\n");
    assert_eq!(both.answer(b"nodelay\n"), "True\nfinished\n");
    assert_eq!(both.answer(b"timeout\n"), "5\nfinished\n".replace('5', "5.0"));
    assert_eq!(both.answer(b"names\n"), "['Server', 'Handler', '__main__']\nfinished\n");
    assert_eq!(both.answer(b"family\n"), "['AF_INET', 'SOCK_STREAM']\nfinished\n");
    assert_eq!(both.answer(b"attributes\n"), "[7, 9]\nfinished\n");
    // finish() runs, its output is written, and then the override of handle_error.
    assert_eq!(both.answer(b"fail\n"), "finished\nhandle_error LookupError('as asked')\n");
    assert_eq!(both.answer(b"!refused\n"), "");
    assert!(both.here.stop().unwrap().success());
    let failed = both.here.log().iter().any(|line| line.contains("Exception"));
    assert!(!failed, "{:#?}", both.here.log());
}

#[test]
fn mail_and_names_are_served_by_one_program() {
    let both = Both::start("mail_and_names.py", &TCP_AND_UDP);
    let mail = b"EHLO me\r\nRCPT TO:<a@b>\r\nMAIL FROM:<c@d>\r\nRCPT TO:<a@b>\r\nDATA\r\n\
        Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nContent-Type: text/plain; charset=\"iso-8859-1\"\r\n\r\n\
        caf\xe9\r\n.\r\nWHAT\r\nQUIT\r\n";
    let answer = both.answer(mail);
    assert!(
        answer.ends_with("250 c@d ['a@b'] grüße 'café'\r\n500 what?\r\n221 bye\r\n"),
        "{answer}"
    );
    let query = |name: &str| {
        let mut query = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0".to_vec();
        for label in name.split('.') {
            query.push(u8::try_from(label.len()).unwrap());
            query.extend_from_slice(label.as_bytes());
        }
        query.extend_from_slice(b"\0\0\x01\0\x01");
        query
    };
    assert!(both.datagram(&query("two.test")).ends_with(&[192, 0, 2, 2]));
    assert_eq!(both.datagram(&query("none.test"))[..4], *b"\x12\x34\x84\x03");
}

#[test]
fn records_of_logging_arrive_with_their_levels() {
    let mut both = Both::start("log_receiver.py", &TCP);
    let client = "import logging, logging.handlers, sys\n\
        handler = logging.handlers.SocketHandler('127.0.0.1', int(sys.argv[1]))\n\
        root = logging.getLogger()\n\
        root.addHandler(handler)\n\
        root.setLevel(logging.DEBUG)\n\
        logging.getLogger('area').warning('%s of %d', 'a' * 70_000, 2)\n\
        try:\n    1 / 0\n\
        except ZeroDivisionError:\n    logging.exception('failed')\n\
        logging.info('the last')\n";
    let port = both.here.address().port().to_string();
    let status = Command::new("python3").args(["-c", client, &port]).status().unwrap();
    assert!(status.success());
    let line = both.here.wait_for_log("area            WARNING").unwrap();
    assert!(line.contains("WARN guest"), "{line}");
    both.here.wait_for_log("ERROR    failed").unwrap();
    let line = both.here.wait_for_log("ZeroDivisionError: division by zero").unwrap();
    assert!(line.contains("ERROR guest"), "{line}");
    let line = both.here.wait_for_log("the last").unwrap();
    assert!(line.contains("INFO guest"), "{line}");
}
