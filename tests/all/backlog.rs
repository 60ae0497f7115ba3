//! Clients that wait in the backlog when a signal ends the server, and clients that come later.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use socket2::{Domain, SockAddr, Socket, Type};
use socketserver_tests::build;
use socketserver_tests::process::{Server, TIMEOUT, send_signal, wait_until};
use socketserver_tests::procfs::{children, is_in_poll, state, status};

use crate::fixture::{MODES, host};

/// Serves the sample `guest` at `bind`.
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
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.connect(&address)?;
    Ok(socket)
}

/// Connects a client of `echo` and sends `data`.
fn connect_and_send(server: &Server, data: &[u8]) -> Socket {
    let mut client = try_connect(server).unwrap();
    client.write_all(data).unwrap();
    client
}

fn expect(client: &mut Socket, expected: &[u8]) {
    let mut answer = vec![0; expected.len()];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, expected);
}

/// Connects `count` clients, and waits until their requests are in flight.
fn in_flight(server: &Server, count: usize) -> Vec<Socket> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = connect_and_send(server, b"1");
        expect(&mut client, b"1");
        clients.push(client);
    }
    clients
}

/// Reads to the end of the stream. A reset also is an end.
fn read_rest(client: &mut Socket) -> Vec<u8> {
    let mut rest = Vec::new();
    match client.read_to_end(&mut rest) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => rest,
    }
}

/// Returns the options of each mode, and the number of requests that fit at once.
fn bounded_modes() -> [(Vec<&'static str>, usize); MODES.len()] {
    MODES.map(|mode| {
        let (limit, capacity): (&[&str], _) = match mode[1] {
            "sync" => (&[], 1),
            "forking" => (&["--max-children", "2"], 2),
            _ => (&["--max-requests", "2"], 2),
        };
        ([mode, limit].concat(), capacity)
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

#[test]
fn clients_that_waited_are_served_and_later_ones_refused() {
    let directory = tempfile::tempdir().unwrap();
    for (mode, capacity) in bounded_modes() {
        let path = directory.path().join(mode.join(""));
        for bind in ["tcp://127.0.0.1:0".to_owned(), format!("unix://{}", path.display())] {
            let mut server = start("echo", &bind, &[&mode[..], &["--grace", "1h"]].concat());
            let slow = in_flight(&server, capacity);
            let five = [(); 5].map(|()| connect_and_send(&server, b"waited"));
            server.signal("TERM").unwrap();
            server.wait_for_log("ending").unwrap();
            if mode.contains(&"--workers") {
                // A worker may still accept when the line of the log appears, and a client may come
                // while the socket is being closed, which resets it.
                wait_until("the socket refuses clients", || {
                    let refused = |error: &Error| error.kind() == ErrorKind::ConnectionRefused;
                    try_connect(&server).as_ref().is_err_and(refused)
                });
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
                assert_eq!(read_rest(&mut client), b"", "{mode:?} {bind}");
            }
            assert_eq!(server.wait().unwrap().code(), Some(0), "{mode:?} {bind}");
            assert!(!server.log().iter().any(|line| line.contains("ERROR")), "{:?}", server.log());
        }
    }
}

/// Stops the server and its workers with SIGSTOP, calls `act`, and continues them. The server
/// waits for requests when it stops.
fn while_stopped(server: &Server, mode: &[&str], act: impl FnOnce()) {
    let main = server.pid();
    let mut all = vec![main];
    if mode.contains(&"--workers") {
        wait_until("the server has its workers", || {
            all.truncate(1);
            all.extend(children(main).unwrap());
            all.len() == 3
        });
        // A worker enters the jail last, before it serves.
        let is_jailed = |pid: &u32| status(*pid, "Seccomp").unwrap() == "2";
        wait_until("the workers are jailed", || all[1..].iter().all(is_jailed));
    }
    wait_until("the server waits for requests", || all.iter().all(|pid| is_in_poll(*pid).unwrap()));
    for pid in &all {
        send_signal(*pid, "STOP").unwrap();
    }
    wait_until("the server has stopped", || all.iter().all(|pid| state(*pid).unwrap() == 'T'));
    act();
    for pid in &all {
        send_signal(*pid, "CONT").unwrap();
    }
}

#[test]
fn udp_datagrams_that_wait_at_the_signal_are_answered() {
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
        let log = server.log();
        assert_eq!((answered, &answer[..5]), (50, &b"HELLO"[..]), "{mode:?}: {log:#?}");
    }
}

#[test]
fn unix_datagrams_that_wait_at_the_signal_are_answered() {
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
        let log = server.log();
        assert_eq!((answered, &answer[..5]), (5, &b"HELLO"[..]), "{mode:?}: {log:#?}");
    }
}

#[test]
fn clients_that_wait_past_the_grace_are_not_served() {
    for (mode, capacity) in bounded_modes() {
        let mut server =
            start("echo", "tcp://127.0.0.1:0", &[&mode[..], &["--grace", "100ms"]].concat());
        let mut slow = in_flight(&server, capacity);
        let mut waiting = [(); 3].map(|()| connect_and_send(&server, b"waited"));
        server.signal("TERM").unwrap();
        server.wait_for_log("they are cut off").unwrap();
        assert_eq!(server.wait().unwrap().code(), Some(0), "{mode:?}");
        for client in waiting.iter_mut().chain(&mut slow) {
            assert_eq!(read_rest(client), b"", "{mode:?}");
        }
    }
}

#[test]
fn without_a_grace_clients_that_wait_are_not_served() {
    for (mode, capacity) in bounded_modes() {
        let mut server =
            start("echo", "tcp://127.0.0.1:0", &[&mode[..], &["--grace", "0s"]].concat());
        let mut slow = in_flight(&server, capacity);
        let mut waiting = [(); 3].map(|()| connect_and_send(&server, b"waited"));
        server.signal("TERM").unwrap();
        assert_eq!(server.wait().unwrap().code(), Some(0), "{mode:?}");
        for client in waiting.iter_mut().chain(&mut slow) {
            assert_eq!(read_rest(client), b"", "{mode:?}");
        }
    }
}

#[test]
fn a_second_signal_ends_the_server_while_clients_wait() {
    for (mode, capacity) in bounded_modes() {
        for stats in [&[][..], &["--stats"]] {
            let options = [&mode[..], stats, &["--grace", "1h"]].concat();
            let mut server = start("echo", "tcp://127.0.0.1:0", &options);
            let _slow = in_flight(&server, capacity);
            let mut waiting = connect_and_send(&server, b"waited");
            server.signal("TERM").unwrap();
            server.wait_for_log("ending").unwrap();
            server.signal("TERM").unwrap();
            assert_eq!(server.wait().unwrap().code(), Some(143), "{mode:?}");
            assert_eq!(read_rest(&mut waiting), b"");
        }
    }
}

#[test]
fn rules_hold_for_clients_that_waited() {
    let mut server = start(
        "echo",
        "tcp://127.0.0.1:0",
        &["--max-requests", "1", "--source-rate", "0.001:3", "--grace", "1h"],
    );
    let mut slow = in_flight(&server, 1);
    let mut waiting = [(); 4].map(|()| connect_and_send(&server, b"waited"));
    server.signal("TERM").unwrap();
    server.wait_for_log("ending").unwrap();
    slow.clear();
    for (n, client) in waiting.iter_mut().enumerate() {
        let _ = client.shutdown(std::net::Shutdown::Write);
        assert_eq!(read_rest(client), if n < 2 { &b"waited"[..] } else { b"" }, "{n}");
    }
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

/// A backlog may hold more connections than the process may have descriptors.
#[test]
fn the_server_accepts_no_more_clients_at_the_end_than_it_has_descriptors_for() {
    let host = host();
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 160; exec \"$@\"", "sh"]).arg(host.get_program());
    limited.envs(host.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited.arg("serve").arg(build::guest("rust", "echo").unwrap());
    limited.args(["--bind", "tcp://127.0.0.1:0", "--max-requests", "1", "--grace", "1h"]);
    let mut server = Server::start(&mut limited, 1).unwrap();
    let slow = in_flight(&server, 1);
    let mut waiting: Vec<Socket> = (0..100).map(|_| connect_and_send(&server, b"waited")).collect();
    server.signal("TERM").unwrap();
    server.wait_for_log("ending").unwrap();
    drop(slow);
    let mut answered = 0;
    for client in &mut waiting {
        let _ = client.shutdown(std::net::Shutdown::Write);
        answered += usize::from(read_rest(client) == b"waited");
    }
    assert_eq!(answered, 160 / 8);
    assert_eq!(server.wait().unwrap().code(), Some(0));
}
