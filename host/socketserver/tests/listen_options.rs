//! The effects of the options of a listening socket, on real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use common::{NEVER, WAIT, connect_to, in_namespace, next, serve, talk, unique_name};
use rustix::net::sockopt;
use rustix::process::geteuid;
use rustix::thread::set_thread_uid;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use socketserver::{
    Address, BindHint, BuildError, DropReason, Endpoint, Hooks, KeepAlive, ListenOptions, Request,
    Server, ServerBuilder, ServerInfo,
};

/// Returns a server that echoes streams and datagrams.
fn echo(endpoints: &[&str]) -> ServerBuilder {
    let handler = |request: &Request, client: &Address, _: &Arc<ServerInfo>| match client {
        _ if request.data().is_empty() => common::echo(request),
        client => request.sendto(request.data(), client).map(drop),
    };
    let endpoints = endpoints.iter().map(|endpoint| endpoint.parse().unwrap());
    endpoints.fold(Server::builder(handler), ServerBuilder::bind)
}

fn build(endpoint: &str) -> Server {
    echo(&[endpoint]).build().unwrap()
}

fn fails(builder: ServerBuilder) -> (Option<BindHint>, String) {
    match builder.build().err() {
        Some(error @ BuildError::Bind { hint, .. }) => {
            let cause = std::error::Error::source(&error).unwrap();
            (hint, format!("{error}: {cause}"))
        }
        other => panic!("{other:?}"),
    }
}

fn address(server: &Server, place: usize) -> SocketAddr {
    server.endpoints()[place].address().to_socket_addr().unwrap()
}

/// Asks an address, and accepts an answer only from there.
fn ask(to: SocketAddr) -> Vec<u8> {
    let any: SocketAddr =
        if to.is_ipv4() { ([127, 0, 0, 1], 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let client = UdpSocket::bind(any).unwrap();
    client.connect(to).unwrap();
    client.set_read_timeout(Some(WAIT)).unwrap();
    client.send(b"question").unwrap();
    let mut answer = [0; 20];
    let length = client.recv(&mut answer).unwrap_or_else(|error| panic!("{to}: {error}"));
    answer[..length].to_vec()
}

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
            let (_, error) = fails(echo(&[&endpoint]));
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
            let server = serve(echo(&both.each_ref().map(String::as_str)).build().unwrap(), NEVER);
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
                let hint = fails(echo(&endpoints)).0;
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
        assert_eq!(fails(echo(&[&endpoint])).0, None, "{endpoint}");
    }
    let others = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = others.local_addr().unwrap().port();
    assert_eq!(fails(echo(&[&format!("tcp://127.0.0.1:{port}")])).0, None);
    let hint = fails(echo(&[&format!("tcp://[::]:{port}")])).0;
    assert_eq!(hint, Some(BindHint::OnlyV6));
    let hint = fails(echo(&[&format!("tcp://[::ffff:127.0.0.1]:{port}")])).0;
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
        let without = echo(&["tcp://[fe80::1]:0"]).build();
        assert!(without.is_err(), "an address on each link");
    });
}

#[test]
fn only_clients_of_the_device_are_served() {
    let setup = "link add one type veth peer name two\nlink set one up\nlink set two up";
    in_namespace("only_clients_of_the_device_are_served", setup, || {
        let server = serve(build("udp://0.0.0.0:0?device=lo"), NEVER);
        assert_eq!(ask(([127, 0, 0, 1], address(&server, 0).port()).into()), b"question");
        let (_, error) = fails(echo(&["udp://0.0.0.0:0?device=none0"]));
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
        let (_, error) = fails(echo(&["tcp://127.0.0.1:0?fastopen=16"]));
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
    let server = echo(&endpoints.each_ref().map(String::as_str)).request_queue_size(1);
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
            let builder = echo(&[&format!("{endpoint}?{name}={value}")]);
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

/// Sends to a group on the interface `one`, and returns the answer.
fn ask_group(group: SocketAddr) -> Option<Vec<u8>> {
    let client = match group {
        SocketAddr::V4(_) => {
            let client = UdpSocket::bind("10.1.2.3:0").unwrap();
            SockRef::from(&client).set_multicast_if_v4(&[10, 1, 2, 3].into()).unwrap();
            client
        }
        SocketAddr::V6(_) => UdpSocket::bind("[fd00::1]:0").unwrap(),
    };
    client.set_read_timeout(Some(WAIT)).unwrap();
    client.send_to(b"question", group).unwrap();
    let mut answer = [0; 20];
    let length = client.recv(&mut answer).ok()?;
    Some(answer[..length].to_vec())
}

#[test]
fn a_socket_receives_from_the_groups_that_it_joined() {
    let setup = "link add one type veth peer name two\n\
        link set one up\n\
        link set two up\n\
        addr add 10.1.2.3/24 dev one\n\
        route add 239.0.0.0/8 dev one\n\
        -6 addr add fd00::1/64 dev one nodad\n\
        -6 addr add fe80::7/64 dev one nodad";
    in_namespace("a_socket_receives_from_the_groups_that_it_joined", setup, || {
        let zone =
            rustix::net::netdevice::name_to_index(build("udp://:0").socket().unwrap(), "one");
        let of_v6 = format!("[ff02::114%{}]", zone.unwrap());
        for (endpoint, groups) in [
            ("udp://239.255.7.7:0", &["239.255.7.7"][..]),
            ("udp://239.255.7.7:0?group=239.255.7.7%one", &["239.255.7.7"]),
            ("udp://239.255.7.7:0?device=one", &["239.255.7.7"]),
            (
                "udp://0.0.0.0:0?group=239.255.7.7&group=239.255.7.8%one",
                &["239.255.7.7", "239.255.7.8"],
            ),
            ("udp://[ff02::114%one]:0", &[&of_v6]),
            ("udp://[::]:0?group=ff02::114%one", &[&of_v6]),
        ] {
            let server = serve(build(endpoint), NEVER);
            for group in groups {
                let at = format!("{group}:{}", address(&server, 0).port()).parse().unwrap();
                assert_eq!(ask_group(at).as_deref(), Some(&b"question"[..]), "{endpoint} {group}");
            }
        }
        let (_, error) = fails(echo(&["udp://0.0.0.0:0?group=239.255.7.7%none0"]));
        assert!(error.contains("`group=239.255.7.7%none0`: No such device"), "{error}");
        let (_, error) = fails(echo(&["udp://0.0.0.0:0?group=224.5.5.5"]));
        assert!(error.contains("name an interface, group=224.5.5.5%eth0"), "{error}");
    });
}

/// As it would be by default.
#[test]
fn a_socket_receives_nothing_from_groups_that_others_have_joined() {
    let setup = "route add 239.0.0.0/8 dev lo";
    in_namespace("a_socket_receives_nothing_from_groups_that_others_have_joined", setup, || {
        let (sender, heard) = mpsc::channel();
        let handler = move |request: &Request, _: &Address, _: &Arc<ServerInfo>| {
            sender.send(request.data().to_vec()).map_err(std::io::Error::other)
        };
        let endpoint = "udp://0.0.0.0:0?group=239.255.7.7".parse().unwrap();
        let server = serve(Server::builder(handler).bind(endpoint).build().unwrap(), NEVER);
        let port = address(&server, 0).port();
        let others = UdpSocket::bind("0.0.0.0:0").unwrap();
        others.join_multicast_v4(&[239, 255, 7, 9].into(), &[127, 0, 0, 1].into()).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        SockRef::from(&client).set_multicast_if_v4(&[127, 0, 0, 1].into()).unwrap();
        client.send_to(b"others", ("239.255.7.9", port)).unwrap();
        client.send_to(b"own", ("239.255.7.7", port)).unwrap();
        assert_eq!(next(&heard), b"own");
    });
}

/// A client that waits for an answer from the address that it asked accepts no other.
#[test]
fn a_server_on_every_address_answers_from_the_one_that_was_asked() {
    for endpoint in ["udp://0.0.0.0:0", "udp://[::]:0"] {
        let server = serve(build(endpoint), NEVER);
        for host in [[127, 0, 0, 1], [127, 0, 0, 2], [127, 1, 2, 3]] {
            assert_eq!(ask((host, address(&server, 0).port()).into()), b"question");
        }
    }
    let server = serve(build("udp://[::]:0"), NEVER);
    assert_eq!(ask((Ipv6Addr::LOCALHOST, address(&server, 0).port()).into()), b"question");
}

#[test]
fn a_server_on_every_ipv6_address_answers_from_the_one_that_was_asked() {
    let setup = "link add one type veth peer name two\n\
        link set one up\n\
        link set two up\n\
        -6 addr add fe80::7/64 dev one nodad\n\
        -6 addr add fe80::8/64 dev one nodad\n\
        -6 addr add fd00::7/64 dev one nodad\n\
        -6 addr add fd00::8/64 dev one nodad";
    let test = "a_server_on_every_ipv6_address_answers_from_the_one_that_was_asked";
    in_namespace(test, setup, || {
        let server = serve(build("udp://[::]:0"), NEVER);
        let port = address(&server, 0).port();
        for host in ["fd00::7", "fd00::8", "::1"] {
            assert_eq!(ask(format!("[{host}]:{port}").parse().unwrap()), b"question");
        }
        for host in ["fe80::7", "fe80::8"] {
            let at: Endpoint = format!("udp://[{host}%one]:{port}").parse().unwrap();
            assert_eq!(ask(at.address().to_socket_addr().unwrap()), b"question");
        }
    });
}

/// The destination of the request is gone when the answer is sent.
#[test]
fn an_answer_leaves_from_another_address_if_the_destination_is_gone() {
    let setup = "addr add 10.1.2.3/32 dev lo";
    let test = "an_answer_leaves_from_another_address_if_the_destination_is_gone";
    in_namespace(test, setup, || {
        let handler = |request: &Request, client: &Address, _: &Arc<ServerInfo>| {
            let gone = ["addr", "del", "10.1.2.3/32", "dev", "lo"];
            assert!(std::process::Command::new("ip").args(gone).status()?.success());
            request.sendto(b"answer", client).map(drop)
        };
        let endpoint = "udp://0.0.0.0:0".parse().unwrap();
        let server = serve(Server::builder(handler).bind(endpoint).build().unwrap(), NEVER);
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(WAIT)).unwrap();
        client.send_to(b"question", ("10.1.2.3", address(&server, 0).port())).unwrap();
        assert_eq!(client.recv(&mut [0; 10]).unwrap(), 6);
    });
}

/// Returns the number of datagrams that the kernel has dropped.
#[derive(Clone, Default)]
struct Dropped(Arc<Mutex<Vec<(String, u64)>>>);

impl Hooks for Dropped {
    fn handle_dropped(&self, endpoint: &Endpoint, count: u64, reason: DropReason) {
        assert_eq!(reason, DropReason::NoRoom);
        self.0.lock().unwrap().push((endpoint.to_string(), count));
    }
}

#[test]
fn datagrams_that_the_kernel_dropped_are_counted() {
    const SENT: u64 = 1000;
    for bind in ["udp://127.0.0.1:0?rcvbuf=4KiB", "udp://0.0.0.0:0?rcvbuf=4KiB"] {
        let (sender, taken_by_handler) = mpsc::channel();
        let gate = common::Gate::default();
        let handler = {
            let gate = gate.clone();
            move |request: &Request, _: &Address, _: &Arc<ServerInfo>| {
                sender.send(request.data().to_vec()).map_err(std::io::Error::other)?;
                gate.wait();
                Ok::<(), std::io::Error>(())
            }
        };
        let dropped = Dropped::default();
        let builder = Server::builder(handler).hooks(dropped.clone());
        let server = serve(builder.bind(bind.parse().unwrap()).build().unwrap(), NEVER);
        let at = SocketAddr::from(([127, 0, 0, 1], address(&server, 0).port()));
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(b"first", at).unwrap();
        assert_eq!(next(&taken_by_handler), b"first");
        for _ in 0..SENT {
            client.send_to(b"flood", at).unwrap();
        }
        gate.open();
        // The queue has room again after a while.
        let mut taken = 0;
        common::wait_until("the last one is served", || {
            client.send_to(b"last", at).unwrap();
            let mut last = false;
            while let Ok(data) = taken_by_handler.recv_timeout(Duration::from_millis(10)) {
                taken += u64::from(data == b"flood");
                last |= data == b"last";
            }
            last
        });
        let endpoint = server.endpoints()[0].to_string();
        server.shutdown().unwrap();
        let told = dropped.0.lock().unwrap().clone();
        assert!(told.iter().all(|(at, _)| *at == endpoint), "{told:?}");
        let lost: u64 = told.iter().map(|(_, count)| count).sum();
        assert!(
            taken < SENT && lost >= SENT - taken && lost <= SENT - taken + 9,
            "{taken} {told:?}"
        );
    }
}
