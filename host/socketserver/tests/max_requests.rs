//! The limit on the requests in flight.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, mpsc};

use common::{
    Event, Gate, NEVER, SOON, at_most, builder, client_with, connect, connect_to, echo, gated,
    localhost, next, read_all, recorder, serve,
};
use socketserver::{
    BuildError, Capacity, Concurrency, Forking, Needs, Threading, WorkerConcurrency, Workers,
};

#[test]
fn b40_past_max_requests_a_client_waits_until_another_leaves() {
    let (hooks, events) = recorder();
    let turns = Arc::new(Mutex::new(Vec::<Gate>::new()));
    let (sender, entered) = mpsc::channel();
    let server = builder({
        let turns = Arc::clone(&turns);
        move |request| {
            let gate = Gate::default();
            turns.lock().unwrap().push(gate.clone());
            sender.send(request.recv(1)?).unwrap();
            gate.wait();
            request.sendall(b"done")
        }
    });
    let server = server.hooks(hooks).concurrency(at_most(2)).build().unwrap();
    assert_eq!(server.max_requests(), 2);
    let server = serve(server, SOON);
    let mut first = client_with(&server, b"1");
    assert_eq!(next(&entered), b"1");
    let mut second = client_with(&server, b"2");
    assert_eq!(next(&entered), b"2");
    let mut third = client_with(&server, b"3");
    let verified = |event: &Event| matches!(event, Event::Verify(_));
    let mut taken = events.try_iter().filter(verified).count();
    for _ in 0..5 {
        taken += usize::from(verified(&next(&events)));
    }
    assert_eq!(taken, 2, "the third is not taken yet");

    turns.lock().unwrap()[1].open();
    assert_eq!(read_all(&mut second), b"done");
    assert_eq!(next(&entered), b"3");
    for gate in &*turns.lock().unwrap() {
        gate.open();
    }
    assert_eq!([read_all(&mut first), read_all(&mut third)], [b"done", b"done"]);
}

#[test]
fn b40_a_full_server_notices_a_free_permit_and_a_shutdown_at_once() {
    let (server, gate, entered) = gated();
    let server = serve(server.concurrency(at_most(1)).build().unwrap(), NEVER);
    let mut clients = [b"1", b"2"].map(|name| client_with(&server, name));
    assert_eq!(next(&entered), b"1");
    gate.open();
    assert_eq!(next(&entered), b"2", "though the poll interval never passes");
    assert_eq!(clients.each_mut().map(read_all), [b"done"; 2]);

    let (server, gate, entered) = gated();
    let server = serve(server.concurrency(at_most(1)).build().unwrap(), NEVER);
    let mut client = client_with(&server, b"1");
    next(&entered);
    let _waits = connect(&server);
    server.wait_until_idle();
    server.shutdown().unwrap();
    gate.open();
    assert_eq!(read_all(&mut client), b"done");
}

#[test]
fn b40_all_sockets_of_a_full_server_get_their_turns() {
    let (sender, entered) = mpsc::channel();
    let (permit, permits) = mpsc::channel::<()>();
    let permits = Mutex::new(permits);
    let server = builder(move |request| {
        sender.send(request.recv(1)?).unwrap();
        next(&permits.lock().unwrap());
        Ok(())
    });
    let server = server.bind(localhost()).concurrency(at_most(1)).build().unwrap();
    let _clients: Vec<TcpStream> = [(0, b"a"), (0, b"a"), (0, b"a"), (0, b"a"), (1, b"b")]
        .into_iter()
        .map(|(socket, name)| {
            let address = server.endpoints()[socket].address().to_socket_addr().unwrap();
            let mut client = connect_to(address).unwrap();
            client.write_all(name).unwrap();
            client
        })
        .collect();
    let server = serve(server, NEVER);
    let order: Vec<Vec<u8>> = (0..5)
        .map(|_| {
            let name = next(&entered);
            permit.send(()).unwrap();
            name
        })
        .collect();
    assert!(order[..2].contains(&b"b".to_vec()), "{order:?}");
    drop(server);
}

#[test]
fn more_requests_than_the_machine_can_hold_are_an_error() {
    let capacity = Capacity { requests: 3, limit: "there are 3 chairs".to_owned() };
    let build = |asked| {
        let threading =
            Threading { max_requests: asked, capacity: capacity.clone(), ..Threading::new() };
        builder(echo).concurrency(Concurrency::Threading(threading)).build()
    };
    assert_eq!(build(Some(3)).unwrap().max_requests(), 3);
    assert_eq!(build(None).unwrap().max_requests(), 3);
    assert_eq!(builder(echo).build().unwrap().max_requests(), 1);
    let error = build(Some(4)).err().unwrap();
    assert!(
        matches!(&error, BuildError::TooManyRequests { asked: 4, capacity: c } if *c == capacity)
    );
    assert!(error.to_string().contains("3 (there are 3 chairs)"), "{error}");
}

#[test]
fn b50_more_children_than_the_machine_can_hold_are_refused() {
    let forking = |max_children, requests| {
        let capacity = Capacity { requests, limit: "that is all".to_owned() };
        let forking = Forking { max_children, capacity, ..Forking::new() };
        builder(echo).concurrency(Concurrency::Forking(forking)).build()
    };
    assert_eq!(forking(40, 40).unwrap().max_requests(), 40);
    assert_eq!(forking(0, 40).unwrap().max_requests(), 1);
    match forking(41, 40).err() {
        Some(BuildError::TooManyRequests { asked: 41, capacity }) => {
            assert_eq!(capacity.to_string(), "40 (that is all)");
        }
        other => panic!("{other:?}"),
    }
    let default = builder(echo).concurrency(Concurrency::Forking(Forking::default()));
    assert_eq!(default.build().unwrap().max_requests(), 40);
}

#[test]
fn workers_have_a_limit_each() {
    let workers = |count, max_requests| {
        let capacity = Capacity { requests: 10, limit: "that is all".to_owned() };
        let threading = Threading { max_requests, capacity, ..Threading::new() };
        let concurrency = WorkerConcurrency::Threading(threading);
        builder(echo).concurrency(Concurrency::Workers(Workers { count, concurrency })).build()
    };
    assert_eq!(workers(3, Some(4)).unwrap().max_requests(), 12);
    assert_eq!(workers(3, None).unwrap().max_requests(), 30);
    assert_eq!(workers(0, Some(4)).unwrap().max_requests(), 4);
    assert!(matches!(workers(3, Some(11)), Err(BuildError::TooManyRequests { asked: 11, .. })));
    assert_eq!(workers(3, Some(4)).unwrap().active_children(), 0, "before they serve");
}

#[test]
fn workers_share_the_memory_and_the_threads_of_the_machine() {
    let one = Needs { memory: 1 << 20, threads: 2, mappings: 3, descriptors: 4, address_space: 5 };
    let expected =
        Needs { memory: 5 << 20, threads: 10, mappings: 3, descriptors: 4, address_space: 5 };
    assert_eq!(one.in_workers(5), expected);
    let all = Capacity::of_this_machine(Needs::THREAD.in_workers(1_000_000));
    let WorkerConcurrency::Threading(threading) = Workers::new(1_000_000).concurrency else {
        panic!("these have threads");
    };
    assert_eq!(threading.capacity.requests, all.requests);
    assert!(all.requests < Capacity::of_this_machine(Needs::THREAD).requests);
}
