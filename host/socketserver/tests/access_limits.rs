//! The rules of super-servers that count, or read the clock: each admits the clients within
//! its limit, and refuses all others.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{
    AccessHooks, Gate, Gram, NEVER, Running, TCP, address, connect_from, datagram_endpoints, echo,
    greeter, hears, in_time, net, next, read_all, serve, wait_until,
};
use socketserver::access::{Access, Refusal};
use socketserver::{Address, Concurrency, Request, Server, ServerInfo, Threading};

/// Returns a server whose handlers wait at a gate.
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
    .hooks(AccessHooks(access, sender))
    .build()
    .unwrap();
    (serve(server, NEVER), gate, judged)
}

#[test]
fn each_source_has_its_own_limit_of_requests_in_flight() {
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
    // They have ended, so there are permits again.
    for _ in 0..3 {
        assert_eq!(hears("127.0.0.1", &server), b"in");
        assert_eq!(next(&judged), Ok(()));
    }
}

#[test]
fn a_client_that_connects_again_at_once_finds_its_permit_free() {
    for concurrency in [Concurrency::Sync, Concurrency::Threading(Threading::new())] {
        let (sender, judged) = mpsc::channel();
        let server = common::builder(echo)
            .concurrency(concurrency)
            .hooks(AccessHooks(Access::new().max_per_source(1), sender))
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
fn a_failed_request_frees_its_permit_too() {
    let (sender, judged) = mpsc::channel();
    let handler = |_: &Request| -> std::io::Result<()> { panic!("as the test wants it") };
    let server = common::builder(handler)
        .hooks(AccessHooks(Access::new().max_per_source(1), sender))
        .build()
        .unwrap();
    let server = serve(server, NEVER);
    for _ in 0..5 {
        assert_eq!(hears("127.0.0.1", &server), b"");
        assert_eq!(next(&judged), Ok(()));
    }
}

#[test]
fn the_guards_of_a_request_without_a_server_end_with_its_last_clone() {
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
fn each_source_has_its_own_burst() {
    // A token takes a quarter of an hour.
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

/// Clients that come at that rate. After a late client, the next ones wait as long, so that
/// there are never more in a second.
fn paced(server: &Server, count: u32, every: Duration) -> Vec<std::net::TcpStream> {
    let come = |_| {
        std::thread::sleep(every);
        connect_from("127.0.0.1", address(server))
    };
    (0..count).map(come).collect()
}

#[test]
fn one_client_too_many_in_a_second_begins_a_pause_for_all() {
    let (server, judged) = greeter(TCP, Access::new().rate(3, Duration::from_hours(1)));
    for verdict in [Ok(()), Ok(()), Ok(()), Err(Refusal::Rate), Err(Refusal::Pause)] {
        let answer = hears("127.0.0.1", &server);
        assert_eq!((next(&judged), &*answer), (verdict, verdict.map_or(&b""[..], |()| b"in")));
    }
    // The clients do not wait, and neither does the end.
    server.wait_until_idle();
    server.shutdown_handle().request_shutdown();
    in_time(|| server.join()).unwrap();
}

/// Clients that come in a pause must not cause the next pause.
#[test]
fn a_burst_causes_one_pause_and_a_load_below_the_rate_causes_none() {
    let (server, judged) = greeter(TCP, Access::new().rate(50, Duration::from_millis(500)));
    let _burst = paced(&server, 100, Duration::ZERO);
    let mut steady = paced(&server, 90, Duration::from_millis(33));
    assert_eq!(read_all(steady.last_mut().unwrap()), b"in");
    let verdicts: Vec<_> = judged.try_iter().collect();
    let count = |verdict| verdicts.iter().filter(|other| **other == verdict).count();
    assert_eq!(count(Err(Refusal::Rate)), 1, "{verdicts:?}");
    assert!(count(Ok(())) >= 50 + 70, "{verdicts:?}");
}

#[test]
fn clients_that_waited_for_a_permit_do_not_count_as_a_burst() {
    let rules =
        || [Access::new().rate(50, Duration::from_hours(1)), Access::new().source_rate(50.0, 10)];
    for concurrency in [Concurrency::Sync, common::at_most(1)] {
        for access in rules() {
            let (sender, judged) = mpsc::channel();
            let gate = Gate::default();
            let waiting = gate.clone();
            let server = common::builder(move |request| {
                waiting.wait();
                request.sendall(b"in")
            });
            let server = server.concurrency(concurrency.clone()).hooks(AccessHooks(access, sender));
            let server = serve(server.build().unwrap(), NEVER);
            let mut clients = paced(&server, 60, Duration::from_millis(25));
            gate.open();
            for client in &mut clients {
                assert_eq!(read_all(client), b"in");
            }
            assert!(judged.try_iter().all(|verdict| verdict.is_ok()));
        }
    }
}

#[test]
fn clients_that_another_rule_refuses_do_not_count_for_the_rate() {
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
fn a_busy_machine_refuses_all_clients() {
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
    // The local time is in one half of the day.
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
