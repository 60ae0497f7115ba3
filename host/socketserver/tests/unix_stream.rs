//! Unix stream servers: paths, abstract names, and the names of clients.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::channel;

use common::{NEVER, next, read_all, serve};
use socket2::{Domain, SockAddr, Socket, Type};
use socketserver::{
    Address, BuildError, Concurrency, Endpoint, Request, Server, ServerBuilder, ServerInfo,
    Threading, UnixAddress,
};
use tempfile::TempDir;

/// Returns an echo server on `path`.
fn builder(path: &Path) -> ServerBuilder {
    let echo = |request: &Request, _: &Address, _: &_| -> std::io::Result<()> {
        let data = request.recv(100)?;
        request.sendall(&data)
    };
    Server::builder(echo).bind(endpoint(path))
}

fn endpoint(path: &Path) -> Endpoint {
    format!("unix://{}", path.display()).parse().unwrap()
}

fn talk(mut stream: UnixStream) -> Vec<u8> {
    stream.write_all(b"hello").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn b10_the_server_makes_the_path_and_does_not_remove_it() {
    let directory = directory();
    let path = directory.path().join("socket");
    for concurrency in [Concurrency::Sync, Concurrency::Threading(Threading::new())] {
        let server = builder(&path).concurrency(concurrency).build().unwrap();
        assert_eq!(server.endpoints()[0].to_string(), format!("unix://{}", path.display()));
        let server = serve(server, NEVER);
        for _ in 0..3 {
            assert_eq!(talk(UnixStream::connect(&path).unwrap()), b"hello");
        }
        drop(server);
        assert!(path.exists());
        for reuse in [false, true] {
            let stale = builder(&path).allow_reuse_address(reuse).build();
            let Err(BuildError::Bind { error, .. }) = stale else { panic!("the path was free") };
            assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
        }
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn b10_an_abstract_name_needs_no_file() {
    let name = format!("wasm-socketserver-test-{}", std::process::id());
    let echo = |request: &Request, _: &Address, server: &std::sync::Arc<ServerInfo>| {
        // Unread input would cause a reset.
        request.recv(100)?;
        request.sendall(server.server_address.to_string().as_bytes())
    };
    let server = Server::builder(echo).bind(format!("unix://@{name}").parse().unwrap());
    let _server = serve(server.build().unwrap(), NEVER);
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let stream = UnixStream::connect_addr(&address).unwrap();
    assert_eq!(talk(stream), format!("@{name}").as_bytes());
}

#[test]
fn b06_reuse_of_the_port_has_no_effect_on_unix_sockets() {
    let directory = directory();
    let path = directory.path().join("socket");
    let server = serve(builder(&path).allow_reuse_port(true).build().unwrap(), NEVER);
    assert_eq!(talk(UnixStream::connect(&path).unwrap()), b"hello");
    drop(server);
}

#[test]
fn b07_exactly_one_more_than_the_backlog_may_wait() {
    let directory = directory();
    let path = directory.path().join("socket");
    let _server = builder(&path).request_queue_size(2).build().unwrap();
    let connect = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.connect(&SockAddr::unix(&path).unwrap()).map(|()| socket)
    };
    let _waiting = [connect().unwrap(), connect().unwrap(), connect().unwrap()];
    assert_eq!(connect().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn b38_the_client_address_is_the_name_that_the_client_is_bound_to() {
    let directory = directory();
    let path = directory.path().join("socket");
    let (tell, told) = channel();
    let handler = move |request: &Request, client: &Address, _: &_| {
        assert_eq!(request.getpeername()?, *client);
        tell.send((client.clone(), request.getsockname()?)).map_err(std::io::Error::other)
    };
    let _server = serve(Server::builder(handler).bind(endpoint(&path)).build().unwrap(), NEVER);
    let here = Address::Unix(UnixAddress::Pathname(path.clone()));

    drop(talk_nothing(&UnixStream::connect(&path).unwrap()));
    assert_eq!(next(&told), (Address::Unix(UnixAddress::Unnamed), here.clone()));

    let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    let name = directory.path().join("client\n\x1b[2J");
    client.bind(&SockAddr::unix(&name).unwrap()).unwrap();
    client.connect(&SockAddr::unix(&path).unwrap()).unwrap();
    let (client, at) = next(&told);
    assert_eq!((&client, at), (&Address::Unix(UnixAddress::Pathname(name)), here));
    assert!(client.to_string().ends_with(r"client\n\u{1b}[2J"), "{client}");
}

fn talk_nothing(mut stream: &UnixStream) -> Vec<u8> {
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

#[test]
fn a_server_may_listen_on_tcp_and_on_a_path() {
    let directory = directory();
    let path = directory.path().join("socket");
    let server = builder(&path).bind("tcp://127.0.0.1:0".parse().unwrap()).build().unwrap();
    let server = serve(server, NEVER);
    assert_eq!(talk(UnixStream::connect(&path).unwrap()), b"hello");
    let tcp = server.endpoints()[1].address().to_socket_addr().unwrap();
    let mut client = std::net::TcpStream::connect(tcp).unwrap();
    client.write_all(b"hello").unwrap();
    assert_eq!(read_all(&mut client), b"hello");
}

#[test]
fn b02_a_path_that_cannot_be_bound_is_an_error() {
    let directory = directory();
    let missing = builder(&directory.path().join("no/such/directory")).build();
    let Err(BuildError::Bind { error, .. }) = missing else { panic!("it was bound") };
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    let path = directory.path().join("socket");
    let _other = UnixListener::bind(&path).unwrap();
    assert!(builder(&path).build().is_err());
}
