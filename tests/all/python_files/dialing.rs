//! Sockets that the handlers of unmodified files open, as far as they are granted.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::thread;

use socketserver_tests::process::{Server, TIMEOUT};

use super::{Both, TCP, answer_of, ask, here};
use crate::client::read_to_end;

const FILE: &str = "dials.py";

/// Serves `count` connections in a thread, each by `serve`. Returns the port.
fn peer(count: usize, serve: fn(TcpStream)) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || listener.incoming().take(count).for_each(|one| serve(one.unwrap())));
    port
}

fn says_you_said(mut stream: TcpStream) {
    let data = read_to_end(&mut stream);
    // A client that only looks whether it is connected may be gone.
    let _ = stream.write_all(&[b"you said ", data.as_slice()].concat());
}

fn speaks_http(mut stream: TcpStream) {
    let mut line = String::new();
    let mut head = BufReader::new(stream.try_clone().unwrap());
    while line != "\r\n" {
        line.clear();
        head.read_line(&mut line).unwrap();
    }
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
        .unwrap();
    let _ = stream.shutdown(Shutdown::Write);
}

/// Says nothing until the other end closes.
fn says_nothing(mut stream: TcpStream) {
    read_to_end(&mut stream);
}

/// Answers datagrams. Returns the port.
fn datagrams() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut data = [0; 16];
        while let Ok((length, from)) = socket.recv_from(&mut data) {
            socket.send_to(&[b"answer to ", &data[..length]].concat(), from).unwrap();
        }
    });
    port
}

/// Sends a line, and waits until the handler says that it is ready, and at which port. The
/// reference server chooses the ports of all its sockets.
fn ready(server: &Server, line: &str) -> (TcpStream, u16) {
    let mut stream = server.connect().unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    let (mut ready, mut byte) = (String::new(), [0]);
    while !ready.ends_with('\n') {
        stream.read_exact(&mut byte).unwrap();
        ready.push(byte[0].into());
    }
    let port = ready.trim_end().strip_prefix("ready ").unwrap().parse().unwrap();
    (stream, port)
}

#[test]
fn a_file_opens_sockets_as_in_cpython_where_that_is_granted() {
    let echo = peer(100, says_you_said);
    let web = peer(100, speaks_http);
    let silent = peer(100, says_nothing);
    let udp = datagrams();
    // Two ports that are free: one refuses, and the handler listens at the other one.
    let [closed, listening] =
        [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
    let grants: Vec<String> = [echo, web, silent, closed]
        .iter()
        .flat_map(|port| ["--connect".to_owned(), format!("tcp://127.0.0.1:{port}")])
        .chain(["--connect".to_owned(), format!("udp://127.0.0.1:{udp}")])
        .chain(["--listen-grant".to_owned(), format!("tcp://127.0.0.1:{listening}")])
        .chain(["--connect", "unix:///nowhere", "--resolve", "localhost"].map(str::to_owned))
        .collect();
    for mode in ["threading", "forking"] {
        let mut options: Vec<&str> = TCP.to_vec();
        options.extend(grants.iter().map(String::as_str));
        options.extend(["--concurrency", mode]);
        let both = Both::start(FILE, &options);
        for (line, expected) in [
            (format!("talk 127.0.0.1 {echo}"), "you said hello"),
            (format!("talk localhost {echo}"), "you said hello"),
            (format!("flags 127.0.0.1 {echo}"), "b'you' b'you said hello' b'' True 1 20.0"),
            (format!("http 127.0.0.1 {web}"), "hi"),
            (format!("url 127.0.0.1 {web}"), "hi"),
            (format!("datagram 127.0.0.1 {udp}"), "b'answer to hello' True"),
            (format!("shared 127.0.0.1 {udp}"), "answer to hello"),
            (format!("later 127.0.0.1 {echo}"), "True True True"),
            (format!("refused 127.0.0.1 {closed}"), "ECONNREFUSED"),
            (format!("talk 127.0.0.1 {closed}"), "ConnectionRefusedError ECONNREFUSED"),
            (format!("timed 127.0.0.1 {silent}"), "TimeoutError None"),
            ("pair - 0".to_owned(), "to itself"),
            (format!("loop 127.0.0.1 {echo}"), "you said hello"),
            ("names localhost 80".to_owned(), "127.0.0.1"),
            ("names 127.0.0.3 80".to_owned(), "127.0.0.3"),
        ] {
            assert_eq!(both.answer(format!("{line}\n").as_bytes()), expected, "{line} {mode}");
        }
        for (server, bound) in [(&both.cpython, None), (&both.here, Some(listening))] {
            // Both directions, and the end of each.
            let (mut stream, _) = ready(server, &format!("forward 127.0.0.1 {echo}"));
            stream.write_all(b"through").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            assert_eq!(answer_of(&mut stream), "you said through", "{mode}");

            let (mut stream, port) = ready(server, &format!("listen 127.0.0.1 {listening}"));
            let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
            client.write_all(b"shout").unwrap();
            assert_eq!(answer_of(&mut client), "SHOUT", "{mode}");
            assert_eq!(answer_of(&mut stream), "", "{mode}");
            assert_eq!(bound.unwrap_or(port), port, "{mode}");
        }
    }
}

#[test]
fn a_file_opens_nothing_that_is_not_granted() {
    let granted = peer(1, says_you_said);
    let beside = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let grant = format!("tcp://127.0.0.1:{granted}");
    let mut server = here(FILE, &[TCP[0], TCP[1], "--connect", &grant]);
    for line in [
        format!("talk 127.0.0.1 {beside}"),
        format!("talk 127.0.0.2 {granted}"),
        format!("talk www.example {granted}"),
        format!("listen 127.0.0.1 {beside}"),
        format!("datagram 127.0.0.1 {granted}"),
        format!("shared 127.0.0.1 {granted}"),
        format!("url 127.0.0.1 {beside}"),
    ] {
        let answer = ask(&server, format!("{line}\n").as_bytes());
        let denied = ["PermissionError EACCES", "URLError None"].contains(&answer.as_str());
        assert!(denied, "{line}: {answer}");
    }
    let line = server.wait_for_log(&format!("--connect tcp://127.0.0.1:{beside}")).unwrap();
    assert!(line.contains("denied"), "{line}");
    assert_eq!(ask(&server, format!("talk 127.0.0.1 {granted}\n").as_bytes()), "you said hello");
    let server = here(FILE, &TCP);
    for line in ["pair - 0", "talk 127.0.0.1 80", "names www.example 80"] {
        let answer = ask(&server, format!("{line}\n").as_bytes());
        assert_eq!(answer, "PermissionError EACCES", "{line}");
    }
}
