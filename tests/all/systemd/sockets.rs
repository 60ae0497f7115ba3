//! Sockets that systemd has bound.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use socket2::SockRef;
use socketserver_tests::process::{TIMEOUT, wait_until};
use socketserver_tests::procfs::children;

use super::{Service, sample};
use crate::client::{expect, in_flight};
use crate::fixture::MODES;

fn ask(mut stream: impl Read + Write, shutdown: impl FnOnce()) -> String {
    stream.write_all(b"hello").unwrap();
    shutdown();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn ask_tcp(stream: TcpStream) -> String {
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let shutdown = stream.try_clone().unwrap();
    ask(stream, || shutdown.shutdown(Shutdown::Write).unwrap())
}

#[test]
fn a_server_takes_sockets_of_each_type_and_family_in_every_mode() {
    for mode in MODES {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp6 = TcpListener::bind("[::1]:0").unwrap();
        let udp = UdpSocket::bind("0.0.0.0:0").unwrap();
        let unix = UnixListener::bind(path("stream")).unwrap();
        let unixgram = UnixDatagram::bind(path("datagram")).unwrap();
        let (v4, v6) = (tcp.local_addr().unwrap(), tcp6.local_addr().unwrap());
        let port = udp.local_addr().unwrap().port();
        let sockets = [
            ("web", tcp.into()),
            ("local", unix.into()),
            ("web", tcp6.into()),
            ("names", udp.into()),
            ("other", unixgram.into()),
        ];
        // Two of one name, and those that no other option names.
        let options = [
            &["--bind", "systemd://web", "--bind", "systemd://", "--bind", "tcp://127.0.0.1:0"],
            mode,
        ]
        .concat();
        let arguments = sample("both", &options);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let mut server = Service::new(&sockets, &arguments).start(6);
        drop(sockets);
        let shown = directory.path().display();
        assert_eq!(
            server.endpoints()[..5],
            [
                format!("tcp://{v4}"),
                format!("tcp://{v6}"),
                format!("unix://{shown}/stream"),
                format!("udp://0.0.0.0:{port}"),
                format!("unixgram://{shown}/datagram"),
            ]
        );
        assert_eq!(ask_tcp(TcpStream::connect(v4).unwrap()), "hello", "{mode:?}");
        assert_eq!(ask_tcp(TcpStream::connect(v6).unwrap()), "hello", "{mode:?}");
        let own = *server.addresses().last().unwrap();
        assert_eq!(ask_tcp(TcpStream::connect(own).unwrap()), "hello", "{mode:?}");
        let stream = UnixStream::connect(path("stream")).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let shutdown = stream.try_clone().unwrap();
        let said = ask(stream, || shutdown.shutdown(Shutdown::Write).unwrap());
        assert_eq!(said, "hello", "{mode:?}");
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(TIMEOUT)).unwrap();
        client.send_to(b"hello", ("127.0.0.1", port)).unwrap();
        let mut answer = [0; 16];
        let length = client.recv(&mut answer).unwrap();
        assert_eq!(&answer[..length], b"hello", "{mode:?}");
        let client = UnixDatagram::bind(path("client")).unwrap();
        client.set_read_timeout(Some(TIMEOUT)).unwrap();
        client.send_to(b"hello", path("datagram")).unwrap();
        let length = client.recv(&mut answer).unwrap();
        assert_eq!(&answer[..length], b"hello", "{mode:?}");
        assert!(server.stop().unwrap().success(), "{mode:?}");
    }
}

/// The manager has the socket too. While no server runs, clients wait in its queue.
#[test]
fn clients_that_come_after_the_end_of_a_server_wait_for_the_next() {
    for mode in MODES {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let options = [&["--bind", "systemd://", "--grace", "1h"], mode].concat();
        let arguments = sample("echo", &options);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let start = || Service::new(&[("web", listener.try_clone().unwrap().into())], &arguments);
        let mut server = start().start(1);
        let mut first = in_flight(&server);
        server.signal("TERM").unwrap();
        server.wait_for_log("ending").unwrap();
        // The request in flight is finished, as with any socket.
        first.write_all(b"2").unwrap();
        expect(&mut first, b"2");
        drop(first);
        assert!(server.wait().unwrap().success(), "{mode:?}");
        let waits: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut server = start().start(1);
        for stream in waits {
            assert_eq!(ask_tcp(stream), "hello", "{mode:?}");
        }
        assert!(server.stop().unwrap().success(), "{mode:?}");
        assert!(SockRef::from(&listener).is_listener().unwrap());
    }
}

/// The broker is a program that the server starts.
#[test]
fn programs_that_the_server_starts_have_neither_the_sockets_nor_the_variables() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let options = ["--bind", "systemd://", "--workers", "1", "--jail", "try"];
    let arguments = sample("dialer", &[&options[..], &["--connect", "tcp://127.0.0.1:1"]].concat());
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let manager = super::Manager::at_path();
    let mut service = Service::new(&[("web", listener.into())], &arguments);
    service.command.env("NOTIFY_SOCKET", &manager.address).env("WATCHDOG_USEC", "60000000");
    let mut server = service.start(1);
    let command = |pid| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let is_broker = |pid: &u32| command(*pid).split('\0').nth(1) == Some("broker");
    let mut broker = None;
    wait_until("the broker runs", || {
        broker = children(server.pid()).unwrap().into_iter().find(is_broker);
        broker.is_some()
    });
    let broker = broker.unwrap();
    let environment = fs::read(format!("/proc/{broker}/environ")).unwrap();
    let environment = String::from_utf8_lossy(&environment);
    assert!(environment.contains("XDG_CACHE_HOME="), "{environment}");
    for name in ["LISTEN_", "NOTIFY_SOCKET", "WATCHDOG_"] {
        assert!(!environment.contains(name), "{environment}");
    }
    let inode = |pid, fd| fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok();
    let passed = inode(server.pid(), 3).unwrap();
    let has_it = (0..64).any(|fd| inode(broker, fd).as_ref() == Some(&passed));
    assert!(passed.starts_with("socket:") || passed.display().to_string().contains("socket"));
    assert!(!has_it, "the broker has {passed:?}");
    assert!(server.stop().unwrap().success());
}

/// A parent has not removed its variables.
#[test]
fn sockets_for_another_process_are_not_taken() {
    let mut command = crate::fixture::serve();
    command.env("LISTEN_PID", "1").env("LISTEN_FDS", "1");
    let mut server = socketserver_tests::process::Server::start(&mut command, 1).unwrap();
    assert!(server.stop().unwrap().success());
}
