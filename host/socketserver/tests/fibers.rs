//! `Concurrency::Fibers`: requests as tasks of a few threads.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{
    Answer, Asynchronous, Gram, NEVER, builder, connect, echo, localhost, next_error, read_all,
    recorder, serve, talk, udp,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socketserver::{Address, Concurrency, Fibers, Request, Server, ServerBuilder};

fn fibers(
    threads: usize,
    handler: impl for<'a> Fn(&'a Request, &'a Address) -> Answer<'a> + Send + Sync + 'static,
) -> ServerBuilder {
    Server::builder(Asynchronous(handler)).concurrency(concurrency(threads))
}

fn concurrency(threads: usize) -> Concurrency {
    Concurrency::Fibers(Fibers { threads, ..Fibers::new() })
}

/// Reads that many bytes.
fn exactly(client: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut data = vec![0; count];
    client.read_exact(&mut data).unwrap();
    data
}

fn echo_async<'a>(request: &'a Request, _: &'a Address) -> Answer<'a> {
    Box::pin(async {
        loop {
            let data = request.recv_async(4096).await?;
            if data.is_empty() {
                return Ok(());
            }
            request.sendall_async(&data).await?;
        }
    })
}

#[test]
fn a_thread_holds_a_thousand_requests_that_wait() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let server = serve(fibers(1, echo_async).bind(localhost()).build().unwrap(), NEVER);
    let mut clients: Vec<TcpStream> = (0..1000).map(|_| connect(&server)).collect();
    for round in [b"first".as_slice(), b"second"] {
        for client in &mut clients {
            client.write_all(round).unwrap();
        }
        for client in &mut clients {
            assert_eq!(exactly(client, round.len()), round);
        }
    }
}

#[test]
fn megabytes_go_both_ways() {
    let server = serve(fibers(2, echo_async).bind(localhost()).build().unwrap(), NEVER);
    let clients: Vec<_> = (0..4_u8)
        .map(|number| {
            let mut client = connect(&server);
            std::thread::spawn(move || {
                let data = vec![number; 8 << 20];
                let mut sending = client.try_clone().unwrap();
                let (sent, expected) = (data.clone(), data.len());
                let sender = std::thread::spawn(move || sending.write_all(&sent).unwrap());
                assert_eq!(exactly(&mut client, expected), data);
                sender.join().unwrap();
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
}

#[test]
fn a_request_has_its_own_timeouts() {
    let (hooks, events) = recorder();
    let server = fibers(1, |request, _| {
        Box::pin(async {
            request.settimeout(Some(Duration::from_millis(20)));
            Ok(request.recv_async(1).await.map(drop)?)
        })
    });
    let server = serve(server.bind(localhost()).hooks(hooks).build().unwrap(), NEVER);
    let (mut patient, mut other) = (connect(&server), connect(&server));
    assert_eq!(read_all(&mut patient), b"");
    assert_eq!(read_all(&mut other), b"");
    assert!(next_error(&events).2.contains("timed out"));
}

#[test]
fn a_panic_ends_its_request_only() {
    let (hooks, events) = recorder();
    let server = fibers(1, |request, _| {
        Box::pin(async {
            let data = request.recv_async(4).await?;
            assert_ne!(data, b"fall");
            Ok(request.sendall_async(&data).await?)
        })
    });
    let server = serve(server.bind(localhost()).hooks(hooks).build().unwrap(), NEVER);
    let mut stays = connect(&server);
    assert_eq!(talk(&server, b"fall"), b"");
    assert!(next_error(&events).2.contains("assertion"));
    stays.write_all(b"stay").unwrap();
    assert_eq!(read_all(&mut stays), b"stay");
}

#[test]
fn requests_of_datagrams_share_a_socket() {
    let server = fibers(1, |request, client_address| {
        Box::pin(async {
            Ok(request.sendto_async(request.data(), client_address).await.map(drop)?)
        })
    });
    let server = serve(server.bind(udp()).build().unwrap(), NEVER);
    let clients: Vec<Gram> = (0..20).map(|_| Gram::new(server.server_address())).collect();
    for client in &clients {
        client.send(b"x");
    }
    for client in &clients {
        assert_eq!(client.receive(), b"x");
    }
}

#[test]
fn a_request_of_a_datagram_may_wait_for_the_socket_of_the_server() {
    let server = fibers(1, |request, client_address| {
        Box::pin(async {
            let end = Instant::now().checked_add(Duration::from_millis(1));
            let is_readable = request.readable_async(request.as_fd(), end).await?;
            let answer = if is_readable { b"readable" } else { b"timeout!" };
            Ok(request.sendto_async(answer, client_address).await.map(drop)?)
        })
    });
    let server = serve(server.bind(udp()).build().unwrap(), NEVER);
    let client = Gram::new(server.server_address());
    for _ in 0..3 {
        client.send(b"x");
        assert_eq!(client.receive(), b"timeout!");
    }
}

#[test]
fn a_handler_without_async_calls_blocks_its_thread_and_is_served() {
    let server = builder(echo).concurrency(concurrency(1));
    let server = serve(server.build().unwrap(), NEVER);
    assert_eq!(talk(&server, b"one"), b"one");
    assert_eq!(talk(&server, b"two"), b"two");
}

#[test]
fn closing_waits_for_requests() {
    let server = fibers(1, echo_async).bind(localhost()).build().unwrap();
    let running = serve(server, NEVER);
    let mut client = connect(&running);
    client.write_all(b"x").unwrap();
    assert_eq!(exactly(&mut client, 1), b"x");
    running.shutdown().unwrap();
    assert_eq!(running.server_close_within(Duration::from_millis(1)), 1);
    let ended = Arc::new(AtomicUsize::new(0));
    let closer = std::thread::spawn({
        let (server, ended) = (running.shared(), Arc::clone(&ended));
        move || {
            server.server_close();
            ended.fetch_add(1, Ordering::Relaxed);
        }
    });
    assert_eq!(ended.load(Ordering::Relaxed), 0);
    drop(client);
    closer.join().unwrap();
}
