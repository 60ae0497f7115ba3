//! The options of a listening socket, in the URL of `--bind`.

use std::net::{SocketAddr, UdpSocket};

use serde_json::json;
use socket2::SockRef;
use socketserver_tests::build;
use socketserver_tests::load::Target;
use socketserver_tests::process::{PATIENCE, Server};

use crate::attacks::wait_until;
use crate::client::ask;
use crate::counters::asked;
use crate::fixture::{MODES, host};
use crate::options::sockets_of;
use crate::processes::{children, kill};

fn serve(sample: &str, places: &[&str], options: &[&str]) -> Server {
    let mut command = host();
    command.arg("serve").arg(build::guest("rust", sample).unwrap()).args(options);
    command.args(places.iter().flat_map(|place| ["--bind", place]));
    Server::start(&mut command, places.len()).unwrap()
}

fn port(server: &Server) -> u16 {
    match Target::parse(&server.endpoints()[0]).unwrap() {
        Target::Udp(address) | Target::Tcp(address) => address.port(),
        _ => panic!("{:?}", server.endpoints()),
    }
}

#[test]
fn the_socket_has_them_and_the_ready_line_too() {
    let place = "tcp://127.0.0.1:0?nodelay=true&rcvbuf=1048576&sndbuf=512KiB&keepalive=1m";
    let server = serve("upper", &[place], &[]);
    let port = server.address().port();
    let printed = "rcvbuf=1MiB&sndbuf=512KiB&nodelay=true&keepalive=60s";
    assert_eq!(server.endpoints(), [format!("tcp://127.0.0.1:{port}?{printed}")]);
    assert_eq!(ask(&server, b"hello"), b"HELLO");
    let sockets = sockets_of(&server);
    let has_them = sockets.iter().map(SockRef::from).any(|socket| {
        socket.recv_buffer_size().unwrap() == 2 << 20
            && socket.send_buffer_size().unwrap() == 1 << 20
            && socket.tcp_nodelay().unwrap_or(false)
            && socket.keepalive().unwrap()
    });
    assert!(has_them, "{sockets:?}");
}

#[test]
fn mistakes_are_exit_code_2_and_name_the_way_out() {
    for (place, says) in [
        ("udp://127.0.0.1:0?rcvbuff=1MiB", "did you mean `rcvbuf`?"),
        ("udp://127.0.0.1:0?rcvbuf=1", "write a size from 4KiB to 512MiB, such as 4MiB"),
        ("udp://127.0.0.1:0?nodelay=true", "`nodelay` is for tcp://, not for udp://"),
        ("tcp://[fe80::1%none0]:0", "the zone `none0` is no network interface"),
    ] {
        let output = host().args(["serve", "--bind", place]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(says), "{said}");
    }
    let output = host().args(["serve", "--bind", "tcp://0.0.0.0:0?device=none0"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("`device=none0`: No such device"), "{said}");
}

/// Asks, and takes an answer only from there.
fn is_answered(at: SocketAddr) {
    let client = UdpSocket::bind(if at.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.connect(at).unwrap();
    client.send(b"question").unwrap();
    let mut answer = [0; 8];
    client.recv(&mut answer).unwrap_or_else(|error| panic!("{at}: {error}"));
    assert_eq!(&answer, b"QUESTION");
}

/// Also in the jail, where most modes run.
#[test]
fn a_server_on_all_addresses_answers_from_the_one_that_was_asked() {
    for mode in MODES {
        for place in ["udp://0.0.0.0:0", "udp://[::]:0"] {
            let mut server = serve("dupper", &[place], mode);
            for host in [[127, 0, 0, 1], [127, 0, 0, 2], [127, 9, 8, 7]] {
                is_answered((host, port(&server)).into());
            }
            if place.contains("[::]") {
                is_answered(format!("[::1]:{}", port(&server)).parse().unwrap());
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
        let places = ["udp://0.0.0.0:0", &path, "udp://127.0.0.2:0"];
        let options = [mode, &["--remove-stale-socket", "true"]].concat();
        let mut server = serve("dupper", &places, &options);
        is_answered(([127, 0, 0, 1], port(&server)).into());
        let is_jailed_worker = mode[0] == "--workers";
        if !is_jailed_worker {
            is_answered(([127, 0, 0, 2], port(&server)).into());
        }
        assert!(server.stop().unwrap().success());
        let warns = |line: &String| {
            line.contains("the kernel chooses the source address of replies over UDP")
        };
        assert_eq!(server.log().iter().any(warns), is_jailed_worker, "{mode:?}");
    }
}

/// One clients' datagrams come while it takes none.
#[test]
fn what_the_kernel_had_no_room_for_is_counted() {
    const SENT: usize = 500;
    for mode in MODES {
        let options = [&["--log-format", "json"], mode].concat();
        let mut server = serve("dupper", &["udp://127.0.0.1:0?rcvbuf=4KiB"], &options);
        // A worker that has answered is there to be stopped.
        let at = SocketAddr::from(([127, 0, 0, 1], port(&server)));
        is_answered(at);
        let mut processes = vec![server.pid()];
        if mode[0] == "--workers" {
            wait_until("there are two", || children(server.pid()).len() == 2);
            processes.extend(children(server.pid()));
        }
        for process in &processes {
            kill(*process, "STOP");
        }
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..SENT {
            client.send_to(b"flood", at).unwrap();
        }
        for process in processes {
            kill(process, "CONT");
        }
        let sent = json!(SENT + 1);
        let mut last = json!(null);
        wait_until("each is served or counted", || {
            last = asked(&mut server);
            let dropped = last["datagrams_dropped"]["no-room"].as_u64().unwrap_or(0);
            let accepted = last["requests"]["accepted"].as_u64().unwrap();
            dropped > 0 && json!(dropped + accepted) == sent
        });
    }
}
