//! The rules of super-servers: each admits the clients that it names, and refuses all
//! others.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use common::{
    AccessHooks, Gram, TCP, WAIT, address, connect_from, connect_to, datagram_endpoints, echo,
    greeter, hears, net, next, read_all, unique_name,
};
use rustix::process::{Uid, getegid, geteuid};
use rustix::thread::set_thread_res_uid;
use socket2::{Domain, Socket, Type};
use socketserver::access::{Access, ClientSet, MAX_BANNER, Refusal};
use socketserver::{Address, Endpoint, Request, Server, UnixAddress};

#[test]
fn without_rules_every_client_is_served() {
    let (server, judged) = greeter(TCP, Access::new());
    assert_eq!(hears("127.0.0.9", &server), b"in");
    assert_eq!(next(&judged), Ok(()));
}

#[test]
fn deny_refuses_the_clients_that_it_names_and_no_others() {
    let access = Access::new().deny(net("127.0.0.2")).deny(net("127.1.0.0/16"));
    let (server, judged) = greeter(TCP, access);
    for (client, verdict) in [
        ("127.0.0.1", Ok(())),
        ("127.0.0.2", Err(Refusal::Deny)),
        ("127.0.0.3", Ok(())),
        ("127.1.255.255", Err(Refusal::Deny)),
        ("127.2.0.1", Ok(())),
    ] {
        let answer: &[u8] = if verdict.is_ok() { b"in" } else { b"" };
        assert_eq!(hears(client, &server), answer, "{client}");
        assert_eq!(next(&judged), verdict, "{client}");
    }
}

#[test]
fn allow_refuses_all_others_and_deny_takes_precedence() {
    let access = Access::new()
        .allow(net("127.0.0.0/24"))
        .allow(net("127.1.0.1"))
        .deny(net("127.0.0.128/25"))
        .allow(net("127.0.0.200"));
    let (server, judged) = greeter(TCP, access);
    for (client, verdict) in [
        ("127.0.0.1", Ok(())),
        ("127.0.0.127", Ok(())),
        ("127.0.0.128", Err(Refusal::Deny)),
        ("127.0.0.200", Err(Refusal::Deny)),
        ("127.0.1.1", Err(Refusal::Allow)),
        ("127.1.0.1", Ok(())),
        ("127.1.0.2", Err(Refusal::Allow)),
    ] {
        hears(client, &server);
        assert_eq!(next(&judged), verdict, "{client}");
    }
}

#[test]
fn ipv4_clients_of_an_ipv6_socket_are_ipv4_clients() {
    let access = Access::new().allow(net("127.0.0.0/8")).deny(net("127.0.0.2"));
    let (server, judged) = greeter("tcp://[::]:0", access);
    let port = address(&server).port();
    let v4: SocketAddr = ([127, 0, 0, 1], port).into();
    for (client, verdict) in [("127.0.0.1", Ok(())), ("127.0.0.2", Err(Refusal::Deny))] {
        read_all(&mut connect_from(client, v4));
        assert_eq!(next(&judged), verdict, "{client}");
    }
    let v6: SocketAddr = ([0, 0, 0, 0, 0, 0, 0, 1], port).into();
    read_all(&mut connect_to(v6).unwrap());
    assert_eq!(next(&judged), Err(Refusal::Allow));
}

#[test]
fn datagrams_are_judged_by_the_same_rules() {
    let (server, judged) = greeter("udp://127.0.0.1:0", Access::new().deny(net("127.0.0.2")));
    let refused = Gram::unbound(server.server_address());
    refused.socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    refused.send(b"x");
    assert_eq!(next(&judged), Err(Refusal::Deny));
    assert_eq!(Gram::new(server.server_address()).talk(b"x"), b"in");
    assert_eq!(next(&judged), Ok(()));
    assert!(refused.has_nothing());
}

/// Returns a client of a Unix socket of either type.
fn unix_verdict(scheme: &str, access: Access) -> Result<(), Refusal> {
    let name = unique_name();
    let (server, judged) = greeter(&format!("{scheme}://@{name}"), access);
    if scheme == "unix" {
        let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        client.connect(&common::to_kernel(server.server_address())).unwrap();
    } else {
        Gram::new(server.server_address()).send(b"x");
    }
    next(&judged)
}

#[test]
fn unix_clients_are_identified_by_user_and_group() {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    for scheme in ["unix", "unixgram"] {
        let verdict = |access| unix_verdict(scheme, access);
        let new = Access::new;
        assert_eq!(verdict(new().allow(ClientSet::User(uid))), Ok(()));
        assert_eq!(verdict(new().allow(ClientSet::User(uid + 1))), Err(Refusal::Allow));
        assert_eq!(verdict(new().deny(ClientSet::User(uid))), Err(Refusal::Deny));
        assert_eq!(verdict(new().deny(ClientSet::User(uid + 1))), Ok(()));
        assert_eq!(verdict(new().allow(ClientSet::Group(gid))), Ok(()));
        assert_eq!(verdict(new().allow(ClientSet::Group(gid + 1))), Err(Refusal::Allow));
        assert_eq!(verdict(new().deny(ClientSet::Group(gid))), Err(Refusal::Deny));
        assert_eq!(verdict(new().deny(ClientSet::Group(gid + 1))), Ok(()));
        let both = new().allow(ClientSet::User(uid)).deny(ClientSet::Group(gid));
        assert_eq!(verdict(both), Err(Refusal::Deny));
        // Networks do not apply to Unix clients.
        assert_eq!(verdict(new().deny(net("0.0.0.0/0")).deny(net("::/0"))), Ok(()));
        assert_eq!(verdict(new().allow(net("0.0.0.0/0"))), Err(Refusal::Allow));
    }
    let (server, judged) = greeter(TCP, Access::new().allow(ClientSet::User(uid)));
    hears("127.0.0.1", &server);
    assert_eq!(next(&judged), Err(Refusal::Allow), "a client of TCP has no user");
}

/// Runs `client` in a thread with another user, if this process may do that.
fn as_another_user(uid: u32, client: impl FnOnce() + Send + 'static) -> bool {
    if !geteuid().is_root() {
        return false;
    }
    let thread = std::thread::spawn(move || {
        let uid = Uid::from_raw(uid);
        // It changes the user of this thread only, which ends afterwards.
        set_thread_res_uid(uid, uid, uid).unwrap();
        client();
    });
    thread.join().unwrap();
    true
}

#[test]
fn another_user_is_another_source_for_every_socket_name() {
    const OTHER: u32 = 64_000;
    for scheme in ["unix", "unixgram"] {
        let access = Access::new().deny(ClientSet::User(OTHER)).max_per_source(1);
        let (server, judged) = greeter(&format!("{scheme}://@{}", unique_name()), access);
        let server_address = server.server_address().clone();
        let name = unique_name();
        let call = move || {
            let named = Address::Unix(UnixAddress::Abstract(name.clone().into_bytes()));
            let kind = if scheme == "unix" { Type::STREAM } else { Type::DGRAM };
            let socket = Socket::new(Domain::UNIX, kind, None).unwrap();
            socket.bind(&common::to_kernel(&named)).unwrap();
            socket.connect(&common::to_kernel(&server_address)).unwrap();
            // The refused client may be gone already.
            let _ = socket.send(b"x");
        };
        call();
        assert_eq!(next(&judged), Ok(()), "{scheme}");
        if as_another_user(OTHER, call.clone()) {
            assert_eq!(next(&judged), Err(Refusal::Deny), "{scheme}");
        }
        if as_another_user(OTHER + 1, call) {
            assert_eq!(next(&judged), Ok(()), "{scheme}");
        }
    }
}

#[test]
fn a_request_knows_the_user_and_group_of_its_client() {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let peer = Request::new(ours).peer_credentials().unwrap();
    assert_eq!((peer.uid, peer.gid), (uid, gid));
    assert_eq!(common::pair().0.peer_credentials(), None);
    let (_directory, endpoints) = datagram_endpoints();
    for endpoint in endpoints {
        let served = common::Served::new(&endpoint);
        for client in [served.client(), Gram::unbound(served.server.server_address())] {
            let (request, _) = served.request(&client, b"data");
            assert_eq!(request.data(), b"data");
            let peer = request.peer_credentials().map(|peer| (peer.uid, peer.gid));
            let unix = matches!(served.server.server_address(), Address::Unix(_));
            assert_eq!(peer, unix.then_some((uid, gid)), "{endpoint}");
        }
    }
}

#[test]
fn a_unix_client_of_unknown_user_is_refused_if_a_rule_needs_the_user() {
    // A TCP socket has no user, even if its address is given as a Unix address.
    let (request, _client) = common::pair();
    let unix = Address::Unix(UnixAddress::Unnamed);
    for access in [
        Access::new().deny(ClientSet::User(4_000_000)),
        Access::new().allow(ClientSet::Group(0)),
        Access::new().max_per_source(1),
        Access::new().source_rate(1.0, 1),
    ] {
        assert_eq!(access.verify_request(&request, &unix), Err(Refusal::Peer));
    }
    let indifferent = Access::new().deny(net("10.0.0.0/8")).rate(1, Duration::ZERO);
    assert_eq!(indifferent.verify_request(&request, &unix), Ok(()));
}

/// Returns connections of this server that it has not accepted yet.
fn waiting(access: Access) -> (Server, Receiver<Result<(), Refusal>>) {
    let (sender, judged) = mpsc::channel();
    let server = common::builder(echo).hooks(AccessHooks(access, sender)).build().unwrap();
    (server, judged)
}

#[test]
fn a_connection_that_was_reset_before_it_was_taken_is_refused() {
    let (server, judged) = waiting(Access::new().refuse_reset().rate(1, Duration::from_hours(1)));
    for ended in [false, true, false] {
        let client = common::connect(&server);
        if ended {
            // `recv` then returns the end of the stream, and no error.
            client.shutdown(std::net::Shutdown::Write).unwrap();
        }
        common::reset(client);
        server.handle_request().unwrap();
        assert_eq!(next(&judged), Err(Refusal::Reset), "{ended}");
    }
    // Those clients did not count for the rate.
    let mut client = common::client_with(&server, b"said");
    client.shutdown(std::net::Shutdown::Write).unwrap();
    server.handle_request().unwrap();
    assert_eq!(read_all(&mut client), b"said");
    assert_eq!(next(&judged), Ok(()));
}

#[test]
fn a_connection_that_ended_or_has_data_is_not_reset() {
    let (server, judged) = waiting(Access::new().refuse_reset());
    let clients: [fn(TcpStream); 4] = [
        drop,
        |client| client.shutdown(std::net::Shutdown::Write).unwrap(),
        |mut client| {
            client.write_all(b"said").unwrap();
        },
        |mut client| {
            client.write_all(b"said").unwrap();
            common::reset(client);
        },
    ];
    for client in clients {
        client(common::connect(&server));
        server.handle_request().unwrap();
        assert_eq!(next(&judged), Ok(()));
    }
    let (server, judged) = waiting(Access::new());
    common::reset(common::connect(&server));
    server.handle_request().unwrap();
    assert_eq!(next(&judged), Ok(()), "no rule needs it");
}

#[test]
fn every_rule_sends_the_banner_to_the_client_that_it_refuses() {
    let rules: [fn(Access) -> Access; 6] = [
        |access| access.deny(net("127.0.0.0/8")),
        |access| access.allow(net("10.0.0.0/8")),
        |access| access.max_load(0.0),
        |access| access.max_per_source(0),
        |access| access.source_rate(1.0, 0),
        |access| access.rate(0, Duration::ZERO),
    ];
    for rule in rules {
        let (server, judged) = greeter(TCP, rule(Access::new().banner(*b"not now\r\n")));
        assert_eq!(hears("127.0.0.1", &server), b"not now\r\n");
        assert!(next(&judged).is_err());
    }
    let (server, _judged) = greeter(TCP, Access::new().banner(*b"not now\r\n"));
    assert_eq!(hears("127.0.0.1", &server), b"in");
}

#[test]
fn a_refused_client_that_has_sent_data_receives_the_banner_without_a_reset() {
    let banner = vec![b'x'; MAX_BANNER];
    // Every client is refused.
    let access = Access::new().max_load(0.0).banner([&*banner, b"and more"].concat());
    let (sender, _judged) = mpsc::channel();
    let unix: Endpoint = format!("unix://@{}", unique_name()).parse().unwrap();
    let server =
        common::builder(echo).bind(unix).hooks(AccessHooks(access, sender)).build().unwrap();
    for endpoint in server.endpoints() {
        for said in [0, 1, 4096, 10_000] {
            let to = common::to_kernel(endpoint.address());
            let client = Socket::new(to.domain(), Type::STREAM, None).unwrap();
            client.connect(&to).unwrap();
            client.set_read_timeout(Some(WAIT)).unwrap();
            (&client).write_all(&vec![b'y'; said]).unwrap();
            // All clients are in the queue before the server looks.
            server.handle_request().unwrap();
            let mut heard = Vec::new();
            (&client).read_to_end(&mut heard).unwrap();
            assert_eq!(heard, banner, "{endpoint} {said}");
        }
    }
}

#[test]
fn a_refused_datagram_is_not_answered() {
    let access = Access::new().deny(net("127.0.0.1")).banner(*b"not now\r\n");
    let (server, judged) = greeter("udp://127.0.0.1:0", access);
    let client = Gram::new(server.server_address());
    client.send(b"x");
    assert_eq!(next(&judged), Err(Refusal::Deny));
    server.wait_until_idle();
    assert!(client.has_nothing());
}

#[test]
fn each_refusal_has_its_own_word() {
    let words = Refusal::ALL.map(Refusal::as_str);
    let proxies = ["proxy-from", "proxy-missing", "proxy-malformed", "proxy-timeout"];
    let first = ["deny", "peer", "allow", "reset", "hours", "load"];
    let last = ["source-rate", "per-source", "rate", "pause"];
    assert_eq!(words[..], [&proxies[..], &first, &last].concat());
    assert_eq!(Refusal::PerSource.to_string(), "per-source");
}

#[test]
fn a_flood_of_refused_clients_does_not_starve_the_others() {
    let (server, judged) = greeter(TCP, Access::new().deny(net("127.0.0.2")));
    let server = &server;
    std::thread::scope(|scope| {
        let flood = Arc::new(());
        for _ in 0..16 {
            let flood = Arc::downgrade(&flood);
            // Each client waits until it is refused, so that the backlog is never full. A
            // full backlog would keep clients out before the rules judge them.
            scope.spawn(move || {
                while flood.strong_count() > 0 {
                    assert_eq!(hears("127.0.0.2", server), b"");
                }
            });
        }
        let mut refused = 0;
        let mut answered = 0;
        // Until the kinds of clients are mixed.
        while answered < 50 || refused < 500 {
            assert_eq!(hears("127.0.0.1", server), b"in");
            answered += 1;
            refused += judged.try_iter().filter(Result::is_err).count();
        }
    });
}
