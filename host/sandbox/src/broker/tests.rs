//! The broker and native code that took over a process in the jail: the tests write to the
//! connection what they like.

mod hostile;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, Socket, Type};
use socketserver::{Address, Request};

use super::client::Connection;
use super::message::{Answer, Call, MAX_MESSAGE, WireAddress, from_bytes, to_bytes};
use super::{Broker, BrokerLimits, ProcessKind, serve_broker, wire};
use crate::network_grants::NetworkGrants;

const LIMITS: BrokerLimits = BrokerLimits {
    sockets: 4,
    connects: 3,
    all_sockets: 100,
    connections: 8,
    connections_of_worker: 2,
};

/// A broker in a thread, and its door.
struct Running {
    broker: Broker,
    thread: JoinHandle<io::Result<()>>,
}

fn start(grants: NetworkGrants, limits: BrokerLimits) -> Running {
    let (own, other) = Broker::door().unwrap();
    let thread = thread::spawn(move || serve_broker(&other, grants, limits));
    let broker = Broker::when_it_serves(own, Duration::from_mins(1)).unwrap();
    Running { broker, thread }
}

impl Running {
    /// Comes to the door, as a process of this kind.
    fn come(&self, kind: ProcessKind) -> OwnedFd {
        let (own, other) = wire::pair().unwrap();
        self.broker.pass(kind, &other).unwrap();
        self.broker.bell.ring();
        own
    }

    fn request(&self) -> OwnedFd {
        self.come(ProcessKind::Request)
    }
}

fn connect_grants(connect: &[&str]) -> NetworkGrants {
    let connect = connect.iter().map(|text| text.parse().unwrap()).collect();
    NetworkGrants { connect, ..NetworkGrants::default() }
}

/// Makes a call and returns the answer with its descriptors. Without an answer the connection is
/// at its end.
fn try_ask(connection: &OwnedFd, call: &Call<'_>) -> Option<(Answer, Vec<OwnedFd>)> {
    wire::send_call(connection, &to_bytes(call).unwrap()).ok()?;
    let mut answer = Vec::with_capacity(MAX_MESSAGE);
    let descriptors = wire::receive_message(connection, &mut answer, RecvFlags::empty()).ok()?;
    (!answer.is_empty()).then(|| (from_bytes(&answer).unwrap(), descriptors))
}

fn ask(connection: &OwnedFd, call: &Call<'_>) -> Answer {
    try_ask(connection, call).unwrap().0
}

fn failed(errno: Errno) -> Answer {
    Answer::Failed(errno.raw_os_error())
}

fn socket(domain: Domain, kind: Type, protocol: i32) -> Call<'static> {
    Call::Socket { domain: domain.into(), kind: kind.into(), protocol }
}

fn tcp() -> Call<'static> {
    socket(Domain::IPV4, Type::STREAM, 0)
}

fn wire_address(address: &str) -> WireAddress {
    (&Address::from(address.parse::<SocketAddr>().unwrap())).into()
}

fn path(path: &Path) -> WireAddress {
    WireAddress::Pathname(path.to_str().unwrap().into())
}

#[test]
fn each_call_beside_the_grants_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let other = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let grant = format!("tcp://127.0.0.1:{port}");
    let running = start(connect_grants(&[&grant, "tcp://localhost:*"]), LIMITS);
    let connection = running.request();
    for (domain, kind, protocol) in [
        (Domain::IPV4, Type::DGRAM, 0),
        (Domain::IPV6, Type::DGRAM, 17),
        (Domain::IPV4, Type::RAW, 1),
        (Domain::UNIX, Type::STREAM, 0),
    ] {
        let answer = ask(&connection, &socket(domain, kind, protocol));
        assert_eq!(answer, failed(Errno::ACCESS), "{domain:?} {kind:?}");
    }
    // Netlink, packets, SCTP, and numbers with flags or of nothing.
    for (domain, kind, protocol) in
        [(16, 3, 0), (17, 3, 0), (2, 1, 132), (2, 0x80001, 0), (-1, 1, 0), (2, 5, 0)]
    {
        let answer = ask(&connection, &Call::Socket { domain, kind, protocol });
        assert_eq!(answer, failed(Errno::PROTONOSUPPORT), "{domain} {kind}");
    }
    assert_eq!(ask(&connection, &tcp()), Answer::Socket(1));
    let six = socket(Domain::IPV6, Type::STREAM, 0);
    assert_eq!(ask(&connection, &six), Answer::Socket(2));
    let connect =
        |socket, to: &str| ask(&connection, &Call::Connect { socket, address: wire_address(to) });
    for to in [
        format!("127.0.0.1:{other}"),
        format!("127.0.0.2:{port}"),
        format!("0.0.0.0:{port}"),
        "8.8.8.8:53".to_owned(),
    ] {
        assert_eq!(connect(1, &to), failed(Errno::ACCESS), "{to}");
    }
    for to in [format!("[::ffff:127.0.0.1]:{other}"), format!("[::1]:{port}")] {
        assert_eq!(connect(2, &to), failed(Errno::ACCESS), "{to}");
    }
    // A name leads nowhere before its lookup, and afterwards to no private address.
    let look_up =
        |host| ask(&connection, &Call::LookUp { host, service: Some("1"), hints: [0, 0, 1, 0] });
    assert!(matches!(look_up(Some("localhost")), Answer::Found(_)));
    assert_eq!(connect(1, &format!("127.0.0.1:{other}")), failed(Errno::ACCESS));
    for host in [Some("www.example"), Some("localhost.example"), Some("127.0.0.1"), None] {
        assert_eq!(look_up(host), failed(Errno::ACCESS), "{host:?}");
    }
    let hints = [libc::AI_CANONNAME, 0, 0, 0];
    for (service, hints) in [(Some("http"), [0; 4]), (None, hints)] {
        let call = Call::LookUp { host: Some("localhost"), service, hints };
        assert_eq!(ask(&connection, &call), failed(Errno::ACCESS));
    }
    let bind = |to: &str| ask(&connection, &Call::Bind { socket: 1, address: wire_address(to) });
    assert_eq!(bind(&format!("127.0.0.1:{other}")), failed(Errno::ACCESS));
    let listen = ask(&connection, &Call::Listen { socket: 1, backlog: 1 });
    assert_eq!(listen, failed(Errno::ACCESS));
    // A client may have a free port, and may not wait there for others.
    assert_eq!(bind("127.0.0.1:0"), Answer::Done);
    let listen = ask(&connection, &Call::Listen { socket: 1, backlog: 1 });
    assert_eq!(listen, failed(Errno::ACCESS));
    let pathname = WireAddress::Pathname(b"/run/x".to_vec());
    for address in [pathname, WireAddress::Unnamed, WireAddress::Abstract(b"x".to_vec())] {
        let answer = ask(&connection, &Call::Connect { socket: 1, address });
        assert_eq!(answer, failed(Errno::AFNOSUPPORT));
    }
    let send_to = |to: &str| {
        ask(&connection, &Call::SendTo { socket: 1, address: wire_address(to), data: b"x" })
    };
    assert_eq!(send_to(&format!("127.0.0.1:{other}")), failed(Errno::ACCESS));
    assert_eq!(connect(7, &format!("127.0.0.1:{port}")), failed(Errno::BADF));
    assert_eq!(ask(&connection, &Call::Connection), failed(Errno::OPNOTSUPP));
    // What is granted works after all of this.
    let granted = connect(1, &format!("127.0.0.1:{port}"));
    assert!(granted == Answer::Done || granted == failed(Errno::INPROGRESS), "{granted:?}");
    listener.accept().unwrap();
}

#[test]
fn datagrams_and_paths_go_to_granted_addresses_only() {
    let directory = tempfile::tempdir().unwrap();
    let (granted, beside) = (directory.path().join("granted"), directory.path().join("beside"));
    let _listeners = [UnixListener::bind(&granted).unwrap(), UnixListener::bind(&beside).unwrap()];
    let one = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (to, not_to) = (one.local_addr().unwrap(), other.local_addr().unwrap());
    let grants =
        connect_grants(&[&format!("udp://{to}"), &format!("unix://{}", granted.display())]);
    let running = start(grants, LIMITS);
    let connection = running.request();
    assert_eq!(ask(&connection, &socket(Domain::IPV4, Type::DGRAM, 0)), Answer::Socket(1));
    let send = |to: SocketAddr| {
        let address = wire_address(&to.to_string());
        ask(&connection, &Call::SendTo { socket: 1, address, data: b"hello" })
    };
    assert_eq!(send(not_to), failed(Errno::ACCESS));
    assert_eq!(send(to), Answer::Sent(5));
    assert_eq!(one.recv(&mut [0; 9]).unwrap(), 5);
    // Without its connection the socket sends to granted addresses only, as before.
    let connect = Call::Connect { socket: 1, address: wire_address(&to.to_string()) };
    assert_eq!(ask(&connection, &connect), Answer::Done);
    assert_eq!(ask(&connection, &Call::Disconnect { socket: 1 }), Answer::Done);
    assert_eq!(send(not_to), failed(Errno::ACCESS));
    assert_eq!(ask(&connection, &socket(Domain::UNIX, Type::STREAM, 0)), Answer::Socket(2));
    let connect = |to: &Path| ask(&connection, &Call::Connect { socket: 2, address: path(to) });
    assert_eq!(connect(&beside), failed(Errno::ACCESS));
    assert_eq!(connect(&directory.path().join("./granted")), failed(Errno::ACCESS));
    let bind = Call::Bind { socket: 2, address: path(&directory.path().join("new")) };
    assert_eq!(ask(&connection, &bind), failed(Errno::ACCESS));
    assert_eq!(connect(&granted), Answer::Done);
    assert_eq!(ask(&connection, &Call::Disconnect { socket: 2 }), failed(Errno::OPNOTSUPP));
}

#[test]
fn a_request_has_its_budget_and_no_more() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let running = start(connect_grants(&[&format!("tcp://{closed}")]), LIMITS);
    let connection = running.request();
    for id in 1..=4 {
        assert_eq!(ask(&connection, &tcp()), Answer::Socket(id));
    }
    assert_eq!(ask(&connection, &tcp()), failed(Errno::MFILE));
    let pair = Call::SocketPair { kind: Type::DGRAM.into() };
    assert_eq!(ask(&connection, &pair), failed(Errno::MFILE));
    assert_eq!(ask(&connection, &Call::Close { socket: 1 }), Answer::Done);
    assert_eq!(ask(&connection, &Call::Close { socket: 1 }), failed(Errno::BADF));
    assert_eq!(ask(&connection, &pair), failed(Errno::MFILE));
    assert_eq!(ask(&connection, &Call::Close { socket: 2 }), Answer::Done);
    assert_eq!(ask(&connection, &pair), Answer::SocketPair(5, 6));
    let connect = || {
        ask(&connection, &Call::Connect { socket: 3, address: wire_address(&closed.to_string()) })
    };
    // A call that only asks for the outcome of the last attempt does not count.
    let attempts = (0..20).map(|_| connect()).take_while(|answer| *answer != failed(Errno::DQUOT));
    assert!((3..=6).contains(&attempts.count()));
    // Another request has a budget of its own, and none of these sockets.
    let other = running.request();
    assert_eq!(ask(&other, &Call::Close { socket: 3 }), failed(Errno::BADF));
    assert_eq!(ask(&other, &tcp()), Answer::Socket(1));
}

#[test]
fn all_requests_together_have_so_many_sockets() {
    let running =
        start(connect_grants(&["tcp://127.0.0.1:1"]), BrokerLimits { all_sockets: 3, ..LIMITS });
    let (one, other) = (running.request(), running.request());
    assert_eq!(ask(&one, &tcp()), Answer::Socket(1));
    assert_eq!(ask(&one, &tcp()), Answer::Socket(2));
    assert_eq!(ask(&other, &tcp()), Answer::Socket(1));
    assert_eq!(ask(&other, &tcp()), failed(Errno::NFILE));
    drop(one);
    // The broker notices the end of the other request.
    while ask(&other, &tcp()) == failed(Errno::NFILE) {
        thread::yield_now();
    }
}

#[test]
fn a_connection_with_nonsense_ends_and_no_other() {
    let running = start(connect_grants(&["tcp://127.0.0.1:1"]), LIMITS);
    let bystander = running.request();
    let too_long = vec![0; MAX_MESSAGE + 9];
    for nonsense in [&[255; 100][..], &[1, 255, 255, 255, 255, 255, 255], &too_long] {
        let hostile = running.request();
        wire::send_call(&hostile, nonsense).unwrap();
        let mut answer = Vec::with_capacity(9);
        wire::receive_message(&hostile, &mut answer, RecvFlags::empty()).unwrap();
        assert!(answer.is_empty(), "the connection is at its end");
    }
    assert_eq!(ask(&bystander, &tcp()), Answer::Socket(1));
    assert_eq!(ask(&running.request(), &tcp()), Answer::Socket(1));
}

/// Processes send calls and read no answers. The broker waits for each of them in its own thread.
#[test]
fn a_process_that_floods_the_broker_delays_no_other() {
    let running = start(connect_grants(&["tcp://127.0.0.1:1"]), LIMITS);
    let bystander = running.request();
    let floods: Vec<_> = (0..4).map(|_| running.request()).collect();
    let call = to_bytes(&tcp()).unwrap();
    for flood in &floods {
        // Until both directions are full.
        while wire::send_call(flood, &call).is_ok() {}
    }
    assert_eq!(ask(&bystander, &tcp()), Answer::Socket(1));
    for id in 1..1000 {
        assert_eq!(ask(&bystander, &Call::Close { socket: id }), Answer::Done);
        assert_eq!(ask(&bystander, &tcp()), Answer::Socket(id + 1));
    }
    // One more request than there may be in use sees the end of its connection.
    let more: Vec<_> = (0..4).map(|_| running.request()).collect();
    let answered = more.iter().filter(|one| try_ask(one, &tcp()).is_some()).count();
    assert_eq!(answered, 3);
    drop(floods);
    while try_ask(&running.request(), &tcp()).is_none() {
        thread::yield_now();
    }
}

#[test]
fn a_worker_has_a_connection_for_each_request() {
    let running = start(connect_grants(&["tcp://127.0.0.1:1"]), LIMITS);
    let worker = running.come(ProcessKind::Worker);
    assert_eq!(ask(&worker, &tcp()), failed(Errno::OPNOTSUPP));
    let worker = Connection::new(worker, None);
    let request = Request::new(UnixStream::pair().unwrap().0);
    let (one, other) =
        (worker.connection_for(&request).unwrap(), worker.connection_for(&request).unwrap());
    let third = worker.connection_for(&request).unwrap_err();
    assert_eq!(Errno::from_io_error(&third), Some(Errno::MFILE));
    let (one, other) = (Arc::new(one), Arc::new(other));
    let sockets: Vec<_> =
        (0..4).map(|_| one.socket(Domain::IPV4, Type::STREAM, 0).unwrap()).collect();
    assert!(one.socket(Domain::IPV4, Type::STREAM, 0).is_err());
    let (socket, calls): (Socket, _) = other.socket(Domain::IPV4, Type::STREAM, 0).unwrap();
    let refused = calls.connect(&Address::from(SocketAddr::from(([127, 0, 0, 1], 2))));
    assert_eq!(Errno::from_io_error(&refused.unwrap_err()), Some(Errno::ACCESS));
    assert_eq!(socket.r#type().unwrap(), Type::STREAM);
    drop((sockets, calls, one));
    while worker.connection_for(&request).is_err() {
        thread::yield_now();
    }
}

#[test]
fn the_broker_ends_with_its_door() {
    let running = start(connect_grants(&["tcp://127.0.0.1:1"]), LIMITS);
    let connection = running.request();
    assert_eq!(ask(&connection, &tcp()), Answer::Socket(1));
    drop(running.broker);
    running.thread.join().unwrap().unwrap();
}
