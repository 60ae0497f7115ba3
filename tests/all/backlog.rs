//! Clients that wait in the backlog when a signal comes, and later ones.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Instant;

use socket2::{Domain, SockAddr, Socket, Type};
use socketserver_tests::build;
use socketserver_tests::process::{PATIENCE, Server};

use crate::fixture::{MODES, host};

/// What is to be served, where, and with which options.
fn start(guest: &str, bind: &str, options: &[&str]) -> Server {
    let mut command = host();
    command.arg("serve").arg(build::guest("rust", guest).unwrap()).args(["--bind", bind]);
    Server::start(command.args(options), 1).unwrap()
}

fn try_connect(server: &Server) -> std::io::Result<Socket> {
    let endpoint = &server.endpoints()[0];
    let (domain, address) = match endpoint.split_once("://").unwrap() {
        ("unix", path) => (Domain::UNIX, SockAddr::unix(path).unwrap()),
        (_, address) => {
            let address: SocketAddr = address.parse().unwrap();
            (Domain::for_address(address), address.into())
        }
    };
    let socket = Socket::new(domain, Type::STREAM, None)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(&address)?;
    Ok(socket)
}

/// A client of `echo` that has sent `data`.
fn with(server: &Server, data: &[u8]) -> Socket {
    let mut client = try_connect(server).unwrap();
    client.write_all(data).unwrap();
    client
}

fn expect(client: &mut Socket, expected: &[u8]) {
    let mut answer = vec![0; expected.len()];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, expected);
}

/// As many clients as are served at once, all in flight.
fn in_flight(server: &Server, count: usize) -> Vec<Socket> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = with(server, b"1");
        expect(&mut client, b"1");
        clients.push(client);
    }
    clients
}

/// What comes until the end of the stream; a reset is an end too.
fn rest(client: &mut Socket) -> Vec<u8> {
    let mut rest = Vec::new();
    match client.read_to_end(&mut rest) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => rest,
    }
}

/// Each mode, and how many requests it has room for.
fn full_modes() -> [(Vec<&'static str>, usize); 4] {
    let limits: [&[&str]; 4] =
        [&[], &["--max-requests", "2"], &["--max-children", "2"], &["--max-requests", "2"]];
    let mut rooms = [1, 2, 2, 2].into_iter().zip(limits);
    MODES.map(|mode| {
        let (room, limit) = rooms.next().unwrap();
        ([mode, limit].concat(), room)
    })
}

fn is_refused(server: &Server) -> bool {
    match try_connect(server) {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
            true
        }
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "not so: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn clients_that_waited_are_served_and_later_ones_refused() {
    let directory = tempfile::tempdir().unwrap();
    for (mode, room) in full_modes() {
        let path = directory.path().join(mode.join(""));
        for bind in ["tcp://127.0.0.1:0".to_owned(), format!("unix://{}", path.display())] {
            let mut server = start("echo", &bind, &[&mode[..], &["--grace", "1h"]].concat());
            let slow = in_flight(&server, room);
            let five = [(); 5].map(|()| with(&server, b"waited"));
            server.signal("TERM").unwrap();
            server.wait_for_log("ending").unwrap();
            if mode[0] == "--workers" {
                // They see the signal at the same time as the log does.
                wait_until("the socket does not listen", || is_refused(&server));
            }
            for _ in 0..10 {
                assert!(is_refused(&server), "{mode:?} {bind}");
            }
            for mut client in slow {
                client.write_all(b"2").unwrap();
                expect(&mut client, b"2");
            }
            for mut client in five {
                expect(&mut client, b"waited");
                client.shutdown(std::net::Shutdown::Write).unwrap();
                assert_eq!(rest(&mut client), b"", "{mode:?} {bind}");
            }
            assert_eq!(server.wait().unwrap().code(), Some(0), "{mode:?} {bind}");
            assert!(!server.log().iter().any(|line| line.contains("ERROR")), "{:?}", server.log());
        }
    }
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
    assert!(sent.unwrap().success());
}

/// The state that the kernel shows of a process.
fn state(pid: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
}

/// A server, and its workers if it has some, that do nothing until this is over.
fn while_stopped(server: &Server, mode: &[&str], act: impl FnOnce()) {
    let main = server.pid();
    let mut all = vec![main];
    if mode[0] == "--workers" {
        let children = format!("/proc/{main}/task/{main}/children");
        wait_until("there are workers", || {
            let children = fs::read_to_string(&children).unwrap();
            all.truncate(1);
            all.extend(children.split_whitespace().map(|pid| pid.parse::<u32>().unwrap()));
            all.len() == 3
        });
        // They wait for requests: what they begin with, the jail at its end, is over.
        let waits = |pid: &u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let is_jailed = status.lines().any(|line| line == "Seccomp:\t2");
            is_jailed && state(*pid) == 'S'
        };
        wait_until("the workers serve", || all[1..].iter().all(waits));
    }
    for pid in &all {
        signal(*pid, "STOP");
    }
    wait_until("it has stopped", || all.iter().all(|pid| state(*pid) == 'T'));
    act();
    for pid in &all {
        signal(*pid, "CONT");
    }
}

#[test]
fn datagrams_that_were_there_at_the_signal_are_answered() {
    for mode in MODES {
        let mut server = start("dupper", "udp://127.0.0.1:0", mode);
        let address: SocketAddr =
            server.endpoints()[0].strip_prefix("udp://").unwrap().parse().unwrap();
        let client = || {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.connect(address).unwrap();
            client.set_nonblocking(true).unwrap();
            client
        };
        let clients: Vec<UdpSocket> = (0..50).map(|_| client()).collect();
        while_stopped(&server, mode, || {
            for client in &clients {
                assert_eq!(client.send(b"hello").unwrap(), 5);
            }
            server.signal("TERM").unwrap();
        });
        assert_eq!(server.wait().unwrap().code(), Some(0), "{mode:?}");
        let mut answer = [0; 10];
        let answered = clients.iter().filter(|client| client.recv(&mut answer).is_ok()).count();
        assert_eq!((answered, &answer[..5]), (50, &b"HELLO"[..]), "{mode:?}");
    }
}

#[test]
fn datagrams_of_unix_sockets_are_answered_too() {
    let directory = tempfile::tempdir().unwrap();
    for mode in MODES {
        let path = directory.path().join(mode.join(""));
        let mut server = start("dupper", &format!("unixgram://{}", path.display()), mode);
        let clients: Vec<UnixDatagram> = (0..5)
            .map(|n| {
                let client = directory.path().join(format!("{} {n}", mode.join("")));
                let client = UnixDatagram::bind(client).unwrap();
                client.set_nonblocking(true).unwrap();
                client
            })
            .collect();
        while_stopped(&server, mode, || {
            for client in &clients {
                assert_eq!(client.send_to(b"hello", &path).unwrap(), 5);
            }
            server.signal("TERM").unwrap();
        });
        assert_eq!(server.wait().unwrap().code(), Some(0), "{mode:?}");
        let mut answer = [0; 10];
        let answered = clients.iter().filter(|client| client.recv(&mut answer).is_ok()).count();
        assert_eq!((answered, &answer[..5]), (5, &b"HELLO"[..]), "{mode:?}");
    }
}

#[test]
fn clients_that_wait_longer_than_the_grace_are_not_served() {
    for (mode, room) in full_modes() {
        let mut server =
            start("echo", "tcp://127.0.0.1:0", &[&mode[..], &["--grace", "100ms"]].concat());
        let mut slow = in_flight(&server, room);
        let mut waiting = [(); 3].map(|()| with(&server, b"waited"));
        server.signal("TERM").unwrap();
        server.wait_for_log("they are cut off").unwrap();
        assert_eq!(server.wait().unwrap().code(), Some(0), "{mode:?}");
        for client in waiting.iter_mut().chain(&mut slow) {
            assert_eq!(rest(client), b"", "{mode:?}");
        }
    }
}

#[test]
fn without_a_grace_clients_that_wait_are_not_served() {
    for (mode, room) in full_modes() {
        let mut server =
            start("echo", "tcp://127.0.0.1:0", &[&mode[..], &["--grace", "0s"]].concat());
        let mut slow = in_flight(&server, room);
        let mut waiting = [(); 3].map(|()| with(&server, b"waited"));
        server.signal("TERM").unwrap();
        assert_eq!(server.wait().unwrap().code(), Some(0), "{mode:?}");
        for client in waiting.iter_mut().chain(&mut slow) {
            assert_eq!(rest(client), b"", "{mode:?}");
        }
    }
}

#[test]
fn a_second_signal_does_not_wait_for_clients_that_wait() {
    for (mode, room) in full_modes() {
        for stats in [&[][..], &["--stats"]] {
            let options = [&mode[..], stats, &["--grace", "1h"]].concat();
            let mut server = start("echo", "tcp://127.0.0.1:0", &options);
            let _slow = in_flight(&server, room);
            let mut waiting = with(&server, b"waited");
            server.signal("TERM").unwrap();
            server.wait_for_log("ending").unwrap();
            server.signal("TERM").unwrap();
            assert_eq!(server.wait().unwrap().code(), Some(143), "{mode:?}");
            assert_eq!(rest(&mut waiting), b"");
        }
    }
}

/// The rules hold for clients that waited as for others.
#[test]
fn clients_that_waited_are_judged_too() {
    let mut server = start(
        "echo",
        "tcp://127.0.0.1:0",
        &["--max-requests", "1", "--source-rate", "0.001:3", "--grace", "1h"],
    );
    let mut slow = in_flight(&server, 1);
    let mut waiting = [(); 4].map(|()| with(&server, b"waited"));
    server.signal("TERM").unwrap();
    server.wait_for_log("ending").unwrap();
    slow.clear();
    for (n, client) in waiting.iter_mut().enumerate() {
        let _ = client.shutdown(std::net::Shutdown::Write);
        assert_eq!(rest(client), if n < 2 { &b"waited"[..] } else { b"" }, "{n}");
    }
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

/// A queue may hold more than a process may have descriptors.
#[test]
fn no_more_are_taken_at_the_end_than_there_are_descriptors_for() {
    let host = host();
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 160; exec \"$@\"", "sh"]).arg(host.get_program());
    limited.envs(host.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited.arg("serve").arg(build::guest("rust", "echo").unwrap());
    limited.args(["--bind", "tcp://127.0.0.1:0", "--max-requests", "1", "--grace", "1h"]);
    let mut server = Server::start(&mut limited, 1).unwrap();
    let slow = in_flight(&server, 1);
    let mut waiting: Vec<Socket> = (0..100).map(|_| with(&server, b"waited")).collect();
    server.signal("TERM").unwrap();
    server.wait_for_log("ending").unwrap();
    drop(slow);
    let mut answered = 0;
    for client in &mut waiting {
        let _ = client.shutdown(std::net::Shutdown::Write);
        answered += usize::from(rest(client) == b"waited");
    }
    assert_eq!(answered, 160 / 8);
    assert_eq!(server.wait().unwrap().code(), Some(0));
}
