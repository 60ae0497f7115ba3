//! Attacks on the broker itself. A bystander is served after each of them.

use std::fs;
use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::cmsg_space;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, sendmsg};

use super::*;

/// The most descriptors that the kernel lets one message pass: `SCM_MAX_FD`.
const MOST_DESCRIPTORS: usize = 253;

/// Sends a message with many copies of a descriptor.
fn send_with_many(socket: &OwnedFd, message: &[u8], descriptor: impl AsFd) -> io::Result<()> {
    let descriptors: Vec<BorrowedFd<'_>> = vec![descriptor.as_fd(); MOST_DESCRIPTORS];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    sendmsg(socket, &[IoSlice::new(message)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn is_served(running: &Running) {
    assert_eq!(ask(&running.request(), &tcp()), Answer::Socket(1));
}

/// Returns calls of each kind that are long enough to be cut.
fn calls() -> Vec<Vec<u8>> {
    let address = wire_address("127.0.0.1:1");
    let calls = [
        tcp(),
        Call::SocketPair { kind: Type::STREAM.into() },
        Call::Bind { socket: 1, address: address.clone() },
        Call::Listen { socket: 1, backlog: 5 },
        Call::Connect { socket: 1, address: address.clone() },
        Call::Disconnect { socket: 1 },
        Call::SendTo { socket: 1, address, data: b"hello" },
        Call::LookUp { host: Some("localhost"), service: Some("1"), hints: [0; 4] },
        Call::Close { socket: 1 },
    ];
    calls.iter().map(|call| to_bytes(call).unwrap()).collect()
}

#[test]
fn half_a_message_ends_its_connection_only() {
    let running = start(connect_grants(&["tcp://127.0.0.1:1"]), LIMITS);
    let bystander = running.request();
    for call in calls() {
        for length in 1..call.len() {
            let hostile = running.request();
            wire::send_call(&hostile, &call[..length]).unwrap();
            let mut answer = Vec::with_capacity(MAX_MESSAGE);
            let received = wire::receive_message(&hostile, &mut answer, RecvFlags::empty());
            assert!(received.unwrap().is_empty());
            assert!(answer.is_empty(), "{call:?} has an answer after {length} bytes");
        }
    }
    assert_eq!(ask(&bystander, &tcp()), Answer::Socket(1));
}

#[test]
fn descriptors_that_a_process_passes_are_closed() {
    let running = start(connect_grants(&["tcp://127.0.0.1:1"]), LIMITS);
    let (mut reader, writer) = io::pipe().unwrap();
    let close = to_bytes(&Call::Close { socket: 7 }).unwrap();
    let hostile = running.request();
    for _ in 0..20 {
        let descriptors = [writer.as_fd(), writer.as_fd()];
        wire::send_message(&hostile, &close, &descriptors, SendFlags::empty()).unwrap();
        let mut answer = Vec::with_capacity(MAX_MESSAGE);
        wire::receive_message(&hostile, &mut answer, RecvFlags::empty()).unwrap();
        assert_eq!(from_bytes::<Answer>(&answer).unwrap(), failed(Errno::BADF));
    }
    // More than any message has end the connection.
    let others: Vec<_> = (0..20).map(|_| running.request()).collect();
    for other in &others {
        send_with_many(other, &close, &writer).unwrap();
    }
    // At the door, too, where only the server can pass any.
    for letter in [b"r", b"w", b"x"] {
        send_with_many(&running.broker.door, letter, &writer).unwrap();
    }
    running.broker.bell.ring();
    drop((hostile, others, writer));
    // The end of the pipe comes when all copies are closed.
    assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
    is_served(&running);
}

#[test]
fn processes_that_end_in_the_middle_leave_nothing() {
    let limits = BrokerLimits { all_sockets: 2, ..LIMITS };
    let running = start(connect_grants(&["tcp://127.0.0.1:1", "tcp://localhost:1"]), limits);
    for call in calls().iter().cycle().take(500) {
        let hostile = running.request();
        for message in [&to_bytes(&tcp()).unwrap(), call] {
            // The broker may have too many connections for a moment.
            let _ = wire::send_call(&hostile, message);
        }
    }
    let both = || {
        let one = running.request();
        let first = try_ask(&one, &tcp()).map(|(answer, _)| answer);
        let second = try_ask(&one, &tcp()).map(|(answer, _)| answer);
        (first, second) == (Some(Answer::Socket(1)), Some(Answer::Socket(2)))
    };
    while !both() {
        thread::yield_now();
    }
}

#[test]
fn a_process_has_no_socket_of_another() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let running = start(connect_grants(&[&format!("tcp://{address}")]), LIMITS);
    let victim = running.request();
    assert_eq!(ask(&victim, &tcp()), Answer::Socket(1));
    let hostile = running.request();
    for socket in [0, 1, 2, u32::MAX] {
        for call in [
            Call::Bind { socket, address: wire_address("127.0.0.1:0") },
            Call::Listen { socket, backlog: 1 },
            Call::Connect { socket, address: wire_address(&address.to_string()) },
            Call::Disconnect { socket },
            Call::SendTo { socket, address: wire_address(&address.to_string()), data: b"x" },
            Call::Close { socket },
        ] {
            assert_eq!(ask(&hostile, &call), failed(Errno::BADF), "{call:?}");
        }
    }
    // A process for one request gets no connections of others, whatever it says.
    assert_eq!(ask(&hostile, &Call::Connection), failed(Errno::OPNOTSUPP));
    let connect = Call::Connect { socket: 1, address: wire_address(&address.to_string()) };
    let connected = ask(&victim, &connect);
    assert!(connected == Answer::Done || connected == failed(Errno::INPROGRESS), "{connected:?}");
    listener.accept().unwrap();
}

#[test]
fn a_bell_that_rings_without_end_delays_no_other() {
    let running = start(connect_grants(&["tcp://127.0.0.1:1"]), LIMITS);
    let is_over = Arc::new(());
    let flood = {
        let (bell, is_over) = (Arc::clone(&running.broker.bell), Arc::clone(&is_over));
        thread::spawn(move || {
            while Arc::strong_count(&is_over) > 1 {
                bell.ring();
            }
        })
    };
    (0..100).for_each(|_| is_served(&running));
    drop(is_over);
    flood.join().unwrap();
}

/// Processes come and end without a call, as those of most requests.
#[test]
fn the_queue_at_the_door_is_cleared_when_it_grows() {
    let running = start(connect_grants(&["tcp://127.0.0.1:1"]), LIMITS);
    let mut waiting = Vec::new();
    for number in 0..3000 {
        let (own, other) = wire::pair().unwrap();
        running.broker.pass(ProcessKind::Request, &other).unwrap();
        if number % 1000 == 0 {
            waiting.push(own);
        }
    }
    // Those that live have kept their place.
    running.broker.bell.ring();
    for one in &waiting {
        assert_eq!(ask(one, &tcp()), Answer::Socket(1));
    }
}

#[test]
fn a_process_that_does_not_ring_is_not_heard() {
    let running = start(connect_grants(&["tcp://127.0.0.1:1"]), LIMITS);
    let (own, other) = wire::pair().unwrap();
    running.broker.pass(ProcessKind::Request, &other).unwrap();
    wire::send_call(&own, &to_bytes(&tcp()).unwrap()).unwrap();
    let answered = |longest| wire::wait(&own, PollFlags::IN, longest).unwrap();
    assert!(!answered(Duration::from_millis(100)));
    running.broker.bell.ring();
    assert!(answered(Duration::from_mins(1)));
}

/// The request that waits is at its limit long before the broker would be at fault.
#[test]
fn a_call_waits_for_a_broker_that_hangs_within_the_limits_of_its_request() {
    let request = || {
        let request = Request::new(UnixStream::pair().unwrap().0);
        request.set_wall_time(Some(Duration::from_millis(200)));
        request
    };
    // Nothing answers at the other end.
    let (own, _other) = wire::pair().unwrap();
    let begun = Instant::now();
    let connection = Arc::new(Connection::new(own, None));
    connection.set_request(&request());
    let failed = connection.socket(Domain::IPV4, Type::STREAM, 0).unwrap_err();
    assert_eq!(Errno::from_io_error(&failed), Some(Errno::NETDOWN));
    // The connection of a worker, which its requests share.
    let (own, other) = wire::pair().unwrap();
    let worker = Connection::new(own, None);
    thread::scope(|scope| {
        let ask = || assert!(worker.connection_for(&request()).is_err());
        (0..3).map(|_| scope.spawn(ask)).for_each(|thread| thread.join().unwrap());
    });
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    // A broker that goes on answers the first call, which nothing waits for, and then the second.
    let answer = to_bytes(&Answer::Connection).unwrap();
    let mut calls = Vec::with_capacity(MAX_MESSAGE);
    while wire::receive_message(&other, &mut calls, RecvFlags::DONTWAIT).is_ok() {
        let (_mine, theirs) = wire::pair().unwrap();
        let flags = SendFlags::empty();
        wire::send_message(&other, &answer, &[theirs.as_fd()], flags).unwrap();
        calls = Vec::with_capacity(MAX_MESSAGE);
    }
    let broker = thread::spawn(move || {
        let mut call = Vec::with_capacity(MAX_MESSAGE);
        wire::receive_message(&other, &mut call, RecvFlags::empty()).unwrap();
        assert_eq!(from_bytes::<Call<'_>>(&call).unwrap(), Call::Connection);
        let (mine, theirs) = wire::pair().unwrap();
        wire::send_message(&other, &answer, &[theirs.as_fd()], SendFlags::empty()).unwrap();
        mine
    });
    let later = Request::new(UnixStream::pair().unwrap().0);
    assert!(worker.connection_for(&later).is_ok());
    broker.join().unwrap();
}

#[test]
fn the_broker_keeps_no_descriptor_of_a_process_that_ended() {
    let limits = BrokerLimits { connections: 1000, ..LIMITS };
    let running = start(connect_grants(&["tcp://127.0.0.1:1"]), limits);
    // The other tests of this process have descriptors, too.
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    for _ in 0..2000 {
        is_served(&running);
    }
    while open() > 1500 {
        thread::yield_now();
    }
}
