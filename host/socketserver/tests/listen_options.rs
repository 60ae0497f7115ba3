//! The effects of the options of a listening socket, on real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use common::echo_server::{address, ask, build, echo_server, fails};
use common::{NEVER, connect_to, in_namespace, next, serve, talk, unique_name};
use rustix::net::sockopt;
use rustix::process::geteuid;
use rustix::thread::set_thread_uid;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use socketserver::{Address, BindHint, KeepAlive, ListenOptions, Request, Server, ServerInfo};

#[test]
fn an_endpoint_keeps_its_options_and_the_server_prints_them() {
    let server = build("udp://127.0.0.1:0?rcvbuf=64KiB&device=lo");
    let port = address(&server, 0).port();
    let printed = server.endpoints()[0].to_string();
    assert_eq!(printed, format!("udp://127.0.0.1:{port}?rcvbuf=64KiB&device=lo"));
}

#[test]
fn an_option_that_the_socket_does_not_have_is_an_error_of_the_server() {
    let endpoint = common::udp().with_options(ListenOptions::new().nodelay(true));
    let handler = |request: &Request, _: &Address, _: &Arc<ServerInfo>| common::echo(request);
    let error = Server::builder(handler).bind(endpoint).build().err().unwrap().to_string();
    assert!(error.contains("`nodelay` is for tcp://, not for udp://"), "{error}");
}

#[test]
fn buffers_are_as_large_as_asked_for() {
    let path = tempfile::tempdir().unwrap();
    let unixgram = format!("unixgram://{}/socket?sndbuf=64KiB", path.path().display());
    for (endpoint, receive, send) in [
        ("udp://127.0.0.1:0?rcvbuf=1MiB&sndbuf=512KiB", 1 << 20, 512 << 10),
        ("tcp://127.0.0.1:0?rcvbuf=1MiB&sndbuf=512KiB", 1 << 20, 512 << 10),
        (unixgram.as_str(), 0, 64 << 10),
    ] {
        let socket = build(endpoint).socket().unwrap();
        let socket = SockRef::from(&socket);
        // The kernel doubles them, for its own overhead.
        assert!(receive == 0 || socket.recv_buffer_size().unwrap() == 2 * receive, "{endpoint}");
        assert_eq!(socket.send_buffer_size().unwrap(), 2 * send, "{endpoint}");
    }
}

/// The kernel reports no error if it gives less.
#[test]
fn a_buffer_beyond_the_limit_is_an_error_except_for_root() {
    let most = fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap();
    let more = (most.trim().parse::<usize>().unwrap() + 4096).min(512 << 20);
    let endpoint = format!("udp://127.0.0.1:0?rcvbuf={more}");
    if geteuid().is_root() {
        let socket = build(&endpoint).socket().unwrap();
        assert_eq!(SockRef::from(&socket).recv_buffer_size().unwrap(), 2 * more);
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            if geteuid().is_root() {
                set_thread_uid(rustix::fs::Uid::from_raw(65_534)).unwrap();
            }
            let (_, error) = fails(echo_server(&[&endpoint]));
            assert!(error.contains("`rcvbuf=") && error.contains("net.core.rmem_max"), "{error}");
        });
    });
}

#[test]
fn ipv4_and_ipv6_can_have_one_port() {
    // An address on which no other test has a port.
    in_namespace("ipv4_and_ipv6_can_have_one_port", "", || {
        for (scheme, port) in [("tcp", 7001), ("udp", 7002)] {
            let both = [
                format!("{scheme}://0.0.0.0:{port}"),
                format!("{scheme}://[::]:{port}?v6only=true"),
            ];
            let server =
                serve(echo_server(&both.each_ref().map(String::as_str)).build().unwrap(), NEVER);
            for host in ["127.0.0.1", "[::1]"] {
                let at: SocketAddr = format!("{host}:{port}").parse().unwrap();
                if scheme == "udp" {
                    assert_eq!(ask(at), b"question");
                } else {
                    let mut client = connect_to(at).unwrap();
                    client.write_all(b"question").unwrap();
                    let mut answer = [0; 8];
                    client.read_exact(&mut answer).unwrap();
                    assert_eq!(&answer, b"question");
                }
            }
            drop(server);
        }
        // Without the option they cannot, and the error names the option, in both orders.
        for (scheme, port) in [("tcp", 7003), ("udp", 7004)] {
            let [v4, v6] = ["0.0.0.0", "[::]"].map(|host| format!("{scheme}://{host}:{port}"));
            for endpoints in [[&*v4, &*v6], [&*v6, &*v4]] {
                let hint = fails(echo_server(&endpoints)).0;
                assert_eq!(hint, Some(BindHint::OnlyV6), "{endpoints:?}");
                let hint = hint.unwrap().to_string();
                assert!(hint.contains("?v6only=true"), "{hint}");
            }
        }
    });
}

#[test]
fn the_hint_v6only_is_given_only_where_it_would_help() {
    let others = TcpListener::bind("[::1]:0").unwrap();
    let port = others.local_addr().unwrap().port();
    for endpoint in [format!("tcp://[::]:{port}"), format!("tcp://[::1]:{port}")] {
        assert_eq!(fails(echo_server(&[&endpoint])).0, None, "{endpoint}");
    }
    let others = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = others.local_addr().unwrap().port();
    assert_eq!(fails(echo_server(&[&format!("tcp://127.0.0.1:{port}")])).0, None);
    let hint = fails(echo_server(&[&format!("tcp://[::]:{port}")])).0;
    assert_eq!(hint, Some(BindHint::OnlyV6));
    let hint = fails(echo_server(&[&format!("tcp://[::ffff:127.0.0.1]:{port}")])).0;
    assert_eq!(hint, None);
}

#[test]
fn a_link_local_address_has_a_zone() {
    let setup = "link add one type veth peer name two\n\
        link set one up\n\
        link set two up\n\
        -6 addr add fe80::1/64 dev one nodad";
    in_namespace("a_link_local_address_has_a_zone", setup, || {
        for scheme in ["tcp", "udp"] {
            let server = serve(build(&format!("{scheme}://[fe80::1%one]:0")), NEVER);
            let at = address(&server, 0);
            let printed = server.endpoints()[0].to_string();
            assert_eq!(printed, format!("{scheme}://[fe80::1%one]:{}", at.port()));
            if scheme == "udp" {
                assert_eq!(ask(at), b"question");
            } else {
                assert_eq!(talk(&server, b"question"), b"question");
            }
            let SocketAddr::V6(v6) = at else { panic!("{at}") };
            let by_number = format!("{scheme}://[fe80::1%{}]:0", v6.scope_id());
            assert_eq!(address(&build(&by_number), 0).ip(), at.ip());
        }
        let without = echo_server(&["tcp://[fe80::1]:0"]).build();
        assert!(without.is_err(), "an address on each link");
    });
}

#[test]
fn only_clients_of_the_device_are_served() {
    let setup = "link add one type veth peer name two\nlink set one up\nlink set two up";
    in_namespace("only_clients_of_the_device_are_served", setup, || {
        let server = serve(build("udp://0.0.0.0:0?device=lo"), NEVER);
        assert_eq!(ask(([127, 0, 0, 1], address(&server, 0).port()).into()), b"question");
        let (_, error) = fails(echo_server(&["udp://0.0.0.0:0?device=none0"]));
        assert!(error.contains("`device=none0`: No such device"), "{error}");
        let server = serve(build("tcp://0.0.0.0:0?device=one"), NEVER);
        let refused = TcpStream::connect(("127.0.0.1", address(&server, 0).port()));
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

/// Returns the options of a connection, as its handler finds them.
fn of_connection<T: Send + Sync + 'static>(
    endpoint: &str,
    look: impl Fn(&Request) -> T + Send + Sync + 'static,
) -> T {
    let (sender, seen) = mpsc::channel();
    let handler = move |request: &Request, _: &Address, _: &Arc<ServerInfo>| {
        sender.send(look(request)).map_err(std::io::Error::other)
    };
    let server = Server::builder(handler).bind(endpoint.parse().unwrap()).build().unwrap();
    let _client = connect_to(address(&server, 0)).unwrap();
    server.handle_request().unwrap();
    next(&seen)
}

#[test]
fn connections_inherit_the_options_of_their_listener() {
    let nodelay = |request: &Request| sockopt::tcp_nodelay(request).unwrap();
    assert!(!of_connection("tcp://127.0.0.1:0", nodelay));
    assert!(of_connection("tcp://127.0.0.1:0?nodelay=true", nodelay));
    let keep_alive = |request: &Request| {
        (
            sockopt::socket_keepalive(request).unwrap(),
            sockopt::tcp_keepidle(request).unwrap().as_secs(),
            sockopt::tcp_keepintvl(request).unwrap().as_secs(),
            sockopt::tcp_keepcnt(request).unwrap(),
        )
    };
    let (off, idle, interval, count) = of_connection("tcp://127.0.0.1:0", keep_alive);
    assert!(!off);
    for (value, expected) in [
        ("true", (true, idle, interval, count)),
        ("false", (false, idle, interval, count)),
        ("61s", (true, 61, interval, count)),
        ("61s,11s", (true, 61, 11, count)),
        ("61s,11s,5", (true, 61, 11, 5)),
        ("61s,,5", (true, 61, interval, 5)),
    ] {
        let endpoint = format!("tcp://127.0.0.1:0?keepalive={value}");
        assert_eq!(of_connection(&endpoint, keep_alive), expected, "{value}");
    }
    let buffers = |request: &Request| {
        let socket = SockRef::from(request);
        (socket.recv_buffer_size().unwrap(), socket.send_buffer_size().unwrap())
    };
    let inherited = of_connection("tcp://127.0.0.1:0?rcvbuf=96KiB&sndbuf=80KiB", buffers);
    assert_eq!(inherited, (192 << 10, 160 << 10));
}

#[test]
fn a_program_can_set_the_options_of_a_url() {
    let options = ListenOptions::new()
        .receive_buffer(96 << 10)
        .send_buffer(80 << 10)
        .backlog(9)
        .reuse_address(true)
        .reuse_port(false)
        .nodelay(true)
        .keep_alive(KeepAlive::After {
            idle: Duration::from_mins(1),
            interval: None,
            count: Some(3),
        })
        .defer_accept(Duration::from_secs(5));
    let endpoint = common::localhost().with_options(options);
    let printed = "tcp://127.0.0.1:0?rcvbuf=96KiB&sndbuf=80KiB&backlog=9&reuseaddr=true&\
        reuseport=false&nodelay=true&keepalive=60s,,3&defer-accept=5s";
    assert_eq!(endpoint.to_string(), printed);
    assert_eq!(printed.parse(), Ok(endpoint));
}

/// A client without data is not accepted yet, and delays no other client.
#[test]
fn connections_without_data_are_not_taken_yet() {
    let (sender, taken) = mpsc::channel();
    let handler = move |request: &Request, _: &Address, _: &Arc<ServerInfo>| {
        sender.send(request.recv(10)?).map_err(std::io::Error::other)
    };
    let endpoint = "tcp://127.0.0.1:0?defer-accept=60s".parse().unwrap();
    let server = Server::builder(handler).bind(endpoint).build().unwrap();
    let mut silent = connect_to(address(&server, 0)).unwrap();
    let mut other = connect_to(address(&server, 0)).unwrap();
    other.write_all(b"second").unwrap();
    server.handle_request().unwrap();
    assert_eq!(next(&taken), b"second");
    silent.write_all(b"first").unwrap();
    server.handle_request().unwrap();
    assert_eq!(next(&taken), b"first");
}

#[test]
fn fast_open_is_an_error_where_the_system_does_not_allow_it() {
    in_namespace("fast_open_is_an_error_where_the_system_does_not_allow_it", "", || {
        let allow = |bits: &str| fs::write("/proc/sys/net/ipv4/tcp_fastopen", bits).unwrap();
        allow("1");
        let (_, error) = fails(echo_server(&["tcp://127.0.0.1:0?fastopen=16"]));
        assert!(
            error.contains("`fastopen=16`") && error.contains("net.ipv4.tcp_fastopen"),
            "{error}"
        );
        allow("3");
        let server = serve(build("tcp://127.0.0.1:0?fastopen=16"), NEVER);
        assert_eq!(talk(&server, b"question"), b"question");
    });
}

#[test]
fn each_socket_may_have_a_backlog_of_its_own() {
    let names = [unique_name(), unique_name()];
    let endpoints = [format!("unix://@{}?backlog=0", names[0]), format!("unix://@{}", names[1])];
    let server = echo_server(&endpoints.each_ref().map(String::as_str)).request_queue_size(1);
    let _server = server.build().unwrap();
    let waiting = names.map(|name| {
        let address = SockAddr::unix(format!("\0{name}")).unwrap();
        let clients = (0..5).map(|_| {
            let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            client.set_nonblocking(true).unwrap();
            client.connect(&address).is_ok().then_some(client)
        });
        clients.collect::<Vec<_>>().iter().flatten().count()
    });
    // Linux accepts one more.
    assert_eq!(waiting, [1, 2]);
}

#[test]
fn each_socket_may_share_its_address_or_not() {
    for (name, shared) in [("reuseaddr", [true, false]), ("reuseport", [false, true])] {
        let options = |endpoint: &str, value: bool| {
            let builder = echo_server(&[&format!("{endpoint}?{name}={value}")]);
            let builder = builder.allow_reuse_address(!value).allow_reuse_port(!value);
            let socket = builder.build().unwrap().socket().unwrap();
            let all = [sockopt::socket_reuseaddr(&socket), sockopt::socket_reuseport(&socket)];
            all.map(Result::unwrap)
        };
        for endpoint in ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"] {
            assert_eq!(options(endpoint, true), shared, "{name} {endpoint}");
            assert_eq!(options(endpoint, false), shared.map(|shared| !shared), "{name} {endpoint}");
        }
    }
}
