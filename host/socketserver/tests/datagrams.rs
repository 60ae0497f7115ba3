//! The requests of datagram servers: UDP over IPv4 and IPv6, and Unix datagrams.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use common::{Event, Gram, NEVER, datagram_endpoints, echo_datagrams, next, recorder, serve, udp};
use rustix::net::sockopt::socket_acceptconn;
use socketserver::{
    Address, AddressFamily, Endpoint, Hooks, Request, Server, ServerBuilder, ServerInfo,
    SocketType, UnixAddress,
};

/// Returns a server that passes each datagram and its sender to the test.
fn telling(endpoint: &Endpoint) -> (ServerBuilder, Receiver<(Vec<u8>, Address)>) {
    let (sender, told) = mpsc::channel();
    let handler = move |request: &Request, client: &Address, _: &_| {
        sender.send((request.data().to_vec(), client.clone())).map_err(io::Error::other)
    };
    (Server::builder(handler).bind(endpoint.clone()), told)
}

#[test]
fn b04_b09_a_datagram_server_is_bound_and_does_not_listen() {
    assert_eq!(ServerBuilder::MAX_PACKET_SIZE, 8192);
    let families = [AddressFamily::Inet, AddressFamily::Inet6, AddressFamily::Unix];
    let (_directory, endpoints) = datagram_endpoints();
    for (place, endpoint) in endpoints.iter().enumerate() {
        let (sender, facts) = mpsc::channel::<Arc<ServerInfo>>();
        let handler = move |_: &Request, _: &Address, server: &Arc<ServerInfo>| {
            sender.send(Arc::clone(server)).map_err(io::Error::other)
        };
        let server = Server::builder(handler).bind(endpoint.clone()).build().unwrap();
        let socket = server.socket().unwrap();
        assert!(!socket_acceptconn(&socket).unwrap());
        let address = common::printed(rustix::net::getsockname(&socket).ok());
        assert_eq!(server.server_address().to_string(), address);
        assert!(!address.ends_with(":0"), "{address}");

        Gram::new(server.server_address()).send(b"x");
        server.handle_request().unwrap();
        let facts = next(&facts);
        assert_eq!(&facts.server_address, server.server_address());
        assert_eq!(facts.address_family, families[place.min(2)]);
        assert_eq!(facts.socket_type, SocketType::Dgram);
        assert_eq!((facts.max_packet_size, facts.timeout), (Some(8192), None));
    }
    let server = common::builder(common::echo).build().unwrap();
    assert!(socket_acceptconn(server.socket().unwrap()).unwrap(), "streams are listened for");
}

#[test]
fn b14_a_server_on_all_ipv6_addresses_takes_ipv4_datagrams_and_answers_them() {
    let server = serve(echo_datagrams(&"udp://[::]:0".parse().unwrap()).build().unwrap(), NEVER);
    let port = server.server_address().to_socket_addr().unwrap().port();
    for host in ["127.0.0.1", "::1"] {
        let to = Address::from(SocketAddr::new(host.parse().unwrap(), port));
        assert_eq!(Gram::new(&to).connected().talk(b"hello"), b"hello");
    }
}

#[test]
fn b54_each_datagram_is_a_request_even_an_empty_one() {
    let (_directory, endpoints) = datagram_endpoints();
    for endpoint in &endpoints {
        let (server, told) = telling(endpoint);
        let server = server.build().unwrap();
        let client = Gram::new(server.server_address());
        let sent: [&[u8]; 4] = [b"one", b"", b"two\n", b"\0"];
        for data in sent {
            client.send(data);
        }
        let _server = serve(server, NEVER);
        assert_eq!(sent.map(|_| next(&told).0), sent, "{endpoint}");
    }
}

#[test]
fn b54_the_tail_of_a_longer_datagram_is_lost_and_the_next_one_is_whole() {
    let (_directory, endpoints) = datagram_endpoints();
    let long: Vec<u8> = (0..20_000_u32).map(|i| (i % 251) as u8).collect();
    for endpoint in &endpoints {
        let server = serve(echo_datagrams(endpoint).build().unwrap(), NEVER);
        let client = Gram::new(server.server_address());
        for size in [8191, 8192, 8193, 20_000, 3] {
            assert!(client.talk(&long[..size]) == long[..size.min(8192)], "{endpoint} {size}");
        }
    }
}

#[test]
fn b55_the_largest_packet_may_be_set() {
    let (_directory, endpoints) = datagram_endpoints();
    let long = vec![b'x'; 60_000];
    for endpoint in &endpoints {
        for max_packet_size in [0, 1, 60_000] {
            let server = echo_datagrams(endpoint).max_packet_size(max_packet_size).build().unwrap();
            let server = serve(server, NEVER);
            let client = Gram::new(server.server_address());
            for _ in 0..2 {
                assert_eq!(client.talk(&long).len(), max_packet_size, "{endpoint}");
            }
            drop(server);
            if let Address::Unix(UnixAddress::Pathname(path)) = endpoint.address() {
                std::fs::remove_file(path).unwrap();
            }
        }
    }
}

#[test]
fn b56_the_client_address_is_that_of_its_socket() {
    let (directory, endpoints) = datagram_endpoints();
    for endpoint in &endpoints {
        let (server, told) = telling(endpoint);
        let server = server.build().unwrap();
        let of = |client: &Gram| {
            client.send(b"x");
            server.handle_request().unwrap();
            next(&told).1
        };
        let client = Gram::new(server.server_address());
        let address = of(&client);
        assert_eq!(address.to_string(), client.address());
        assert_eq!(address.family(), endpoint.address().family());
        match address {
            Address::Inet(_) => {}
            Address::Inet6(address) => assert_eq!((address.flowinfo(), address.scope_id()), (0, 0)),
            Address::Unix(_) => {
                let path = directory.path().join(format!("client{}", common::unique_name()));
                let client = Gram::unbound(server.server_address());
                assert_eq!(of(&client), UnixAddress::Unnamed.into());
                client.socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
                assert_eq!(of(&client), UnixAddress::Pathname(path).into());
            }
        }
    }
}

#[test]
fn b63_a_refused_datagram_is_consumed_and_not_answered() {
    struct Refuse;
    impl Hooks for Refuse {
        fn verify_request(&self, request: &Request, _client_address: &Address) -> bool {
            request.data() != b"refused"
        }
    }
    let (_directory, endpoints) = datagram_endpoints();
    for endpoint in &endpoints {
        let server = serve(echo_datagrams(endpoint).hooks(Refuse).build().unwrap(), NEVER);
        let client = Gram::new(server.server_address());
        client.send(b"refused");
        assert_eq!(client.talk(b"granted"), b"granted");
        assert!(client.has_nothing());
    }
}

#[test]
fn b11_a_closed_socket_refuses_clients() {
    let server = echo_datagrams(&udp()).build().unwrap();
    let client = Gram::new(server.server_address()).connected();
    server.server_close();
    assert_eq!(server.fileno(), None);
    client.send(b"x");
    let refused = client.socket.recv_from(&mut []).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn b21_b22_handle_request_takes_one_datagram_or_times_out() {
    let (hooks, events) = recorder();
    let server = echo_datagrams(&udp()).hooks(hooks).timeout(Some(Duration::ZERO)).build().unwrap();
    server.handle_request().unwrap();
    assert_eq!(events.try_iter().collect::<Vec<_>>(), [Event::Timeout]);
    let client = Gram::new(server.server_address());
    client.send(b"1");
    client.send(b"2");
    server.handle_request().unwrap();
    assert_eq!(client.receive(), b"1");
    assert!(client.has_nothing());
    server.handle_request().unwrap();
    assert_eq!(client.receive(), b"2");
}

#[test]
fn one_server_takes_streams_and_datagrams() {
    let handler = |request: &Request, client: &Address, _: &_| match request.socket_type() {
        SocketType::Stream => {
            assert_eq!(request.data(), b"");
            request.sendall(b"a connection")
        }
        SocketType::Dgram => request.sendto(b"a datagram", client).map(drop),
    };
    let server = Server::builder(handler).bind(udp()).bind(common::localhost()).build().unwrap();
    let server = serve(server, NEVER);
    let stream = server.endpoints()[1].address().to_socket_addr().unwrap();
    for _ in 0..2 {
        assert_eq!(Gram::new(server.server_address()).talk(b"x"), b"a datagram");
        let mut client = common::connect_to(stream).unwrap();
        assert_eq!(common::read_all(&mut client), b"a connection");
    }
}

/// The answer would be the next request, without end.
#[test]
fn a_datagram_from_the_server_itself_is_not_a_request() {
    let (_directory, endpoints) = datagram_endpoints();
    for endpoint in &endpoints {
        let (builder, told) = telling(endpoint);
        let server = serve(builder.build().unwrap(), NEVER);
        let client = Gram::unbound(server.server_address());
        let socket = server.socket().unwrap();
        let own = socket2::SockRef::from(&socket);
        own.send_to(b"own", &common::to_kernel(server.server_address())).unwrap();
        client.send(b"next");
        assert_eq!(next(&told).0, b"next", "{endpoint}");
    }
}
