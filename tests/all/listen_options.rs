//! The options of a listening socket, in the URL of `--bind`.

use std::net::{SocketAddr, UdpSocket};

use serde_json::json;
use socket2::SockRef;
use socketserver_tests::build;
use socketserver_tests::load::Target;
use socketserver_tests::process::{Server, TIMEOUT, send_signal, wait_until};
use socketserver_tests::procfs::children;

use crate::client::ask;
use crate::counters::request_counters;
use crate::fixture::{MODES, host};
use crate::options::duplicate_sockets;

fn serve(sample: &str, endpoints: &[&str], options: &[&str]) -> Server {
    let mut command = host();
    command.arg("serve").arg(build::guest("rust", sample).unwrap()).args(options);
    command.args(endpoints.iter().flat_map(|endpoint| ["--bind", endpoint]));
    Server::start(&mut command, endpoints.len()).unwrap()
}

fn port(server: &Server) -> u16 {
    match Target::parse(&server.endpoints()[0]).unwrap() {
        Target::Udp(address) | Target::Tcp(address) => address.port(),
        _ => panic!("{:?}", server.endpoints()),
    }
}

#[test]
fn the_socket_has_the_options_and_the_ready_line_shows_them() {
    let endpoint = "tcp://127.0.0.1:0?nodelay=true&rcvbuf=1048576&sndbuf=512KiB&keepalive=1m";
    let server = serve("upper", &[endpoint], &[]);
    let port = server.address().port();
    let printed = "rcvbuf=1MiB&sndbuf=512KiB&nodelay=true&keepalive=60s";
    assert_eq!(server.endpoints(), [format!("tcp://127.0.0.1:{port}?{printed}")]);
    assert_eq!(ask(&server, b"hello"), b"HELLO");
    let sockets = duplicate_sockets(&server);
    let has_options = sockets.iter().map(SockRef::from).any(|socket| {
        socket.recv_buffer_size().unwrap() == 2 << 20
            && socket.send_buffer_size().unwrap() == 1 << 20
            && socket.tcp_nodelay().unwrap_or(false)
            && socket.keepalive().unwrap()
    });
    assert!(has_options, "{sockets:?}");
}

#[test]
fn mistakes_are_exit_code_2_and_name_the_way_out() {
    for (endpoint, says) in [
        ("udp://127.0.0.1:0?rcvbuff=1MiB", "did you mean `rcvbuf`?"),
        ("udp://127.0.0.1:0?rcvbuf=1", "write a size from 4KiB to 512MiB, such as 4MiB"),
        ("udp://127.0.0.1:0?nodelay=true", "`nodelay` is for tcp://, not for udp://"),
        ("tcp://[fe80::1%none0]:0", "the zone `none0` is no network interface"),
    ] {
        let output = host().args(["serve", "--bind", endpoint]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(says), "{said}");
    }
    let output = host().args(["serve", "--bind", "tcp://0.0.0.0:0?device=none0"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("`device=none0`: No such device"), "{said}");
}

/// Sends a datagram to `server`, and checks that the answer comes from that address.
fn check_answered(server: SocketAddr) {
    let own = if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
    let client = UdpSocket::bind(own).unwrap();
    client.set_read_timeout(Some(TIMEOUT)).unwrap();
    client.connect(server).unwrap();
    client.send(b"question").unwrap();
    let mut answer = [0; 8];
    client.recv(&mut answer).unwrap_or_else(|error| panic!("{server}: {error}"));
    assert_eq!(&answer, b"QUESTION");
}

/// Forking and workers run in the jail here.
#[test]
fn a_server_on_all_addresses_answers_from_the_address_of_the_question() {
    for mode in MODES {
        for endpoint in ["udp://0.0.0.0:0", "udp://[::]:0"] {
            let mut server = serve("dupper", &[endpoint], mode);
            for host in [[127, 0, 0, 1], [127, 0, 0, 2], [127, 9, 8, 7]] {
                check_answered((host, port(&server)).into());
            }
            if endpoint.contains("[::]") {
                check_answered(format!("[::1]:{}", port(&server)).parse().unwrap());
            }
            assert!(server.stop().unwrap().success());
            assert!(!server.log().iter().any(|line| line.contains("ERROR")), "{mode:?}");
        }
    }
}

/// A jailed process that has a Unix socket may not send messages, which could pass
/// descriptors. A forked process for a UDP request has no Unix socket.
#[test]
fn beside_a_unix_socket_jailed_workers_leave_the_source_to_the_kernel_and_log_it() {
    let directory = tempfile::tempdir().unwrap();
    for mode in MODES {
        let path = format!("unixgram://{}/{}", directory.path().display(), mode[0].len());
        let endpoints = ["udp://0.0.0.0:0", &path, "udp://127.0.0.2:0"];
        let options = [mode, &["--remove-stale-socket", "true"]].concat();
        let mut server = serve("dupper", &endpoints, &options);
        check_answered(([127, 0, 0, 1], port(&server)).into());
        let is_jailed_worker = mode.contains(&"--workers");
        if !is_jailed_worker {
            check_answered(([127, 0, 0, 2], port(&server)).into());
        }
        assert!(server.stop().unwrap().success());
        let warns = |line: &String| {
            line.contains("the kernel chooses the source address of replies over UDP")
        };
        assert_eq!(server.log().iter().any(warns), is_jailed_worker, "{mode:?}");
    }
}

/// The datagrams come while the server is stopped.
#[test]
fn datagrams_that_the_kernel_drops_are_counted() {
    const SENT: usize = 500;
    for mode in MODES {
        let options = [&["--log-format", "json"], mode].concat();
        let mut server = serve("dupper", &["udp://127.0.0.1:0?rcvbuf=4KiB"], &options);
        // After an answer, the workers exist and can be stopped.
        let address = SocketAddr::from(([127, 0, 0, 1], port(&server)));
        check_answered(address);
        let mut processes = vec![server.pid()];
        if mode.contains(&"--workers") {
            wait_until("there are two workers", || children(server.pid()).unwrap().len() == 2);
            processes.extend(children(server.pid()).unwrap());
        }
        for process in &processes {
            send_signal(*process, "STOP").unwrap();
        }
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..SENT {
            client.send_to(b"flood", address).unwrap();
        }
        for process in processes {
            send_signal(process, "CONT").unwrap();
        }
        let sent = json!(SENT + 1);
        let mut last = json!(null);
        wait_until("each datagram is served or counted", || {
            last = request_counters(&mut server);
            let dropped = last["datagrams_dropped"]["no-room"].as_u64().unwrap_or(0);
            let accepted = last["requests"]["accepted"].as_u64().unwrap();
            dropped > 0 && json!(dropped + accepted) == sent
        });
    }
}
