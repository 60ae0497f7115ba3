//! TCP clients of the tests.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use socket2::SockRef;
use socketserver_tests::build;
use socketserver_tests::process::Server;

use crate::fixture::serve;

/// Connects, sends `data`, shuts the sending side down, and reads to the end.
pub fn ask(server: &Server, data: &[u8]) -> Vec<u8> {
    let mut stream = server.connect().unwrap();
    stream.write_all(data).unwrap();
    // The server may have answered and closed the connection already.
    let _ = stream.shutdown(Shutdown::Write);
    read_to_end(&mut stream)
}

/// Reads to the end of the stream. A reset also is an end.
pub fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}"),
    }
    answer
}

/// Reads as many bytes as `expected` has, and checks that they are equal.
pub fn expect(stream: &mut TcpStream, expected: &[u8]) {
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, expected);
}

/// Resets the connection.
pub fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// Serves the sample `echo`, which sends all data back.
pub fn echo(options: &[&str]) -> Server {
    Server::start(serve().arg(build::guest("rust", "echo").unwrap()).args(options), 1).unwrap()
}

/// Connects a client of `echo`, and waits until its request is in flight.
pub fn in_flight(server: &Server) -> TcpStream {
    let mut stream = server.connect().unwrap();
    stream.write_all(b"1").unwrap();
    expect(&mut stream, b"1");
    stream
}

/// Connects to `address` from the address `source`, which is any in 127.0.0.0/8.
pub fn connect_from(source: &str, address: std::net::SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let source = std::net::SocketAddr::new(source.parse().unwrap(), 0);
    socket.bind(&source.into()).unwrap();
    socket.connect(&address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(socketserver_tests::process::TIMEOUT)).unwrap();
    stream
}
