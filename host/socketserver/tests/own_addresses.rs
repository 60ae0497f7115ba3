//! Datagrams that claim to come from the server itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Gram, NEVER, Running, forge, serve};
use socketserver::{Address, DropReason, Endpoint, Hooks, Request, Server};

/// The number of ordinary requests of each test, after its forged datagrams.
const ASKED: usize = 50;

/// The numbers of datagrams that were served and dropped.
#[derive(Clone, Default)]
struct Counts(Arc<[AtomicUsize; 2]>);

impl Counts {
    fn now(&self) -> [usize; 2] {
        [0, 1].map(|which| self.0[which].load(Ordering::SeqCst))
    }
}

impl Hooks for Counts {
    fn handle_dropped(&self, _: &Endpoint, count: u64, reason: DropReason) {
        assert_eq!(reason, DropReason::OwnAddress);
        self.0[1].fetch_add(usize::try_from(count).unwrap(), Ordering::SeqCst);
    }
}

/// Returns a server that sends every datagram back.
fn echo_at(endpoints: &[&str]) -> (Running, Counts) {
    let counts = Counts::default();
    let counted = counts.clone();
    let handler = move |request: &Request, client: &Address, _: &_| {
        counted.0[0].fetch_add(1, Ordering::SeqCst);
        // Some forged senders cannot be answered.
        let _ = request.sendto(request.data(), client);
        Ok::<(), std::io::Error>(())
    };
    let builder = Server::builder(handler).hooks(counts.clone());
    let bind = |builder: socketserver::ServerBuilder, endpoint: &&str| {
        builder.bind(endpoint.parse().unwrap())
    };
    let server = endpoints.iter().fold(builder, bind).build().unwrap();
    (serve(server, NEVER), counts)
}

fn addresses(server: &Server) -> Vec<SocketAddr> {
    server.endpoints().iter().filter_map(|end| end.address().to_socket_addr()).collect()
}

/// Sends ordinary requests from the same machine. The sockets of a server that serves one
/// request at a time take turns: a datagram from the server itself is served, or dropped,
/// before the last answer comes.
///
/// Returns the number of requests.
fn ask(server: &Server) -> usize {
    let is_heard = |address: &&Address| {
        !address.to_socket_addr().is_some_and(|address| address.ip().is_multicast())
    };
    let heard: Vec<_> = server.endpoints().iter().map(Endpoint::address).filter(is_heard).collect();
    for _ in 0..ASKED {
        for address in &heard {
            assert_eq!(Gram::new(&here(address)).talk(b"ordinary"), b"ordinary");
        }
    }
    ASKED * heard.len()
}

/// Returns the address at which a client of this machine reaches a socket on `address`.
fn here(address: &Address) -> Address {
    let Some(bound) = address.to_socket_addr() else { return address.clone() };
    match bound {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            SocketAddr::from(([127, 0, 0, 1], bound.port())).into()
        }
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            format!("[::1]:{}", bound.port()).parse::<SocketAddr>().unwrap().into()
        }
        _ => address.clone(),
    }
}

/// Sends each of these forged datagrams, and expects none of them to be served.
fn are_dropped(endpoints: &[&str], forged: impl Fn(&[SocketAddr]) -> Vec<(String, String)>) {
    let (server, counts) = echo_at(endpoints);
    let forged = forged(&addresses(&server));
    for (from, to) in &forged {
        if !forge(from.parse().unwrap(), to.parse().unwrap(), b"again") {
            println!("skipped: only root may send such");
            return;
        }
    }
    let asked = ask(&server);
    assert_eq!(counts.now(), [asked, forged.len()], "served and dropped");
}

#[test]
fn a_server_on_every_ipv4_address_does_not_answer_itself() {
    are_dropped(&["udp://0.0.0.0:0"], |bound| {
        let port = bound[0].port();
        [("127.0.0.1", "127.0.0.1"), ("127.0.0.9", "127.0.0.1"), ("127.0.0.1", "127.0.0.7")]
            .map(|(from, to)| (format!("{from}:{port}"), format!("{to}:{port}")))
            .to_vec()
    });
}

#[test]
fn a_server_on_every_ipv6_address_does_not_answer_itself() {
    are_dropped(&["udp://[::]:0"], |bound| {
        let port = bound[0].port();
        [("[::1]", "[::1]"), ("127.0.0.9", "127.0.0.1"), ("127.0.0.1", "127.0.0.1")]
            .map(|(from, to)| (format!("{from}:{port}"), format!("{to}:{port}")))
            .to_vec()
    });
}

#[test]
fn two_sockets_of_a_server_do_not_answer_each_other() {
    are_dropped(&["udp://127.0.0.1:0", "udp://127.0.0.2:0"], |bound| {
        let [one, other] = [bound[0].to_string(), bound[1].to_string()];
        vec![(one.clone(), other.clone()), (other.clone(), one.clone()), (one.clone(), one)]
    });
    are_dropped(&["udp://[::1]:0", "udp://[::1]:0"], |bound| {
        let [one, other] = [bound[0].to_string(), bound[1].to_string()];
        vec![(one.clone(), other.clone()), (other, one)]
    });
}

#[test]
fn a_socket_on_one_address_and_one_on_all_do_not_answer_each_other() {
    are_dropped(&["udp://127.0.0.1:0", "udp://0.0.0.0:0"], |bound| {
        let all = bound[1].port();
        vec![
            (bound[0].to_string(), format!("127.0.0.8:{all}")),
            (format!("127.0.0.8:{all}"), bound[0].to_string()),
        ]
    });
}

#[test]
fn a_socket_on_a_multicast_address_and_others_do_not_answer_each_other() {
    are_dropped(&["udp://239.255.7.7:0?group=239.255.7.7%lo", "udp://127.0.0.1:0"], |bound| {
        vec![(format!("127.0.0.1:{}", bound[0].port()), bound[1].to_string())]
    });
}

/// A client with the port of the server that is not the server.
#[test]
fn clients_with_the_port_of_the_server_are_served() {
    let (server, counts) = echo_at(&["udp://127.0.0.1:0"]);
    let address = addresses(&server)[0];
    let client = UdpSocket::bind(("127.0.0.2", address.port())).unwrap();
    client.set_read_timeout(Some(common::WAIT)).unwrap();
    client.send_to(b"peer", address).unwrap();
    let mut answer = [0; 4];
    assert_eq!(client.recv_from(&mut answer).unwrap(), (4, address));
    assert_eq!(counts.now(), [1, 0]);
    let (server, counts) = echo_at(&["udp://0.0.0.0:0"]);
    let address = addresses(&server)[0];
    // For the server this is a client of another machine.
    let from = SocketAddr::from(([192, 0, 2, 77], address.port()));
    let to = SocketAddr::from(([127, 0, 0, 1], address.port()));
    if forge(from, to, b"peer") {
        let asked = ask(&server);
        assert_eq!(counts.now(), [asked + 1, 0]);
    }
}

/// Returns a client with this name, which leads to `target` from now on.
fn named(path: &Path, lead: impl Fn(&Path)) -> UnixDatagram {
    let client = UnixDatagram::bind(path).unwrap();
    fs::remove_file(path).unwrap();
    lead(path);
    client
}

/// The answer comes from the name that the server has bound, for every form of the client's
/// name.
#[test]
fn a_unix_name_that_leads_to_another_socket_of_the_server_is_answered_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let [one, other] = ["one", "other"].map(|name| format!("unixgram://{}", path(name).display()));
    let (server, counts) = echo_at(&[&one, &other]);
    let link = |path: &Path| symlink(directory.path().join("other"), path).unwrap();
    let hard_link = |path: &Path| fs::hard_link(directory.path().join("other"), path).unwrap();
    let itself = |path: &Path| symlink(directory.path().join("one"), path).unwrap();
    let ways: [&dyn Fn(&Path); 3] = [&link, &hard_link, &itself];
    for (number, way) in ways.into_iter().enumerate() {
        let client = named(&path(&format!("client-{number}")), way);
        client.send_to(b"again", path("one")).unwrap();
    }
    let asked = ask(&server);
    assert_eq!(counts.now(), [asked + ways.len(), ways.len()], "served and dropped");
}
