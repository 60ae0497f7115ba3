//! Sockets that a handler opens: each grant permits what it says, and not its neighbours.

mod broker;
mod languages;
mod limits;
mod names;
mod proxy;
mod tftp;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::Command;

use socketserver_tests::build;
use socketserver_tests::process::{Server, TIMEOUT};

use crate::fixture::{host, serve};

/// The ways of running requests in which a handler may open sockets.
pub const MODES: [&[&str]; 8] = [
    &["--concurrency", "sync"],
    &["--concurrency", "threading"],
    &["--concurrency", "fibers"],
    &["--concurrency", "forking", "--jail", "off"],
    &["--workers", "2", "--jail", "off"],
    // A broker opens the sockets.
    &["--concurrency", "forking", "--jail", "require"],
    &["--workers", "2", "--jail", "require"],
    &["--workers", "2", "--concurrency", "fibers", "--jail", "require"],
];

/// A client of the handler that does what it is told, line by line.
pub struct Dialer<S = TcpStream>(BufReader<S>);

impl Dialer {
    pub fn connect(server: &Server) -> Dialer {
        Dialer(BufReader::new(server.connect().unwrap()))
    }
}

impl<S: Read + Write> Dialer<S> {
    pub fn send(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    pub fn answer(&mut self) -> String {
        let mut answer = String::new();
        self.0.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }

    pub fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.answer()
    }

    /// Asks for each of these, and expects each answer.
    pub fn expect(&mut self, conversation: &[(&str, &str)]) {
        for (line, answer) in conversation {
            assert_eq!(self.ask(line), *answer, "{line}");
        }
    }
}

fn dialer(options: &[&str]) -> Server {
    let mut command = serve();
    command.arg(build::guest("rust", "dialer").unwrap()).args(options);
    Server::start(&mut command, 1).unwrap()
}

pub fn with<'a>(mode: &[&'a str], grants: &[&'a str]) -> Vec<&'a str> {
    [mode, grants].concat()
}

const DENIED: &str = "E permission denied";

#[test]
fn without_a_grant_nothing_is_opened_and_the_log_names_the_option() {
    for mode in MODES {
        let mut server = dialer(mode);
        Dialer::connect(&server).expect(&[
            ("socket inet stream", DENIED),
            ("socket inet6 dgram", DENIED),
            ("socket unix stream", DENIED),
            ("socket inet raw", DENIED),
            ("pair stream", DENIED),
            ("lookup localhost", DENIED),
            ("dial 127.0.0.1 80", DENIED),
            // An address is no name.
            ("lookup 127.0.0.1", "127.0.0.1:80"),
        ]);
        let line = server.wait_for_log("denied").unwrap();
        assert!(line.contains("--connect tcp://HOST:PORT would permit it"), "{line}");
        server.stop().unwrap();
        let lines = server.log().iter().filter(|line| line.contains("denied")).count();
        assert_eq!(lines, 1, "one line for each request");
    }
}

#[test]
fn a_granted_address_is_reached_and_its_neighbours_are_not() {
    for mode in MODES {
        let granted = TcpListener::bind("127.0.0.1:0").unwrap();
        let beside = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, other) =
            (granted.local_addr().unwrap().port(), beside.local_addr().unwrap().port());
        let grant = format!("tcp://127.0.0.1:{port}");
        let mut server = dialer(&with(mode, &["--connect", &grant]));
        let mut client = Dialer::connect(&server);
        client.expect(&[
            ("socket inet stream", "ok"),
            (&format!("connect 127.0.0.1:{other}"), DENIED),
            (&format!("connect 127.0.0.2:{port}"), DENIED),
            (&format!("connect 0.0.0.0:{port}"), DENIED),
            (&format!("connect_ex 127.0.0.1:{other}"), "13"),
            (&format!("connect 127.0.0.1:{port}"), "ok"),
            ("send hello", "5"),
        ]);
        let (mut upstream, peer) = granted.accept().unwrap();
        let mut received = [0; 5];
        upstream.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"hello");
        upstream.write_all(b"world").unwrap();
        client.expect(&[("recv", "world"), ("name", &peer.to_string())]);
        client.expect(&[
            // The IPv4 address of an IPv6 socket is an IPv4 address.
            ("socket inet6 stream", "ok"),
            (&format!("connect [::ffff:127.0.0.1]:{other}"), DENIED),
            (&format!("connect [::1]:{port}"), DENIED),
            (&format!("connect [::ffff:127.0.0.1]:{port}"), "ok"),
            // Another protocol, and another family.
            ("socket inet dgram", DENIED),
            ("socket unix stream", DENIED),
            ("socket inet seqpacket", "E protocol not supported"),
            ("socket inet stream 132", "E protocol not supported"),
            // A client binds no port of its choice, and does not listen.
            ("socket inet stream", "ok"),
            (&format!("bind 127.0.0.1:{other}"), DENIED),
            ("listen", DENIED),
            ("bind 127.0.0.1:0", "ok"),
            ("listen", DENIED),
            (&format!("dial 127.0.0.1 {port}"), "ok"),
        ]);
        let line = server.wait_for_log("denied").unwrap();
        assert!(line.contains(&format!("--connect tcp://127.0.0.1:{other} would")), "{line}");
    }
}

#[test]
fn a_granted_name_may_be_looked_up_and_leads_to_no_private_address() {
    for mode in MODES {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let grant = format!("tcp://localhost:{port}");
        let options = ["--connect", &grant, "--resolve", "LOCALHOST."];
        let mut server = dialer(&with(mode, &options));
        let mut client = Dialer::connect(&server);
        let found = client.ask("lookup localhost");
        assert!(found.contains("127.0.0.1:80") || found.contains("[::1]:80"), "{found}");
        client.expect(&[
            (&format!("dial localhost {port}"), DENIED),
            ("socket inet stream", "ok"),
            (&format!("connect 127.0.0.1:{port}"), DENIED),
            ("lookup localhost.example", DENIED),
            ("lookup www.example", DENIED),
            ("lookup 127.1", "127.0.0.1:80"),
        ]);
        let line = server.wait_for_log("denied").unwrap();
        assert!(line.contains("would permit it"), "{line}");
        // The same address, granted as an address, may be reached by its name.
        let address = format!("tcp://127.0.0.0/8:{port}");
        let server = dialer(&with(mode, &["--connect", &grant, "--connect", &address]));
        Dialer::connect(&server).expect(&[(&format!("dial localhost {port}"), "ok")]);
    }
}

#[test]
fn a_granted_path_is_reached_and_the_path_beside_it_is_not() {
    for mode in MODES {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let (granted, beside) = (path("granted"), path("beside"));
        let listener = UnixListener::bind(&granted).unwrap();
        let _beside = UnixListener::bind(&beside).unwrap();
        let datagrams = path("datagrams");
        let datagram_socket = UnixDatagram::bind(&datagrams).unwrap();
        let (first, second) = (format!("unix://{granted}"), format!("unix://{datagrams}"));
        let server = dialer(&with(mode, &["--connect", &first, "--connect", &second]));
        let mut client = Dialer::connect(&server);
        client.expect(&[
            ("socket unix stream", "ok"),
            (&format!("connect {beside}"), DENIED),
            (&format!("connect {granted}x"), DENIED),
            (&format!("bind {}", path("new")), DENIED),
            ("connect @granted", DENIED),
            (&format!("connect {granted}"), "ok"),
            ("send hello", "5"),
        ]);
        let mut received = [0; 5];
        listener.accept().unwrap().0.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"hello");
        client.expect(&[
            ("socket unix dgram", "ok"),
            (&format!("sendto x {beside}"), DENIED),
            (&format!("sendto hello {datagrams}"), "5"),
            ("socket inet stream", DENIED),
        ]);
        assert_eq!(datagram_socket.recv(&mut received).unwrap(), 5);
    }
}

#[test]
fn datagrams_go_to_granted_addresses_only() {
    for mode in MODES {
        let granted = UdpSocket::bind("127.0.0.1:0").unwrap();
        granted.set_read_timeout(Some(TIMEOUT)).unwrap();
        let beside = UdpSocket::bind("127.0.0.1:0").unwrap();
        beside.set_nonblocking(true).unwrap();
        let (to, other) = (granted.local_addr().unwrap(), beside.local_addr().unwrap());
        let grant = format!("udp://{to}");
        let server = dialer(&with(mode, &["--connect", &grant]));
        let mut client = Dialer::connect(&server);
        client.expect(&[
            ("socket inet dgram", "ok"),
            (&format!("sendto x {other}"), DENIED),
            (&format!("sendto hello {to}"), "5"),
            (&format!("connect {other}"), DENIED),
            (&format!("connect {to}"), "ok"),
            (&format!("sendto x {other}"), DENIED),
            ("send again", "5"),
            ("socket inet stream", DENIED),
        ]);
        let mut received = [0; 16];
        let (length, from) = granted.recv_from(&mut received).unwrap();
        assert_eq!(&received[..length], b"hello");
        assert_eq!(granted.recv(&mut received).unwrap(), 5);
        granted.send_to(b"answer", from).unwrap();
        client.expect(&[("recv", "answer")]);
        assert!(beside.recv(&mut received).is_err(), "nothing came");
    }
}

#[test]
fn a_handler_listens_where_that_is_granted_and_nowhere_else() {
    for mode in MODES {
        let used = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let server = dialer(&with(mode, &["--listen-grant", "tcp://127.0.0.1:0"]));
        let mut client = Dialer::connect(&server);
        client.expect(&[
            ("socket inet stream", "ok"),
            (&format!("bind {used}"), DENIED),
            ("bind 0.0.0.0:0", DENIED),
            ("listen", DENIED),
            ("bind 127.0.0.1:0", "ok"),
            ("listen", "ok"),
        ]);
        let address = client.ask("name");
        client.send("accept");
        let mut peer = TcpStream::connect(&address).unwrap();
        assert_eq!(client.answer(), peer.local_addr().unwrap().to_string());
        peer.write_all(b"hello").unwrap();
        client.expect(&[
            ("recv", "hello"),
            // To listen somewhere is no right to connect to it.
            ("socket inet stream", "ok"),
            (&format!("connect {address}"), DENIED),
        ]);
    }
}

#[test]
fn a_range_of_ports_and_a_network_end_where_they_say() {
    for mode in MODES {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let ports = format!("tcp://127.0.0.1:{}-{port}", port - 1);
        // 127.0.0.16 to 127.0.0.31.
        let network = format!("tcp://127.0.0.16/28:{port}");
        let server = dialer(&with(mode, &["--connect", &ports, "--connect", &network]));
        let outcomes = [
            (format!("127.0.0.1:{}", port - 2), "13"),
            // Nothing listens there.
            (format!("127.0.0.1:{}", port - 1), "111"),
            (format!("127.0.0.1:{port}"), "0"),
            (format!("127.0.0.1:{}", port + 1), "13"),
            (format!("127.0.0.15:{port}"), "13"),
            (format!("127.0.0.16:{port}"), "111"),
            (format!("127.0.0.31:{port}"), "111"),
            (format!("127.0.0.32:{port}"), "13"),
            (format!("127.0.0.31:{}", port - 1), "13"),
        ];
        let mut client = Dialer::connect(&server);
        for (address, errno) in &outcomes {
            client.expect(&[("socket inet stream", "ok")]);
            client.expect(&[(&format!("connect_ex {address}"), errno)]);
        }
    }
}

/// The options that a handler may set, `docs/src/python/socket.md` lists.
#[test]
fn options_outside_of_the_list_are_denied_on_the_handlers_own_sockets() {
    for mode in MODES {
        let options = ["--connect", "tcp://127.0.0.1:1", "--connect", "udp://127.0.0.1:1"];
        let mut server = dialer(&with(mode, &options));
        Dialer::connect(&server).expect(&[
            ("socket inet stream", "ok"),
            // TCP_NODELAY, SO_REUSEADDR.
            ("setsockopt 6 1 1", "ok"),
            ("getsockopt 6 1", "1"),
            ("setsockopt 1 2 1", "ok"),
            ("getsockopt 1 2", "1"),
            // SO_REUSEPORT, SO_BROADCAST, SO_MARK, SO_BINDTODEVICE, IP_TRANSPARENT, IP_FREEBIND.
            ("setsockopt 1 15 1", DENIED),
            ("setsockopt 1 6 1", DENIED),
            ("setsockopt 1 36 1", DENIED),
            ("setsockopt 1 25 1", DENIED),
            ("setsockopt 0 19 1", DENIED),
            ("setsockopt 0 15 1", DENIED),
            ("socket inet dgram", "ok"),
            ("setsockopt 0 1 16", "ok"),
            // Two sockets of datagrams would have one address.
            ("setsockopt 1 2 1", DENIED),
            ("setsockopt 1 15 1", DENIED),
        ]);
        let line = server.wait_for_log("denied").unwrap();
        assert!(line.contains("setsockopt(1, 15): the option is not in the list"), "{line}");
    }
}

/// A connection that was closed first keeps its port for a while.
#[test]
fn a_handler_binds_a_port_again_at_once_if_it_asks_for_that() {
    for mode in MODES {
        let server = dialer(&with(mode, &["--listen-grant", "tcp://127.0.0.1:*"]));
        let mut client = Dialer::connect(&server);
        client.expect(&[("socket inet stream", "ok"), ("setsockopt 1 2 1", "ok")]);
        client.expect(&[("bind 127.0.0.1:0", "ok"), ("listen", "ok")]);
        let address = client.ask("name");
        client.send("accept");
        let mut peer = TcpStream::connect(&address).unwrap();
        client.answer();
        client.expect(&[("close", "ok"), ("drop", "ok"), ("close", "ok"), ("drop", "ok")]);
        assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
        drop(peer);
        let bind = format!("bind {address}");
        client.expect(&[("socket inet stream", "ok"), (&bind, "E address already in use")]);
        client.expect(&[("setsockopt 1 2 1", "ok"), (&bind, "ok"), ("listen", "ok")]);
    }
}

#[test]
fn calls_have_the_errors_of_python() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let grants = ["--connect", "tcp://127.0.0.0/8:*", "--connect", "unix:///nowhere"];
    for mode in MODES {
        let server = dialer(&with(mode, &grants));
        Dialer::connect(&server).expect(&[
            ("socket inet stream", "ok"),
            ("peer", "E socket is not connected"),
            ("recv", "E socket is not connected"),
            (&format!("connect {closed}"), "E connection refused"),
            (&format!("connect_ex {closed}"), "111"),
            ("accept", "E invalid argument"),
            ("connect /nowhere", "E address family not supported by protocol"),
            ("close", "ok"),
            ("recv", "E bad file descriptor"),
            (&format!("connect_ex {closed}"), "9"),
            ("select 0", "E bad file descriptor"),
            ("drop", "ok"),
            ("socket unix stream", "ok"),
            ("connect /nowhere", "E no such file or directory"),
            ("connect_ex /nowhere", "2"),
            ("drop", "ok"),
            ("pair dgram", "ok"),
            ("send hello", "5"),
            ("swap", "ok"),
            ("recv", "hello"),
            ("timeout 0", "ok"),
            ("recv", "E resource temporarily unavailable"),
            ("timeout 0.01", "ok"),
            ("recv", "E timed out"),
            ("select 0", "[] [0, 1] []"),
            ("send again", "5"),
            ("select 0", "[0] [0, 1] []"),
            ("hostbyname 127.0.0.1", "127.0.0.1"),
            ("hostbyname www.example", DENIED),
            ("lookup-long 65536", "E name or service not known"),
        ]);
    }
}

/// The descriptor is closed, and not only the handle: the address is free again.
#[test]
fn a_socket_that_a_handler_closes_leaves_its_address_free() {
    for mode in MODES {
        let server = dialer(&with(mode, &["--listen-grant", "tcp://127.0.0.1:*"]));
        let mut client = Dialer::connect(&server);
        client.expect(&[
            ("socket inet stream", "ok"),
            ("bind 127.0.0.1:0", "ok"),
            ("listen", "ok"),
        ]);
        let address = client.ask("name");
        client.expect(&[("close", "ok")]);
        TcpListener::bind(&address).unwrap();
    }
}

#[test]
fn raw_sockets_need_a_grant_of_their_own() {
    for mode in MODES {
        let everything = ["--connect", "tcp://0.0.0.0/0:*", "--connect", "udp://0.0.0.0/0:*"];
        let server = dialer(&with(mode, &everything));
        Dialer::connect(&server).expect(&[("socket inet raw 1", DENIED)]);
        let server = dialer(&with(mode, &["--raw"]));
        let mut client = Dialer::connect(&server);
        let answer = client.ask("socket inet raw 1");
        // Without CAP_NET_RAW the kernel denies it.
        assert!(["ok", DENIED].contains(&answer.as_str()), "{answer}");
        client.expect(&[("socket inet stream", DENIED)]);
    }
}

#[test]
fn mistakes_in_grants_are_errors() {
    for (option, value, why) in [
        ("--connect", "127.0.0.1:80", "has no scheme: write tcp://HOST:PORT"),
        ("--connect", "tcp://127.0.0.1", "has no port"),
        ("--listen-grant", "tcp://localhost:80", "a socket is bound to an address"),
        ("--resolve", "127.0.0.1", "nor the name of a host"),
        ("--resolve", "b\u{fc}cher.example", "is not ASCII: write the name as DNS has it"),
    ] {
        let said = host().args(["serve", option, value]).output().unwrap();
        assert_eq!(said.status.code(), Some(2));
        let said = String::from_utf8_lossy(&said.stderr);
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn inspect_says_what_is_granted() {
    let inspect = |options: &[&str]| {
        let mut command: Command = host();
        command.arg("inspect").arg(build::guest("rust", "dialer").unwrap()).args(options);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let said = inspect(&[]);
    assert!(said.contains("network@0.1.0  (empty: --connect URL grants more)"), "{said}");
    let said = inspect(&["--connect", "tcp://localhost:1", "--raw"]);
    assert!(said.contains("network@0.1.0  (2 granted)"), "{said}");
    // A handler that opens no socket does not import the interface.
    let upper = build::guest("rust", "upper").unwrap();
    let said = host().arg("inspect").arg(upper).output().unwrap();
    assert!(!String::from_utf8(said.stdout).unwrap().contains("network"));
}

/// Returns a listener whose queue is full, so that a connection to it hangs.
pub fn full_listener() -> (socket2::Socket, Vec<socket2::Socket>) {
    let new = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let listener = new();
    listener.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let waiting = (0..4).map(|_| {
        let client = new();
        client.set_nonblocking(true).unwrap();
        let _ = client.connect(&address);
        client
    });
    let waiting = waiting.collect();
    (listener, waiting)
}
