//! The construction, binding and closing of servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use common::{
    NEVER, O_CLOEXEC, builder, client_with, connect, connect_to, echo, flags, next, read_all,
    serve, talk,
};
use rustix::net::sockopt::{socket_reuseaddr, socket_reuseport};
use socketserver::{
    Address, AddressFamily, BuildError, ClassError, Concurrency, Endpoint, HandlerError, Request,
    RequestHandler, ServeError, Server, ServerBuilder, ServerClass, ServerInfo, SocketType,
    Threading,
};

fn echo_at(endpoint: &str) -> ServerBuilder {
    Server::builder(|request: &Request, _: &Address, _: &_| echo(request))
        .bind(endpoint.parse().unwrap())
}

fn bind_error(built: Result<Server, BuildError>) -> (Endpoint, ErrorKind) {
    match built.err() {
        Some(BuildError::Bind { endpoint, error, .. }) => (endpoint, error.kind()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn b01_build_binds_and_listens() {
    let server = builder(|request| request.sendall(&request.recv(10)?)).build().unwrap();
    let mut client = client_with(&server, b"early");
    server.handle_request().unwrap();
    assert_eq!(read_all(&mut client), b"early");
}

#[test]
fn b01_a_server_needs_an_address() {
    let built = Server::builder(|request: &Request, _: &Address, _: &_| echo(request)).build();
    assert!(matches!(built, Err(BuildError::NoAddress)));
}

/// A handler for datagrams only.
struct ForDatagrams;

impl RequestHandler for ForDatagrams {
    fn check_endpoint(&self, endpoint: &Endpoint) -> Result<(), String> {
        match endpoint.socket_type() {
            SocketType::Dgram => Ok(()),
            SocketType::Stream => Err("it is for datagrams".to_owned()),
        }
    }

    fn finish_request(
        &self,
        request: &Request,
        client_address: &Address,
        _server: &Arc<ServerInfo>,
    ) -> Result<(), HandlerError> {
        Ok(request.sendto(request.data(), client_address).map(drop)?)
    }
}

#[test]
fn b01_a_handler_may_be_for_streams_or_for_datagrams_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let endpoint = format!("unixgram://{}", path.display()).parse().unwrap();
    let both = Server::builder(ForDatagrams).bind(endpoint).bind(common::localhost()).build();
    match both.err() {
        Some(error @ BuildError::WrongHandler { .. }) => {
            assert_eq!(error.to_string(), "cannot serve tcp://127.0.0.1:0: it is for datagrams");
        }
        other => panic!("{other:?}"),
    }
    assert!(!path.exists(), "nothing was bound before");
    let server = serve(Server::builder(ForDatagrams).bind(common::udp()).build().unwrap(), NEVER);
    assert_eq!(common::Gram::new(server.server_address()).talk(b"hello"), b"hello");
}

#[test]
fn b90_a_class_takes_only_endpoints_of_its_transport() {
    let handler = |request: &Request, _: &Address, _: &_| echo(request);
    let wrong = ServerClass::UDPServer.builder(common::localhost(), handler).err();
    assert_eq!(
        wrong,
        Some(ClassError::Contradicts {
            class: ServerClass::UDPServer,
            endpoint: common::localhost()
        })
    );
}

#[test]
fn b02_a_failed_bind_closes_the_sockets_that_were_bound_before_it() {
    let occupied = TcpListener::bind("127.2.0.1:0").unwrap();
    let address = occupied.local_addr().unwrap();
    let first = SocketAddr::new([127, 2, 0, 2].into(), address.port());
    let built = echo_at(&format!("tcp://{first}")).bind(Endpoint::tcp(address)).build();
    assert_eq!(bind_error(built), (Endpoint::tcp(address), ErrorKind::AddrInUse));
    assert_eq!(TcpStream::connect(first).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn b03_reuse_of_the_address_and_port_is_off_by_default() {
    let options = |server: &Server| {
        let socket = server.socket().unwrap();
        (socket_reuseaddr(&socket).unwrap(), socket_reuseport(&socket).unwrap())
    };
    let server = builder(echo).build().unwrap();
    assert_eq!(options(&server), (false, false));
    let server = builder(echo).allow_reuse_address(true).build().unwrap();
    assert_eq!(options(&server), (true, false));
    let server = builder(echo).allow_reuse_port(true).build().unwrap();
    assert_eq!(options(&server), (false, true));
}

#[test]
fn b03_reuse_of_the_address_may_be_for_sockets_of_one_type() {
    for (reused, expected) in
        [(SocketType::Stream, [true, false]), (SocketType::Dgram, [false, true])]
    {
        let options = [common::localhost(), common::udp()].map(|endpoint| {
            let server = echo_at(&endpoint.to_string()).allow_reuse_address_for(reused, true);
            socket_reuseaddr(server.build().unwrap().socket().unwrap()).unwrap()
        });
        assert_eq!(options, expected);
    }
}

#[test]
fn b03_servers_that_allow_it_share_a_port() {
    let first = builder(echo).allow_reuse_port(true).build().unwrap();
    let again = first.endpoints()[0].to_string();
    let _second = echo_at(&again).allow_reuse_port(true).build().unwrap();
    assert_eq!(bind_error(echo_at(&again).build()).1, ErrorKind::AddrInUse);
}

#[test]
fn b04_the_address_is_the_one_that_was_bound() {
    let bound = |endpoint: &str| echo_at(endpoint).build().unwrap().server_address().clone();
    for (endpoint, host) in [
        ("tcp://127.0.0.1:0", "127.0.0.1"),
        ("tcp://localhost:0", "127.0.0.1"),
        ("tcp://:0", "0.0.0.0"),
        ("tcp://[::1]:0", "::1"),
        ("tcp://[::]:0", "::"),
    ] {
        let address = bound(endpoint);
        assert_eq!(address.to_socket_addr().unwrap().ip().to_string(), host, "{endpoint}");
        assert_ne!(address.to_socket_addr().unwrap().port(), 0, "{endpoint}");
    }
    match bound("tcp://[::1]:0") {
        Address::Inet6(address) => assert_eq!((address.flowinfo(), address.scope_id()), (0, 0)),
        address => panic!("{address}"),
    }
}

#[test]
fn b04_handlers_get_the_facts_of_the_socket_that_took_their_request() {
    let (sender, facts) = mpsc::channel();
    let server = Server::builder(move |_: &Request, _: &Address, server: &Arc<_>| {
        sender.send(Arc::clone(server)).unwrap();
        Ok::<_, std::io::Error>(())
    })
    .bind("tcp://127.0.0.1:0".parse().unwrap())
    .bind("tcp://[::1]:0".parse().unwrap())
    .request_queue_size(7)
    .timeout(Some(Duration::from_secs(9)))
    .build()
    .unwrap();
    let families = [AddressFamily::Inet, AddressFamily::Inet6];
    for (endpoint, family) in server.endpoints().iter().zip(families) {
        let _client = connect_to(endpoint.address().to_socket_addr().unwrap()).unwrap();
        server.handle_request().unwrap();
        let facts: Arc<ServerInfo> = next(&facts);
        assert_eq!(&facts.server_address, endpoint.address());
        assert_eq!((facts.address_family, facts.socket_type), (family, SocketType::Stream));
        assert_eq!((facts.request_queue_size, facts.timeout), (7, Some(Duration::from_secs(9))));
    }
    assert_eq!(server.server_address(), server.endpoints()[0].address());
}

/// Serves one client, ends the connection first, closes, and binds again.
fn rebind(first_allows: bool, second_allows: bool) -> Result<Server, BuildError> {
    let server = builder(|request| request.recv(1).map(drop))
        .allow_reuse_address(first_allows)
        .build()
        .unwrap();
    let mut client = client_with(&server, b"x");
    server.handle_request().unwrap();
    assert_eq!(read_all(&mut client), b"");
    drop(client);
    server.server_close();
    echo_at(&server.endpoints()[0].to_string()).allow_reuse_address(second_allows).build()
}

#[test]
fn b05_a_port_in_time_wait_needs_reuse_on_both_servers() {
    assert_eq!(bind_error(rebind(false, false)).1, ErrorKind::AddrInUse);
    assert_eq!(bind_error(rebind(false, true)).1, ErrorKind::AddrInUse);
    assert_eq!(bind_error(rebind(true, false)).1, ErrorKind::AddrInUse);
    let server = serve(rebind(true, true).unwrap(), NEVER);
    assert_eq!(talk(&server, b"again"), b"again");
    let taken = echo_at(&server.endpoints()[0].to_string()).allow_reuse_address(true).build();
    assert_eq!(bind_error(taken).1, ErrorKind::AddrInUse, "a live listener wins");
}

/// Returns the number of clients that can connect while the server accepts none.
fn backlog_of(size: u32) -> usize {
    let server = builder(echo).request_queue_size(size).build().unwrap();
    let address = server.server_address().to_socket_addr().unwrap();
    let short = Duration::from_millis(300);
    std::iter::repeat_with(|| TcpStream::connect_timeout(&address, short))
        .map_while(Result::ok)
        .take(100)
        .collect::<Vec<_>>()
        .len()
}

#[test]
fn b07_one_more_than_the_backlog_can_connect() {
    assert_eq!(backlog_of(5), 6);
    assert_eq!(backlog_of(2), 3);
}

#[test]
fn b07_the_default_backlog_is_that_of_cpython_3_15() {
    assert_eq!(ServerBuilder::REQUEST_QUEUE_SIZE, 4096);
    let server = builder(echo).build().unwrap();
    let clients: Vec<TcpStream> = (0..200).map(|_| connect(&server)).collect();
    assert_eq!(clients.len(), 200);
}

#[test]
fn b08_a_backlog_of_zero_admits_one_client() {
    assert_eq!(backlog_of(0), 1);
}

#[test]
fn b11_closing_is_final_and_resets_the_clients_in_the_backlog() {
    let server = builder(echo).build().unwrap();
    let mut client = connect(&server);
    let address = server.server_address().clone();
    server.server_close();
    server.server_close();
    assert_eq!(server.fileno(), None);
    assert_eq!(server.server_address(), &address);
    let error = client.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let refused = TcpStream::connect(address.to_socket_addr().unwrap()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(matches!(server.serve_forever(NEVER), Err(ServeError::Closed)));
    assert!(matches!(server.handle_request(), Err(ServeError::Closed)));
}

/// CPython's `test_context_manager`.
#[test]
fn b12_dropping_a_server_closes_it_and_does_not_wait_for_a_loop() {
    let (sender, dropped) = mpsc::channel();
    thread::spawn(move || {
        let address = builder(echo).build().unwrap().server_address().to_socket_addr().unwrap();
        sender.send(address).unwrap();
    });
    let refused = TcpStream::connect(next(&dropped)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

/// CPython's `test_close_immediately`.
#[test]
fn b12_a_threading_server_can_be_closed_before_its_first_request() {
    let server =
        builder(echo).concurrency(Concurrency::Threading(Threading::new())).build().unwrap();
    server.server_close();
    assert_eq!(server.server_close_within(NEVER), 0);
}

#[test]
fn b13_sockets_are_closed_on_exec() {
    let (sender, accepted) = mpsc::channel();
    let server = builder(move |request| {
        sender.send(flags(request.fileno().unwrap())).unwrap();
        Ok(())
    })
    .build()
    .unwrap();
    let _client = connect(&server);
    server.handle_request().unwrap();
    assert_ne!(next(&accepted) & O_CLOEXEC, 0);
    assert_ne!(flags(server.fileno().unwrap()) & O_CLOEXEC, 0);
}

#[test]
fn b14_a_server_on_all_ipv6_addresses_takes_ipv4_too() {
    let (sender, clients) = mpsc::channel();
    let server = Server::builder(move |_: &Request, client: &Address, _: &_| {
        sender.send(client.clone()).unwrap();
        Ok::<_, std::io::Error>(())
    })
    .bind("tcp://[::]:0".parse().unwrap())
    .build()
    .unwrap();
    let port = server.server_address().to_socket_addr().unwrap().port();
    for (host, seen_as) in [("127.0.0.1", "::ffff:127.0.0.1"), ("::1", "::1")] {
        let _client = connect_to(SocketAddr::new(host.parse().unwrap(), port)).unwrap();
        server.handle_request().unwrap();
        assert_eq!(next(&clients).to_socket_addr().unwrap().ip().to_string(), seen_as);
    }
}
