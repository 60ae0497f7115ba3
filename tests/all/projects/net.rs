//! `createServer` of the SDK for JavaScript, beside that of Node.js.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use socketserver_tests::process::{Server, TIMEOUT};

use super::Place;
use crate::client::{expect, read_to_end};

const HANDLER: &str = include_str!("net.js");

/// The module of Node.js, which listens at a free port, and prints it.
const NODE: &str = "import net from 'node:net';
export function createServer(...values) {
  const server = net.createServer(...values);
  const listen = server.listen.bind(server);
  server.listen = () => listen(0, '127.0.0.1', () => console.log(server.address().port));
  return server;
}
";

/// A program of Node.js that ends with the test.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn node(place: &Place) -> (Node, SocketAddr) {
    place.write("node/net.mjs", NODE);
    let handler = HANDLER.replace("socketserver/net.js", "./net.mjs");
    place.write("node/handler.mjs", &handler);
    let mut command = Command::new("node");
    command.arg(place.path("node/handler.mjs")).stdout(Stdio::piped());
    let mut node = Node(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(node.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (node, SocketAddr::from(([127, 0, 0, 1], line.trim().parse().unwrap())))
}

/// Sends the mode and then each part of the data, waits for an answer to each if `each`, and returns
/// what the server sends.
fn talk(address: SocketAddr, mode: &str, parts: &[&[u8]], each: bool) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all(mode.as_bytes()).unwrap();
    expect(&mut stream, b">");
    for part in parts {
        stream.write_all(part).unwrap();
        if each {
            stream.read_exact(&mut [0]).unwrap();
        }
    }
    // The server decides when that one ends.
    if mode != "late" {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let answer = read_to_end(&mut stream);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn events_and_methods_of_a_socket_are_those_of_node() {
    let place = Place::new();
    place.write("handler.js", HANDLER);
    let mut serve = place.command(&["serve", "handler.js", "--bind", "tcp://127.0.0.1:0"]);
    let server = Server::start(&mut serve, 1).unwrap();
    let (_node, node) = node(&place);
    let long = vec![b'l'; 300_000];
    let cases: [(&str, &[&[u8]], bool, &str); 8] = [
        ("upper", &[b"hello ", "w\u{f6}rld".as_bytes()], false, "HELLO W\u{d6}RLD"),
        // Letters that come apart, one that is cut off, and bytes that are none.
        (
            "text",
            &[b"a", b"\xf0\x9f", b"\x98\x80\xff", b"\xe2\x82"],
            false,
            "61,1f600,fffd,fffd string ",
        ),
        ("hex", &[b"\x00\x7f"], false, "007f\u{fffd}"),
        (
            "events",
            &[b"1"],
            true,
            "written,data,once,end,other true,false,1 writeOnly true false false",
        ),
        ("bye", &[], false, "bye"),
        ("late", &[], false, "late 30"),
        ("facts", &[], false, "127.0.0.1 IPv4 number true,true,true 5 false open"),
        ("count", &[&long, b"x"], false, ""),
    ];
    for (mode, parts, each, expected) in cases {
        let here = talk(server.address(), mode, parts, each);
        assert_eq!(here, talk(node, mode, parts, each), "{mode}");
        assert!(here.contains(expected), "{mode}: {here}");
    }
}

#[test]
fn an_error_that_nobody_listens_for_is_the_error_of_the_request() {
    let place = Place::new();
    let handler = "import { createServer } from 'socketserver/net.js';

export const streamRequest = createServer((socket) => {
  socket.on('close', (hadError) => console.log(`closed ${hadError}`));
  socket.on('data', (data) => {
    if (`${data}` === 'heard') socket.on('error', ({ code }) => console.log(`heard ${code}`));
    if (`${data}` === 'throw') throw new Error('as asked');
    socket.end('x');
    socket.write('y');
  });
});
";
    place.write("handler.js", handler);
    let mut serve = place.command(&["serve", "handler.js", "--bind", "tcp://127.0.0.1:0"]);
    let mut server = Server::start(&mut serve, 1).unwrap();
    for (data, lines) in [
        ("heard", &["heard ERR_STREAM_WRITE_AFTER_END", "closed true"][..]),
        ("throw", &["Error: as asked"]),
        ("other", &["ERR_STREAM_WRITE_AFTER_END: write after end"]),
    ] {
        crate::client::ask(&server, data.as_bytes());
        for line in lines {
            server.wait_for_log(line).unwrap();
        }
    }
}
