//! The rules of super-servers: that each permits what it says, and that what is
//! next to it is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{
    Gate, Gram, NEVER, Running, WAIT, connect_to, datagram_endpoints, echo, in_time, next,
    read_all, serve, unique_name, wait_until,
};
use rustix::process::{Uid, getegid, geteuid};
use rustix::thread::set_thread_res_uid;
use socket2::{Domain, Socket, Type};
use socketserver::access::{Access, MAX_BANNER, Refusal, Who, network};
use socketserver::{
    Address, Concurrency, Endpoint, Hooks, Request, Server, ServerInfo, Threading, UnixAddress,
};

/// Asks the rules, and tells the test what they said.
struct Door(Access, Sender<Result<(), Refusal>>);

impl Hooks for Door {
    fn verify_request(&self, request: &Request, client_address: &Address) -> bool {
        let judged = self.0.verify_request(request, client_address);
        self.1.send(judged).unwrap();
        judged.is_ok()
    }

    fn pause_until(&self) -> Option<Instant> {
        self.0.pause_until()
    }
}

/// A server with these rules that says `in`, and what they said.
fn greeter(endpoint: &str, access: Access) -> (Running, Receiver<Result<(), Refusal>>) {
    let (sender, judged) = mpsc::channel();
    let handler = |request: &Request, client: &Address, _: &_| match request.data() {
        [] => request.sendall(b"in"),
        _ => request.sendto(b"in", client).map(drop),
    };
    let server = Server::builder(handler)
        .bind(endpoint.parse().unwrap())
        .hooks(Door(access, sender))
        .build()
        .unwrap();
    (serve(server, NEVER), judged)
}

/// A connection from that address of this machine.
fn connect_from(client: &str, server: SocketAddr) -> TcpStream {
    let client = SocketAddr::new(client.parse().unwrap(), 0);
    let socket = Socket::new(Domain::for_address(client), Type::STREAM, None).unwrap();
    socket.bind(&client.into()).unwrap();
    socket.set_read_timeout(Some(WAIT)).unwrap();
    socket.connect(&server.into()).unwrap();
    socket.into()
}

fn address(server: &Server) -> SocketAddr {
    server.server_address().to_socket_addr().unwrap()
}

/// What a client from there hears.
fn hears(client: &str, server: &Server) -> Vec<u8> {
    read_all(&mut connect_from(client, address(server)))
}

fn net(text: &str) -> Who {
    Who::Network(network(text).unwrap())
}

const TCP: &str = "tcp://127.0.0.1:0";

#[test]
fn without_rules_everybody_is_served() {
    let (server, judged) = greeter(TCP, Access::new());
    assert_eq!(hears("127.0.0.9", &server), b"in");
    assert_eq!(next(&judged), Ok(()));
}

#[test]
fn deny_refuses_whom_it_names_and_nobody_else() {
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
fn with_an_allow_others_are_refused_and_deny_wins() {
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

/// Some client of a Unix socket of either kind.
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
fn unix_clients_are_known_by_user_and_group() {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    for scheme in ["unix", "unixgram"] {
        let verdict = |access| unix_verdict(scheme, access);
        let new = Access::new;
        assert_eq!(verdict(new().allow(Who::User(uid))), Ok(()));
        assert_eq!(verdict(new().allow(Who::User(uid + 1))), Err(Refusal::Allow));
        assert_eq!(verdict(new().deny(Who::User(uid))), Err(Refusal::Deny));
        assert_eq!(verdict(new().deny(Who::User(uid + 1))), Ok(()));
        assert_eq!(verdict(new().allow(Who::Group(gid))), Ok(()));
        assert_eq!(verdict(new().allow(Who::Group(gid + 1))), Err(Refusal::Allow));
        assert_eq!(verdict(new().deny(Who::Group(gid))), Err(Refusal::Deny));
        assert_eq!(verdict(new().deny(Who::Group(gid + 1))), Ok(()));
        let both = new().allow(Who::User(uid)).deny(Who::Group(gid));
        assert_eq!(verdict(both), Err(Refusal::Deny));
        // Networks have nothing to do with them.
        assert_eq!(verdict(new().deny(net("0.0.0.0/0")).deny(net("::/0"))), Ok(()));
        assert_eq!(verdict(new().allow(net("0.0.0.0/0"))), Err(Refusal::Allow));
    }
    let (server, judged) = greeter(TCP, Access::new().allow(Who::User(uid)));
    hears("127.0.0.1", &server);
    assert_eq!(next(&judged), Err(Refusal::Allow), "a client of TCP has no user");
}

/// Runs `client` in a thread of another user, if this process may do that.
fn as_another_user(uid: u32, client: impl FnOnce() + Send + 'static) -> bool {
    if !geteuid().is_root() {
        return false;
    }
    let thread = std::thread::spawn(move || {
        let uid = Uid::from_raw(uid);
        // Of this thread alone; there is no way back, for it ends.
        set_thread_res_uid(uid, uid, uid).unwrap();
        client();
    });
    thread.join().unwrap();
    true
}

#[test]
fn another_user_is_another_client_whatever_its_socket_is_called() {
    const OTHER: u32 = 64_000;
    for scheme in ["unix", "unixgram"] {
        let access = Access::new().deny(Who::User(OTHER)).max_per_source(1);
        let (server, judged) = greeter(&format!("{scheme}://@{}", unique_name()), access);
        let server_address = server.server_address().clone();
        let name = unique_name();
        let call = move || {
            let named = Address::Unix(UnixAddress::Abstract(name.clone().into_bytes()));
            let kind = if scheme == "unix" { Type::STREAM } else { Type::DGRAM };
            let socket = Socket::new(Domain::UNIX, kind, None).unwrap();
            socket.bind(&common::to_kernel(&named)).unwrap();
            socket.connect(&common::to_kernel(&server_address)).unwrap();
            // Who is refused may be gone already.
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
fn a_request_knows_who_is_at_the_other_end() {
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
fn a_unix_client_that_is_not_known_is_refused_where_it_matters() {
    // A socket of TCP has no user, whatever is said of its address.
    let (request, _client) = common::pair();
    let unix = Address::Unix(UnixAddress::Unnamed);
    for access in [
        Access::new().deny(Who::User(4_000_000)),
        Access::new().allow(Who::Group(0)),
        Access::new().max_per_source(1),
        Access::new().source_rate(1.0, 1),
    ] {
        assert_eq!(access.verify_request(&request, &unix), Err(Refusal::Peer));
    }
    let indifferent = Access::new().deny(net("10.0.0.0/8")).rate(1, Duration::ZERO);
    assert_eq!(indifferent.verify_request(&request, &unix), Ok(()));
}

/// A server whose handlers wait at a gate.
fn gated(endpoint: &str, access: Access) -> (Running, Gate, Receiver<Result<(), Refusal>>) {
    let (sender, judged) = mpsc::channel();
    let gate = Gate::default();
    let waiting = gate.clone();
    let handler = move |request: &Request, client: &Address, _: &ServerInfo| {
        waiting.wait();
        match request.data() {
            [] => request.sendall(b"in"),
            _ => request.sendto(b"in", client).map(drop),
        }
    };
    let server = Server::builder(move |request: &Request, client: &Address, info: &_| {
        let info: &std::sync::Arc<ServerInfo> = info;
        handler(request, client, info)
    })
    .bind(endpoint.parse().unwrap())
    .concurrency(Concurrency::Threading(Threading::new()))
    .hooks(Door(access, sender))
    .build()
    .unwrap();
    (serve(server, NEVER), gate, judged)
}

#[test]
fn a_source_has_so_many_requests_in_flight_and_others_have_theirs() {
    let (server, gate, judged) = gated(TCP, Access::new().max_per_source(2));
    let server_address = address(&server);
    let mut let_in = Vec::new();
    for (client, verdict) in [
        ("127.0.0.1", Ok(())),
        ("127.0.0.1", Ok(())),
        ("127.0.0.1", Err(Refusal::PerSource)),
        ("127.0.0.2", Ok(())),
        ("127.0.0.2", Ok(())),
        ("127.0.0.2", Err(Refusal::PerSource)),
        ("127.0.0.1", Err(Refusal::PerSource)),
    ] {
        let mut client = connect_from(client, server_address);
        assert_eq!(next(&judged), verdict);
        match verdict {
            Ok(()) => let_in.push(client),
            Err(_) => assert_eq!(read_all(&mut client), b""),
        }
    }
    gate.open();
    for client in &mut let_in {
        assert_eq!(read_all(client), b"in");
    }
    // They have ended, so there is room again.
    for _ in 0..3 {
        assert_eq!(hears("127.0.0.1", &server), b"in");
        assert_eq!(next(&judged), Ok(()));
    }
}

#[test]
fn a_client_that_comes_again_at_once_finds_its_place_free() {
    for concurrency in [Concurrency::Sync, Concurrency::Threading(Threading::new())] {
        let (sender, judged) = mpsc::channel();
        let server = common::builder(echo)
            .concurrency(concurrency)
            .hooks(Door(Access::new().max_per_source(1), sender))
            .build()
            .unwrap();
        let server = serve(server, NEVER);
        for _ in 0..300 {
            assert_eq!(common::talk(&server, b"x"), b"x");
            assert_eq!(next(&judged), Ok(()));
        }
    }
}

#[test]
fn datagrams_in_flight_count_for_their_source() {
    let (_directory, endpoints) = datagram_endpoints();
    for endpoint in endpoints {
        let (server, gate, judged) = gated(&endpoint.to_string(), Access::new().max_per_source(1));
        let client = Gram::new(server.server_address());
        client.send(b"first");
        assert_eq!(next(&judged), Ok(()));
        client.send(b"second");
        assert_eq!(next(&judged), Err(Refusal::PerSource), "{endpoint}");
        gate.open();
        assert_eq!(client.receive(), b"in");
        // The handler may not have returned yet.
        wait_until("there is room", || {
            client.send(b"third");
            next(&judged).is_ok()
        });
    }
}

#[test]
fn a_failed_request_frees_its_place_too() {
    let (sender, judged) = mpsc::channel();
    let handler = |_: &Request| -> std::io::Result<()> { panic!("as the test wants it") };
    let server = common::builder(handler)
        .hooks(Door(Access::new().max_per_source(1), sender))
        .build()
        .unwrap();
    let server = serve(server, NEVER);
    for _ in 0..5 {
        assert_eq!(hears("127.0.0.1", &server), b"");
        assert_eq!(next(&judged), Ok(()));
    }
}

#[test]
fn what_a_request_keeps_is_dropped_with_its_last_clone() {
    struct Kept(Sender<()>);
    impl Drop for Kept {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
        }
    }
    let (sender, dropped) = mpsc::channel();
    let (request, _client) = common::pair();
    let clone = request.clone();
    request.keep(Kept(sender));
    drop(request);
    assert!(dropped.try_recv().is_err());
    drop(clone);
    assert!(dropped.try_recv().is_ok());
}

#[test]
fn a_source_has_a_burst_and_others_have_theirs() {
    // What comes back takes a quarter of an hour.
    let (server, judged) = greeter(TCP, Access::new().source_rate(0.001, 3));
    for client in ["127.0.0.1", "127.0.0.2"] {
        for _ in 0..3 {
            assert_eq!(hears(client, &server), b"in");
            assert_eq!(next(&judged), Ok(()));
        }
        for _ in 0..3 {
            assert_eq!(hears(client, &server), b"");
            assert_eq!(next(&judged), Err(Refusal::SourceRate));
        }
    }
}

/// Connects until one is refused: `most` have been served before, and in the same
/// second.
fn exceed(server: &Server, judged: &Receiver<Result<(), Refusal>>, most: usize) {
    let mut let_in = 0;
    loop {
        let answer = hears("127.0.0.1", server);
        match next(judged) {
            Ok(()) => assert_eq!(answer, b"in"),
            Err(refusal) => {
                assert_eq!((refusal, &*answer), (Refusal::Rate, &b""[..]));
                assert!(let_in >= most, "{let_in}");
                return;
            }
        }
        let_in += 1;
    }
}

#[test]
fn too_many_in_a_second_and_nobody_is_taken_until_the_pause_is_over() {
    let access = Access::new().rate(3, Duration::from_millis(200));
    let (server, judged) = greeter(TCP, access);
    // In the second round one has been served already.
    for most in [3, 2] {
        exceed(&server, &judged, most);
        // It is in the backlog: it is served, and not refused.
        assert_eq!(hears("127.0.0.1", &server), b"in");
        assert_eq!(next(&judged), Ok(()));
    }
}

#[test]
fn a_pause_leaves_the_sockets_alone_and_a_shutdown_is_noticed() {
    let (server, judged) = greeter(TCP, Access::new().rate(1, Duration::from_hours(1)));
    exceed(&server, &judged, 1);
    let mut waits = connect_from("127.0.0.1", address(&server));
    server.wait_until_idle();
    waits.set_nonblocking(true).unwrap();
    assert!(waits.read(&mut [0]).is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock));
    assert!(judged.try_recv().is_err());
    server.shutdown_handle().request_shutdown();
    in_time(|| server.join()).unwrap();
}

#[test]
fn handle_request_waits_for_the_end_of_a_pause_too() {
    let (sender, judged) = mpsc::channel();
    let server = common::builder(|request| request.sendall(b"in"))
        .hooks(Door(Access::new().rate(1, Duration::from_millis(200)), sender))
        .build()
        .unwrap();
    let mut verdicts = Vec::new();
    while verdicts.last() != Some(&Err(Refusal::Rate)) {
        let _client = connect_from("127.0.0.1", address(&server));
        server.handle_request().unwrap();
        verdicts.push(next(&judged));
    }
    let _client = connect_from("127.0.0.1", address(&server));
    server.handle_request().unwrap();
    assert_eq!(next(&judged), Ok(()));
}

#[test]
fn those_who_are_refused_anyway_do_not_count_for_the_rate() {
    let access =
        Access::new().deny(net("127.0.0.2")).source_rate(0.001, 1).rate(1, Duration::from_hours(1));
    let (server, judged) = greeter(TCP, access);
    for _ in 0..20 {
        assert_eq!(hears("127.0.0.2", &server), b"");
        assert_eq!(next(&judged), Err(Refusal::Deny));
    }
    assert_eq!(hears("127.0.0.1", &server), b"in");
    assert_eq!(next(&judged), Ok(()));
    for _ in 0..20 {
        assert_eq!(hears("127.0.0.1", &server), b"");
        assert_eq!(next(&judged), Err(Refusal::SourceRate));
    }
}

#[test]
fn a_busy_machine_serves_nobody() {
    for (limit, verdict) in [(0.0, Err(Refusal::Load)), (1e9, Ok(()))] {
        let (server, judged) = greeter(TCP, Access::new().max_load(limit));
        hears("127.0.0.1", &server);
        assert_eq!(next(&judged), verdict);
    }
}

#[test]
fn clients_are_served_at_some_times_of_the_day() {
    static NOW: AtomicU64 = AtomicU64::new(0);
    fn clock() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(NOW.load(Ordering::SeqCst))
    }
    // Whatever the local time is, it is in one half of the day.
    let halves = ["00:00-12:00", "12:00-00:00"].map(|half| {
        let times = vec![half.parse().unwrap()];
        greeter(TCP, Access::new().access_times_by(times, clock).unwrap())
    });
    let both = || {
        halves.each_ref().map(|(server, judged)| {
            hears("127.0.0.1", server);
            next(judged)
        })
    };
    let refused = Err(Refusal::Hours);
    let first = both();
    assert!([[Ok(()), refused], [refused, Ok(())]].contains(&first), "{first:?}");
    NOW.store(12 * 60 * 60, Ordering::SeqCst);
    let [am, pm] = both();
    assert_eq!([pm, am], first);
    let (server, judged) = greeter(TCP, Access::new().access_times(Vec::new()).unwrap());
    hears("127.0.0.1", &server);
    assert_eq!(next(&judged), refused, "no times are none");
}

#[test]
fn a_refused_client_hears_the_banner_whatever_the_rule_was() {
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
fn a_client_that_has_spoken_first_hears_the_banner_and_no_reset() {
    let banner = vec![b'x'; MAX_BANNER];
    // Nobody is let in.
    let access = Access::new().max_load(0.0).banner([&*banner, b"and more"].concat());
    let (sender, _judged) = mpsc::channel();
    let unix: Endpoint = format!("unix://@{}", unique_name()).parse().unwrap();
    let server = common::builder(echo).bind(unix).hooks(Door(access, sender)).build().unwrap();
    for endpoint in server.endpoints() {
        for said in [0, 1, 4096, 10_000] {
            let to = common::to_kernel(endpoint.address());
            let client = Socket::new(to.domain(), Type::STREAM, None).unwrap();
            client.connect(&to).unwrap();
            client.set_read_timeout(Some(WAIT)).unwrap();
            (&client).write_all(&vec![b'y'; said]).unwrap();
            // All of it is there before the server looks.
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
fn a_refusal_has_a_word_of_its_own() {
    let words = Refusal::ALL.map(Refusal::as_str);
    let expected = ["deny", "peer", "allow", "hours", "load", "source-rate", "per-source", "rate"];
    assert_eq!(words, expected);
    assert_eq!(Refusal::PerSource.to_string(), "per-source");
}

#[test]
fn a_flood_of_refused_clients_does_not_starve_the_others() {
    let (server, judged) = greeter(TCP, Access::new().deny(net("127.0.0.2")));
    let server_address = address(&server);
    let (stop, stopped) = mpsc::channel::<()>();
    let flood = std::thread::spawn(move || {
        let mut count = 0;
        while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
            drop(connect_from("127.0.0.2", server_address));
            count += 1;
        }
        count
    });
    let mut refused = 0;
    let mut answered = 0;
    // As long as it takes to see them mixed.
    while answered < 50 || refused < 500 {
        assert_eq!(hears("127.0.0.1", &server), b"in");
        answered += 1;
        refused += judged.try_iter().filter(Result::is_err).count();
    }
    drop(stop);
    assert!(flood.join().unwrap() >= 500);
}
