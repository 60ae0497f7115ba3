//! What clients do.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use socket2::SockRef;
use socketserver_tests::build;
use socketserver_tests::process::Server;

use crate::fixture::serve;

/// Sends `data`, says that there is no more, and reads to the end.
pub fn ask(server: &Server, data: &[u8]) -> Vec<u8> {
    let mut stream = server.connect().unwrap();
    stream.write_all(data).unwrap();
    // It fails if the server has answered and gone already.
    let _ = stream.shutdown(Shutdown::Write);
    read_to_end(&mut stream)
}

/// Reads to the end of the stream; a reset is an end too.
pub fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}"),
    }
    answer
}

/// Reads exactly as many bytes as `expected` has, and compares.
pub fn expect(stream: &mut TcpStream, expected: &[u8]) {
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, expected);
}

/// Closes with a reset.
pub fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// The handler that sends everything back, with these options.
pub fn echo(options: &[&str]) -> Server {
    Server::start(serve().arg(build::guest("rust", "echo").unwrap()).args(options), 1).unwrap()
}

/// A client of `echo` whose request is in flight.
pub fn in_flight(server: &Server) -> TcpStream {
    let mut stream = server.connect().unwrap();
    stream.write_all(b"1").unwrap();
    expect(&mut stream, b"1");
    stream
}

/// A client of the server at `address` that has one of this machine's other
/// addresses.
pub fn connect_from(source: &str, address: std::net::SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let source = std::net::SocketAddr::new(source.parse().unwrap(), 0);
    socket.bind(&source.into()).unwrap();
    socket.connect(&address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(socketserver_tests::process::PATIENCE)).unwrap();
    stream
}
