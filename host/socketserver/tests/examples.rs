//! The examples work as their documentation says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use common::{Gram, connect_to, next, read_all};
use rustix::process::{Pid, Signal, kill_process};
use socket2::{Domain, Socket, Type};
use socketserver::Endpoint;

/// A running example, which is killed when this is dropped.
struct Example {
    child: Child,
    lines: Receiver<String>,
}

impl Example {
    fn start(name: &str, arguments: &[&str]) -> Example {
        // `cargo test` has built the example: this program is in the folder `deps` beside
        // its folder.
        let this = std::env::current_exe().unwrap();
        let program = this.parent().unwrap().with_file_name("examples").join(name);
        let mut child = Command::new(&program)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let lines = lines(child.stdout.take().unwrap());
        Example { child, lines }
    }

    fn line(&self) -> String {
        next(&self.lines)
    }

    /// Returns the endpoint that the example prints.
    fn endpoint(&self) -> Endpoint {
        self.line().strip_prefix("listening ").unwrap().parse().unwrap()
    }

    fn address(&self) -> SocketAddr {
        self.endpoint().address().to_socket_addr().unwrap()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stdout: ChildStdout) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    lines
}

/// Sends `data` and the end of the stream to a server, and returns the answer.
fn talk(address: SocketAddr, data: &[u8]) -> Vec<u8> {
    let mut client = connect_to(address).unwrap();
    client.write_all(data).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    read_all(&mut client)
}

const ANYWHERE: &str = "tcp://127.0.0.1:0";

#[test]
fn upper_answers_in_upper_case_with_each_class() {
    for class in [None, Some("TCPServer"), Some("ThreadingTCPServer"), Some("ForkingTCPServer")] {
        let arguments: Vec<&str> = [ANYWHERE].into_iter().chain(class).collect();
        let example = Example::start("upper", &arguments);
        let address = example.address();
        assert_eq!(talk(address, b"hello\n"), b"HELLO");
        assert_eq!(talk(address, b" again "), b"AGAIN");
    }
}

#[test]
fn echo_has_a_thread_for_each_client() {
    let example = Example::start("echo", &[ANYWHERE]);
    let address = example.address();
    let mut clients: Vec<TcpStream> = (0..5).map(|_| connect_to(address).unwrap()).collect();
    for text in [b"one", b"two"] {
        for client in &mut clients {
            client.write_all(text).unwrap();
            let mut answer = [0; 3];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, text);
        }
    }
    assert_eq!(talk(address, b"hello"), b"hello");
}

#[test]
fn udp_answers_each_datagram_in_upper_case() {
    for endpoint in ["udp://127.0.0.1:0", "udp://[::1]:0"] {
        let example = Example::start("udp", &[endpoint]);
        let client = Gram::new(example.endpoint().address()).connected();
        assert_eq!(client.talk(b"hello\n"), b"HELLO");
        assert_eq!(client.talk(b""), b"");
    }
}

/// Connects from the address `client`, and returns the text that the server sends.
fn welcome(server: SocketAddr, client: &str) -> Vec<u8> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(client.parse().unwrap(), 0).into()).unwrap();
    socket.set_read_timeout(Some(common::WAIT)).unwrap();
    socket.connect(&server.into()).unwrap();
    read_all(&mut TcpStream::from(socket))
}

#[test]
fn access_control_refuses_one_host() {
    let example = Example::start("access_control", &[ANYWHERE]);
    let address = example.address();
    assert_eq!(welcome(address, "127.0.0.1"), b"welcome\n");
    assert_eq!(welcome(address, "127.0.0.2"), b"");
    assert_eq!(welcome(address, "127.0.0.3"), b"welcome\n");

    let example = Example::start("access_control", &[ANYWHERE, "127.0.0.3"]);
    let address = example.address();
    assert_eq!(welcome(address, "127.0.0.2"), b"welcome\n");
    assert_eq!(welcome(address, "127.0.0.3"), b"");
}

#[test]
fn handle_request_serves_until_its_timeout() {
    let example = Example::start("handle_request", &[ANYWHERE, "3600"]);
    let address = example.address();
    for _ in 0..3 {
        assert_eq!(talk(address, b""), b"one at a time\n");
    }
    let mut example = Example::start("handle_request", &[ANYWHERE, "0.05"]);
    assert!(example.line().starts_with("listening tcp://127.0.0.1:"));
    assert_eq!(example.line(), "no client came for 0.05 s");
    assert!(example.child.wait().unwrap().success());
}

#[test]
fn handlers_share_state_in_threads_and_forked_children_have_copies() {
    let answer = |own, all| format!("request {own} of this process, {all} of all processes\n");
    for (class, second) in
        [("ThreadingTCPServer", answer(2, 2)), ("ForkingTCPServer", answer(1, 2))]
    {
        let example = Example::start("shared_state", &[ANYWHERE, class]);
        let address = example.address();
        assert_eq!(talk(address, b""), answer(1, 1).as_bytes(), "{class}");
        assert_eq!(talk(address, b""), second.as_bytes(), "{class}");
    }
}

#[test]
fn a_signal_ends_the_server_after_its_requests() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut example = Example::start("shutdown_by_signal", &[ANYWHERE]);
        let address = example.address();
        let mut client = connect_to(address).unwrap();
        client.write_all(b"hello").unwrap();
        client.read_exact(&mut [0; 5]).unwrap();
        kill_process(Pid::from_child(&example.child), signal).unwrap();
        client.write_all(b"again").unwrap();
        client.read_exact(&mut [0; 5]).unwrap();
        drop(client);
        assert_eq!(example.line(), "stopped with 0 requests in flight");
        assert!(example.child.wait().unwrap().success());
    }
}

#[test]
fn multiplex_serves_two_sockets_in_one_thread() {
    let example = Example::start("multiplex", &[]);
    let [first, second] = [example.address(), example.address()];
    assert_ne!(first, second);
    for _ in 0..2 {
        let mut waiting = [second, first].map(|address| connect_to(address).unwrap());
        assert_eq!(waiting.each_mut().map(read_all), [&b"the second\n"[..], b"the first\n"]);
    }
    let example = Example::start("multiplex", &[ANYWHERE, "tcp://[::1]:0"]);
    assert!(example.address().is_ipv4() && example.address().is_ipv6());
}

#[test]
fn an_example_with_a_wrong_argument_fails() {
    for name in [
        "upper",
        "udp",
        "access_control",
        "handle_request",
        "multiplex",
        "echo",
        "shared_state",
        "shutdown_by_signal",
    ] {
        let mut example = Example::start(name, &["nowhere"]);
        assert!(!example.child.wait().unwrap().success(), "{name}");
        assert!(example.lines.recv().is_err(), "{name} does not listen");
    }
}
