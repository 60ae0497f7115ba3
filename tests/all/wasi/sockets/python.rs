//! Python's own library on `wasi:sockets`: it connects where that is granted.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, UdpSocket};
use std::thread;

use socketserver_tests::build;
use socketserver_tests::process::{Server, TIMEOUT};

use crate::client::{ask, read_to_end};
use crate::fixture::serve;
use crate::network::{MODES, with};

fn outgoing(options: &[&str]) -> Server {
    let mut command = serve();
    command.arg(build::guest("python", "outgoing").unwrap()).args(options);
    Server::start(&mut command, 1).unwrap()
}

fn said(server: &Server, line: &str) -> String {
    String::from_utf8(ask(server, line.as_bytes())).unwrap()
}

#[test]
fn socket_asyncio_and_http_client_connect_where_that_is_granted() {
    for mode in MODES {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let beside = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = beside.local_addr().unwrap().port();
        // The loop of asyncio wakes itself by a pair of sockets on the loopback, as it does
        // wherever the system has no other pair.
        let grant = format!("tcp://127.0.0.1:{port}");
        let server = outgoing(&with(mode, &["--connect", &grant]));
        let echo = thread::spawn(move || {
            let (mut one, _) = listener.accept().unwrap();
            let data = read_to_end(&mut one);
            one.write_all(&[b"you said ", data.as_slice()].concat()).unwrap();
            drop(one);
            listener
        });
        assert_eq!(said(&server, &format!("by_socket 127.0.0.1 {port}")), "you said hello");
        let listener = echo.join().unwrap();
        let http = thread::spawn(move || {
            let (mut one, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                one.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            assert!(request.starts_with(b"GET /hello HTTP/1.1\r\n"));
            one.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").unwrap();
            one.shutdown(Shutdown::Both).ok();
            listener
        });
        assert_eq!(said(&server, &format!("by_http 127.0.0.1 {port}")), "hi");
        let _listener = http.join().unwrap();
        assert!(said(&server, &format!("timed 127.0.0.1 {port}")).starts_with("TimeoutError"));
        for how in ["by_socket", "by_http"] {
            let answer = said(&server, &format!("{how} 127.0.0.1 {other}"));
            assert!(answer.starts_with("PermissionError"), "{answer}");
        }
        let answer = said(&server, &format!("by_datagram 127.0.0.1 {port}"));
        assert!(answer.starts_with("PermissionError"), "{answer}");
    }
}

#[test]
fn asyncio_connects_where_its_loop_may_wake_itself() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server =
        outgoing(&["--connect", "tcp://127.0.0.1:*", "--listen-grant", "tcp://127.0.0.1:0"]);
    let echo = thread::spawn(move || {
        let (mut one, _) = listener.accept().unwrap();
        let data = read_to_end(&mut one);
        one.write_all(&[b"you said ", data.as_slice()].concat()).unwrap();
    });
    assert_eq!(said(&server, &format!("by_asyncio 127.0.0.1 {port}")), "you said hello");
    echo.join().unwrap();
}

#[test]
fn names_and_datagrams_of_python_are_those_that_are_granted() {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(TIMEOUT)).unwrap();
    let port = peer.local_addr().unwrap().port();
    let grant = format!("udp://127.0.0.1:{port}");
    let server = outgoing(&["--connect", &grant, "--resolve", "localhost"]);
    let answers = thread::spawn(move || {
        let mut data = [0; 16];
        let (length, from) = peer.recv_from(&mut data).unwrap();
        assert_eq!(&data[..length], b"hello");
        peer.send_to(b"answer", from).unwrap();
    });
    assert_eq!(said(&server, &format!("by_datagram 127.0.0.1 {port}")), "answer");
    answers.join().unwrap();
    let found = said(&server, "by_name localhost 80");
    assert!(found.contains("127.0.0.1"), "{found}");
    let found = said(&server, "by_name www.example 80");
    assert!(found.starts_with("PermissionError"), "{found}");
    assert_eq!(said(&server, "by_name 127.0.0.1 80"), "127.0.0.1");
}
