//! The options of `serve` that correspond to Python's attributes and methods, and those for the
//! files of Unix sockets.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::net::sockopt;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use socketserver_tests::build;
use socketserver_tests::load::Target;
use socketserver_tests::process::{Server, TIMEOUT};

use crate::client::ask;
use crate::fixture::{host, serve};

#[test]
fn once_serves_one_request_and_ends() {
    for mode in ["sync", "threading", "forking"] {
        let mut server = Server::start(serve().args(["--once", "--concurrency", mode]), 1).unwrap();
        assert_eq!(ask(&server, b"only"), b"ONLY", "{mode}");
        assert_eq!(server.wait().unwrap().code(), Some(0), "{mode}");
        assert!(TcpStream::connect(server.address()).is_err(), "{mode}");
    }
}

#[test]
fn once_waits_for_as_long_as_timeout_says() {
    for mode in ["sync", "threading", "forking"] {
        let options = ["--once", "--timeout", "0.05", "--concurrency", mode];
        let mut server = Server::start(serve().args(options), 1).unwrap();
        assert_eq!(server.wait().unwrap().code(), Some(0), "{mode}");
    }
}

#[test]
fn once_ends_at_a_signal() {
    let mut server = Server::start(serve().arg("--once"), 1).unwrap();
    assert!(server.stop().unwrap().success());
}

/// Otherwise another process could receive the server's datagrams, and answer them from the
/// server's address.
#[test]
fn by_default_a_second_server_cannot_bind_the_same_address() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display();
    let unix = [format!("unix://{path}/stream"), format!("unixgram://{path}/datagram")];
    let start = |sample: &str, bind: &str| {
        let mut command = host();
        command.arg("serve").arg(build::guest("rust", sample).unwrap()).args(["--bind", bind]);
        Server::start(&mut command, 1)
    };
    for (sample, bind) in [
        ("upper", "tcp://127.0.0.1:0"),
        ("upper", &unix[0]),
        ("dupper", "udp://127.0.0.1:0"),
        ("dupper", "udp://0.0.0.0:0"),
        ("dupper", "udp://[::1]:0"),
        ("dupper", &unix[1]),
    ] {
        let first = start(sample, bind).unwrap();
        let bound = first.endpoints()[0].clone();
        let Err(error) = start(sample, &bound) else { panic!("two servers on {bound}") };
        let error = format!("{error:#}");
        let said = format!("cannot listen on {bound}: Address already in use");
        assert!(error.contains(&said), "{error}");
    }
}

/// Returns duplicates of the sockets of a server.
pub fn duplicate_sockets(server: &Server) -> Vec<OwnedFd> {
    let process = Pid::from_raw(server.pid().cast_signed()).unwrap();
    let process = pidfd_open(process, PidfdFlags::empty()).unwrap();
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
    let sockets = descriptors.filter_map(|descriptor| {
        let path = descriptor.ok()?.path();
        let link = path.read_link().ok()?;
        let number = path.file_name()?.to_str()?.parse().ok()?;
        link.to_str()?.starts_with("socket:").then_some(number)
    });
    let copy = |number| pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).unwrap();
    sockets.map(copy).collect()
}

/// `docs/src/python/behaviours.md` has the table of differences from CPython's sockets.
#[test]
fn sockets_have_the_defaults_of_cpython_except_for_reuse_address_of_streams() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display();
    let unix = [format!("unix://{path}/stream"), format!("unixgram://{path}/datagram")];
    for (sample, bind, reuses_address, passes_credentials) in [
        ("upper", "tcp://127.0.0.1:0", true, false),
        ("upper", "tcp://[::1]:0", true, false),
        ("upper", &unix[0], true, false),
        ("dupper", "udp://127.0.0.1:0", false, false),
        ("dupper", "udp://0.0.0.0:0", false, false),
        ("dupper", "udp://[::1]:0", false, false),
        ("dupper", &unix[1], false, true),
    ] {
        let mut command = host();
        command.arg("serve").arg(build::guest("rust", sample).unwrap()).args(["--bind", bind]);
        let server = Server::start(&mut command, 1).unwrap();
        let is_bound = |socket: &OwnedFd| {
            // Other sockets, such as the pair for signals, have no name.
            socket2::SockRef::from(socket).local_addr().is_ok_and(|address| {
                address.as_socket().is_some() || address.as_pathname().is_some()
            })
        };
        let sockets = duplicate_sockets(&server);
        let [socket] = &*sockets.iter().filter(|socket| is_bound(socket)).collect::<Vec<_>>()
        else {
            panic!("{bind}: {sockets:?}")
        };
        let unix = bind.starts_with("unix");
        assert_eq!(sockopt::socket_reuseaddr(socket).unwrap(), reuses_address, "{bind}");
        assert!(unix || !sockopt::socket_reuseport(socket).unwrap(), "{bind}");
        assert!(!sockopt::socket_keepalive(socket).unwrap(), "{bind}");
        assert_eq!(sockopt::socket_linger(socket).unwrap(), None, "{bind}");
        assert!(!sockopt::socket_broadcast(socket).unwrap(), "{bind}");
        if unix {
            assert_eq!(sockopt::socket_passcred(socket).unwrap(), passes_credentials, "{bind}");
        }
        if bind.starts_with("tcp") {
            assert!(!sockopt::tcp_nodelay(socket).unwrap(), "{bind}");
        }
    }
}

#[test]
fn a_datagram_is_cut_to_max_packet_size() {
    let mut command = host();
    command.arg("serve").arg(build::guest("rust", "dlen").unwrap());
    command.args(["--bind", "udp://127.0.0.1:0", "--max-packet-size", "10"]);
    let server = Server::start(&mut command, 1).unwrap();
    let Target::Udp(address) = Target::parse(&server.endpoints()[0]).unwrap() else { panic!() };
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    for (sent, seen) in [(9, "9"), (10, "10"), (11, "10"), (1000, "10")] {
        socket.send_to(&vec![b'x'; sent], address).unwrap();
        let mut answer = [0; 10];
        let count = socket.recv(&mut answer).unwrap();
        assert_eq!(&answer[..count], seen.as_bytes());
    }
}

#[test]
fn remove_stale_socket_removes_a_stale_socket_and_never_a_live_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let start = |remove: &str| {
        let mut command = host();
        command.args(["serve", "--bind", &format!("unix://{}", path.display())]);
        Server::start(command.args(["--remove-stale-socket", remove]), 1)
    };
    // No process listens on this socket any more.
    drop(UnixListener::bind(&path).unwrap());
    let refused = |error: anyhow::Error, names_option| {
        let error = error.to_string();
        assert!(error.contains("in use"), "{error}");
        let option = "no server has that file open any more: --remove-stale-socket true removes it";
        assert_eq!(error.contains(option), names_option, "{error}");
    };
    refused(start("false").err().unwrap(), true);
    let first = start("true").unwrap();
    // Now a server listens on it.
    refused(start("true").err().unwrap(), false);
    refused(start("false").err().unwrap(), false);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"alive").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "ALIVE");
    drop(first);
}

#[test]
fn socket_mode_and_socket_owner_set_the_mode_and_the_owner_of_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let bind = format!("unix://{}", path.display());
    // Any user may give a file to itself.
    let own = directory.path().metadata().unwrap();
    let owner = format!("{}:{}", own.uid(), own.gid());
    let mut command = host();
    command.args(["serve", "--bind", &bind, "--socket-mode", "646", "--socket-owner", &owner]);
    let mut server = Server::start(&mut command, 1).unwrap();
    let found = path.metadata().unwrap();
    assert_eq!(found.permissions().mode() & 0o777, 0o646);
    assert_eq!((found.uid(), found.gid()), (own.uid(), own.gid()));
    assert!(server.stop().unwrap().success());
}

#[test]
fn the_server_class_or_the_handler_determines_the_default_endpoint() {
    let cases: [(&str, &[&str], &str); 3] = [
        ("dupper", &["--server", "ThreadingUDPServer"], "udp"),
        ("upper", &["--server", "ForkingTCPServer"], "tcp"),
        ("dupper", &[], "udp"),
    ];
    for (sample, options, scheme) in cases {
        let mut command = host();
        command.arg("serve").arg(build::guest("rust", sample).unwrap());
        // If another program uses that port, the error must name it.
        match Server::start(command.args(options), 1) {
            Ok(mut server) => {
                assert_eq!(server.endpoints(), [format!("{scheme}://127.0.0.1:9999")]);
                assert!(server.stop().unwrap().success());
            }
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains(&format!("{scheme}://127.0.0.1:9999")), "{error}");
            }
        }
    }
}

#[test]
fn poll_interval_and_timeout_take_python_s_seconds() {
    // Only `--once` uses the timeout.
    let options = ["--poll-interval", "0.01", "--timeout", "0"];
    let mut server = Server::start(serve().args(options), 1).unwrap();
    assert_eq!(ask(&server, b"still there"), b"STILL THERE");
    assert!(server.stop().unwrap().success());
}
