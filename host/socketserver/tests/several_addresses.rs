//! UDP sockets with several addresses: multicast groups, and replies of wildcard sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, mpsc};

use common::echo_server::{address, ask, build, echo_server, fails};
use common::{NEVER, WAIT, in_namespace, next, serve};
use socket2::SockRef;
use socketserver::{Address, Endpoint, Request, Server, ServerInfo};

/// Sends to a group on the interface `one`, and returns the answer.
fn ask_group(group: SocketAddr) -> Option<Vec<u8>> {
    let client = match group {
        SocketAddr::V4(_) => {
            let client = UdpSocket::bind("10.1.2.3:0").unwrap();
            SockRef::from(&client).set_multicast_if_v4(&[10, 1, 2, 3].into()).unwrap();
            client
        }
        SocketAddr::V6(_) => UdpSocket::bind("[fd00::1]:0").unwrap(),
    };
    client.set_read_timeout(Some(WAIT)).unwrap();
    client.send_to(b"question", group).unwrap();
    let mut answer = [0; 20];
    let length = client.recv(&mut answer).ok()?;
    Some(answer[..length].to_vec())
}

#[test]
fn a_socket_receives_from_the_groups_that_it_joined() {
    let setup = "link add one type veth peer name two\n\
        link set one up\n\
        link set two up\n\
        addr add 10.1.2.3/24 dev one\n\
        route add 239.0.0.0/8 dev one\n\
        -6 addr add fd00::1/64 dev one nodad\n\
        -6 addr add fe80::7/64 dev one nodad";
    in_namespace("a_socket_receives_from_the_groups_that_it_joined", setup, || {
        let zone =
            rustix::net::netdevice::name_to_index(build("udp://:0").socket().unwrap(), "one");
        let of_v6 = format!("[ff02::114%{}]", zone.unwrap());
        for (endpoint, groups) in [
            ("udp://239.255.7.7:0", &["239.255.7.7"][..]),
            ("udp://239.255.7.7:0?group=239.255.7.7%one", &["239.255.7.7"]),
            ("udp://239.255.7.7:0?device=one", &["239.255.7.7"]),
            (
                "udp://0.0.0.0:0?group=239.255.7.7&group=239.255.7.8%one",
                &["239.255.7.7", "239.255.7.8"],
            ),
            ("udp://[ff02::114%one]:0", &[&of_v6]),
            ("udp://[::]:0?group=ff02::114%one", &[&of_v6]),
        ] {
            let server = serve(build(endpoint), NEVER);
            for group in groups {
                let at = format!("{group}:{}", address(&server, 0).port()).parse().unwrap();
                assert_eq!(ask_group(at).as_deref(), Some(&b"question"[..]), "{endpoint} {group}");
            }
        }
        let (_, error) = fails(echo_server(&["udp://0.0.0.0:0?group=239.255.7.7%none0"]));
        assert!(error.contains("`group=239.255.7.7%none0`: No such device"), "{error}");
        let (_, error) = fails(echo_server(&["udp://0.0.0.0:0?group=224.5.5.5"]));
        assert!(error.contains("name an interface, group=224.5.5.5%eth0"), "{error}");
    });
}

/// As it would be by default.
#[test]
fn a_socket_receives_nothing_from_groups_that_others_have_joined() {
    let setup = "route add 239.0.0.0/8 dev lo";
    in_namespace("a_socket_receives_nothing_from_groups_that_others_have_joined", setup, || {
        let (sender, heard) = mpsc::channel();
        let handler = move |request: &Request, _: &Address, _: &Arc<ServerInfo>| {
            sender.send(request.data().to_vec()).map_err(std::io::Error::other)
        };
        let endpoint = "udp://0.0.0.0:0?group=239.255.7.7".parse().unwrap();
        let server = serve(Server::builder(handler).bind(endpoint).build().unwrap(), NEVER);
        let port = address(&server, 0).port();
        let others = UdpSocket::bind("0.0.0.0:0").unwrap();
        others.join_multicast_v4(&[239, 255, 7, 9].into(), &[127, 0, 0, 1].into()).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        SockRef::from(&client).set_multicast_if_v4(&[127, 0, 0, 1].into()).unwrap();
        client.send_to(b"others", ("239.255.7.9", port)).unwrap();
        client.send_to(b"own", ("239.255.7.7", port)).unwrap();
        assert_eq!(next(&heard), b"own");
    });
}

/// A client that waits for an answer from the address that it asked accepts no other.
#[test]
fn a_server_on_every_address_answers_from_the_one_that_was_asked() {
    for endpoint in ["udp://0.0.0.0:0", "udp://[::]:0"] {
        let server = serve(build(endpoint), NEVER);
        for host in [[127, 0, 0, 1], [127, 0, 0, 2], [127, 1, 2, 3]] {
            assert_eq!(ask((host, address(&server, 0).port()).into()), b"question");
        }
    }
    let server = serve(build("udp://[::]:0"), NEVER);
    assert_eq!(ask((Ipv6Addr::LOCALHOST, address(&server, 0).port()).into()), b"question");
}

#[test]
fn a_server_on_every_ipv6_address_answers_from_the_one_that_was_asked() {
    let setup = "link add one type veth peer name two\n\
        link set one up\n\
        link set two up\n\
        -6 addr add fe80::7/64 dev one nodad\n\
        -6 addr add fe80::8/64 dev one nodad\n\
        -6 addr add fd00::7/64 dev one nodad\n\
        -6 addr add fd00::8/64 dev one nodad";
    let test = "a_server_on_every_ipv6_address_answers_from_the_one_that_was_asked";
    in_namespace(test, setup, || {
        let server = serve(build("udp://[::]:0"), NEVER);
        let port = address(&server, 0).port();
        for host in ["fd00::7", "fd00::8", "::1"] {
            assert_eq!(ask(format!("[{host}]:{port}").parse().unwrap()), b"question");
        }
        for host in ["fe80::7", "fe80::8"] {
            let at: Endpoint = format!("udp://[{host}%one]:{port}").parse().unwrap();
            assert_eq!(ask(at.address().to_socket_addr().unwrap()), b"question");
        }
    });
}

/// The destination of the request is gone when the answer is sent.
#[test]
fn an_answer_leaves_from_another_address_if_the_destination_is_gone() {
    let setup = "addr add 10.1.2.3/32 dev lo";
    let test = "an_answer_leaves_from_another_address_if_the_destination_is_gone";
    in_namespace(test, setup, || {
        let handler = |request: &Request, client: &Address, _: &Arc<ServerInfo>| {
            let gone = ["addr", "del", "10.1.2.3/32", "dev", "lo"];
            assert!(std::process::Command::new("ip").args(gone).status()?.success());
            request.sendto(b"answer", client).map(drop)
        };
        let endpoint = "udp://0.0.0.0:0".parse().unwrap();
        let server = serve(Server::builder(handler).bind(endpoint).build().unwrap(), NEVER);
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(WAIT)).unwrap();
        client.send_to(b"question", ("10.1.2.3", address(&server, 0).port())).unwrap();
        assert_eq!(client.recv(&mut [0; 10]).unwrap(), 6);
    });
}
