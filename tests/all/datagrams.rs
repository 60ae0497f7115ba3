//! Handlers of datagrams: the calls that they may make on the server's socket, and their
//! failures.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use socketserver_tests::process::{Server, TIMEOUT};
use tempfile::TempDir;

use crate::client::ask as ask_stream;
use crate::fixture::{DATAGRAM, FIXTURE, Fixture, Served};

mod worlds;

const UDP: &str = "udp://127.0.0.1:0";
/// Cases of `types.error-code`.
const CLOSED: u32 = 4;
const DENIED: u32 = 5;
const DESTINATION_ADDRESS_REQUIRED: u32 = 15;
const MESSAGE_TOO_LONG: u32 = 19;
const INVALID_ARGUMENT: u32 = 20;
const NOT_SUPPORTED: u32 = 25;

/// Returns code that sends `it failed` to an address, in the words of the canonical ABI, with
/// the result at address 16.
fn sendto(address: &str) -> String {
    let mut words: Vec<_> = address.split(' ').map(|word| format!("(i32.const {word})")).collect();
    words.resize(12, "(i32.const 0)".to_owned());
    format!(
        "(call $host_sendto (global.get $request) (i32.const 104) (i32.const 9) {} (i32.const 16))",
        words.join(" ")
    )
}

/// Makes a client of a UDP server that receives only from that server.
fn client(server: &Server) -> UdpSocket {
    let address: SocketAddr =
        server.endpoints()[0].strip_prefix("udp://").unwrap().parse().unwrap();
    let socket = UdpSocket::bind((address.ip(), 0)).unwrap();
    socket.connect(address).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    socket
}

fn ask(server: &Server, question: &[u8]) -> Vec<u8> {
    answer(&client(server), question)
}

fn answer(client: &UdpSocket, question: &[u8]) -> Vec<u8> {
    client.send(question).unwrap();
    let mut answer = vec![0; 70_000];
    let length = client.recv(&mut answer).unwrap();
    answer.truncate(length);
    answer
}

/// Sends `x` and returns the word that the handler answers.
fn ask_for_word(server: &Server) -> u32 {
    u32::from_le_bytes(ask(server, b"x").try_into().unwrap())
}

/// Runs `handle` for one request, and returns the word that it sends. Checks that the server
/// answers the next request.
fn word_from(handle: &str) -> u32 {
    let served = Fixture { handle, ..DATAGRAM }.serve_at(&[UDP], &[]);
    let word = ask_for_word(&served.server);
    assert_eq!(ask(&served.server, b"-"), b"ok");
    word
}

/// A server of Unix datagrams, and the directory of its socket.
struct Unix {
    served: Served,
    directory: TempDir,
}

impl Unix {
    fn serve(fixture: Fixture<'_>) -> Unix {
        let directory = tempfile::tempdir().unwrap();
        let endpoint = format!("unixgram://{}", directory.path().join("server").display());
        Unix { served: fixture.serve_at(&[&endpoint], &[]), directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn client(&self, name: &str) -> UnixDatagram {
        let socket = UnixDatagram::bind(self.path(name)).unwrap();
        socket.connect(self.path("server")).unwrap();
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        socket
    }

    fn ask(&self, name: &str, question: &[u8]) -> Vec<u8> {
        let client = self.client(name);
        client.send(question).unwrap();
        let mut answer = vec![0; 70_000];
        let length = client.recv(&mut answer).unwrap();
        answer.truncate(length);
        answer
    }
}

#[test]
fn a_connected_client_receives_the_reply() {
    for endpoint in [UDP, "udp://[::1]:0"] {
        let served = DATAGRAM.serve_at(&[endpoint], &[]);
        let client = client(&served.server);
        for _ in 0..100 {
            assert_eq!(answer(&client, b"-"), b"ok");
        }
    }
}

#[test]
fn a_unix_client_has_a_path_or_an_abstract_name() {
    use std::os::linux::net::SocketAddrExt;
    let unix = Unix::serve(DATAGRAM);
    assert_eq!(unix.ask("client", b"-"), b"ok");
    let name = format!("wasm-socketserver-client-{}", std::process::id());
    let name = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
    let client = UnixDatagram::bind_addr(&name).unwrap();
    client.connect(unix.path("server")).unwrap();
    client.set_read_timeout(Some(TIMEOUT)).unwrap();
    client.send(b"-").unwrap();
    let mut answer = [0; 3];
    assert_eq!(client.recv(&mut answer).unwrap(), 2);
}

#[test]
fn an_empty_datagram_is_a_request_and_a_reply() {
    let served = DATAGRAM.serve_at(&[UDP], &[]);
    assert_eq!(ask(&served.server, b""), b"ok");
    let silent = Fixture { handle: "(call $reply (i32.const 0) (i32.const 0))", ..DATAGRAM };
    let served = silent.serve_at(&[UDP], &[]);
    assert_eq!(ask(&served.server, b"x"), b"");
}

#[test]
fn a_datagram_is_cut_at_max_packet_size_which_the_handler_can_read() {
    let echo =
        Fixture { handle: "(call $reply (global.get $data) (global.get $length))", ..DATAGRAM };
    let served = echo.serve_at(&[UDP], &[]);
    let unix = Unix::serve(echo);
    for length in [1, 8191, 8192, 8193, 20_000] {
        let question: Vec<u8> = b"xyz".iter().copied().cycle().take(length).collect();
        let expected = &question[..length.min(8192)];
        assert_eq!(ask(&served.server, &question), expected);
        assert_eq!(unix.ask(&format!("client-{length}"), &question), expected);
    }
    let size = "(call $host_max_packet_size (i32.const 16)) (call $tell (i32.load (i32.const 20)))";
    assert_eq!(word_from(size), 8192);
}

#[test]
fn a_handler_may_send_to_its_own_client_only() {
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    other.set_nonblocking(true).unwrap();
    let port = other.local_addr().unwrap().port();
    for address in [
        format!("0 127 0 0 1 {port}"),
        format!("0 127 0 0 2 {port}"),
        format!("1 0 0 0 0 0 65535 32512 1 {port}"),
        "2 0".to_owned(),
        // `ok` as a path and as an abstract name, and a path that is too long.
        "2 1 100 2".to_owned(),
        "2 2 100 2".to_owned(),
        "2 1 0 65536".to_owned(),
    ] {
        let again = format!("{0} {0} (call $tell_error (i32.const 20))", sendto(&address));
        let mut served = Fixture { handle: &again, ..DATAGRAM }.serve_at(&[UDP], &[]);
        assert_eq!(ask_for_word(&served.server), DENIED, "{address}");
        assert_eq!(other.recv(&mut [0; 9]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let line = served.server.wait_for_log("denied").unwrap();
        assert!(line.contains("a handler may send to its own client, 127.0.0.1:"), "{line}");
        assert!(line.contains("INFO") && line.contains("handler=\"fixture\""), "{line}");
        let nameless = line.contains("sendto an address that no socket has: ");
        assert_eq!(nameless, address == "2 1 0 65536", "{line}");
        assert_eq!(ask(&served.server, b"-"), b"ok");
        // The host logs only the first call that it denies to a request.
        served.server.stop().unwrap();
        let denied = served.server.log().iter().filter(|line| line.contains("denied"));
        assert_eq!(denied.count(), 1);
    }
}

#[test]
fn sending_to_another_unix_socket_is_denied() {
    let other_name = "/wasm-socketserver-no-such-file";
    let fields = format!("(data (i32.const 300) \"{other_name}\")");
    let handle = format!(
        "{} (call $tell_error (i32.const 20))",
        sendto(&format!("2 1 300 {}", other_name.len()))
    );
    let mut unix = Unix::serve(Fixture { handle: &handle, fields: &fields, ..DATAGRAM });
    assert_eq!(unix.ask("client", b"x"), DENIED.to_le_bytes());
    let line = unix.served.server.wait_for_log("denied").unwrap();
    assert!(line.contains(&format!("sendto {other_name}: ")), "{line}");
}

#[test]
fn calls_for_connections_fail_on_the_socket_of_datagrams() {
    let recv = "(call $host_recv (global.get $request) (i32.const 9) (i32.const 16)) (call $tell_error (i32.const 20))";
    assert_eq!(word_from(recv), NOT_SUPPORTED);
    for how in 0..3 {
        let shutdown = format!(
            "(call $host_shutdown (global.get $request) (i32.const {how}) (i32.const 16)) (call $tell_error (i32.const 17))"
        );
        assert_eq!(word_from(&shutdown), NOT_SUPPORTED);
    }
    let sendall =
        "(call $host_sendall (global.get $request) (i32.const 100) (i32.const 2) (i32.const 16))";
    let error = word_from(&format!("{sendall} (call $tell_error (i32.const 17))"));
    assert!([DESTINATION_ADDRESS_REQUIRED, NOT_SUPPORTED].contains(&error), "{error}");
    // The client is not to blame for this mistake.
    let handle = format!("{sendall} (return (call $failed))");
    check_failed(Fixture { handle: &handle, ..DATAGRAM }, "error", "handle failed: it failed");
}

#[test]
fn a_datagram_that_is_too_long_is_not_sent() {
    let handle = "(memory.fill (i32.const 0) (i32.const 0) (i32.const 0))
        (call $reply (i32.const 0) (i32.const 65536))
        (call $tell (i32.load8_u (i32.const 36)))";
    assert_eq!(word_from(handle), MESSAGE_TOO_LONG);
}

#[test]
fn closing_the_request_does_not_close_the_socket_of_the_server() {
    let fileno = "(call $tell (call $host_fileno (global.get $request)))";
    let number = word_from(fileno);
    assert!((3..10).contains(&number), "{number}");
    let closed = format!(
        "(call $host_close (global.get $request))
         (if (i32.ne (call $host_fileno (global.get $request)) (i32.const -1)) (then unreachable))
         (call $reply (i32.const 100) (i32.const 2))
         (if (i32.ne (i32.load8_u (i32.const 36)) (i32.const {CLOSED})) (then unreachable))
         {}
         (if (i32.ne (i32.load8_u (i32.const 20)) (i32.const {CLOSED})) (then unreachable))
         (return (call $failed))",
        sendto("0 127 0 0 1 1")
    );
    let line = check_failed(Fixture { handle: &closed, ..DATAGRAM }, "error", "it failed");
    assert!(!line.contains("unreachable"), "{line}");
}

/// Checks that a request of the handler fails for `reason`, that the guest is to blame, and
/// that the server answers the next datagram. Returns the line of the log, which contains
/// `text`.
fn check_failed(fixture: Fixture<'_>, reason: &str, text: &str) -> String {
    let mut served = fixture.serve_at(&[UDP], &["--cpu-time", "100ms"]);
    client(&served.server).send(b"x").unwrap();
    let line = served.server.wait_for_log("Exception occurred").unwrap();
    assert!(line.contains(&format!("reason=\"{reason}\"")), "{reason}: {line}");
    assert!(line.contains("blame=\"guest\"") && line.contains("from 127.0.0.1:"), "{line}");
    assert!(line.contains(text), "{text}: {line}");
    assert_eq!(ask(&served.server, b"-"), b"ok");
    line
}

#[test]
fn a_trap_a_loop_and_an_error_in_each_step_are_reported() {
    let endless = "(loop $again (br $again))";
    let error = "(return (call $failed))";
    for (code, reason, text) in [
        ("unreachable", "trap", "was ended: "),
        (endless, "cpu-time", "was ended: it used up its CPU time of 100ms"),
        (error, "error", "failed: it failed"),
    ] {
        for (fixture, step) in [
            (Fixture { setup: code, ..DATAGRAM }, "setup"),
            (Fixture { handle: code, ..DATAGRAM }, "handle"),
            (Fixture { finish: code, ..DATAGRAM }, "finish"),
        ] {
            check_failed(fixture, reason, &format!("{step} {text}"));
        }
    }
}

#[test]
fn a_realloc_that_fails_for_the_datagram_ends_the_request() {
    for (realloc, reason) in
        [("(return (i32.const -1))", "call"), ("(loop $again (br $again))", "cpu-time")]
    {
        let fixture = Fixture { realloc, ..DATAGRAM };
        let mut served = fixture.serve_at(&[UDP], &["--cpu-time", "100ms"]);
        for _ in 0..2 {
            client(&served.server).send(b"-").unwrap();
            let line = served.server.wait_for_log("Exception occurred").unwrap();
            assert!(line.contains("setup was ended: "), "{line}");
            assert!(line.contains(&format!("reason=\"{reason}\"")), "{line}");
        }
    }
}

#[test]
fn unix_clients_that_cannot_be_answered_are_to_blame() {
    let fixture = Fixture {
        handle: "(call $reply (i32.const 100) (i32.const 2))
            (if (i32.load8_u (i32.const 32)) (then (return (call $failed))))",
        ..DATAGRAM
    };
    let mut unix = Unix::serve(fixture);
    let mut check_blamed = |reason: &str, from: &str, send_and_close: &dyn Fn(&Unix)| {
        // The server receives the datagram after the client has closed its socket.
        unix.served.server.pause().unwrap();
        send_and_close(&unix);
        unix.served.server.signal("CONT").unwrap();
        let line = unix.served.server.wait_for_log("Exception occurred").unwrap();
        assert!(line.contains("WARN") && line.contains("blame=\"client\""), "{line}");
        assert!(line.contains(&format!("reason=\"{reason}\"")), "{line}");
        assert!(line.contains(from), "{line}");
    };
    check_blamed("connection-lost", "refused", &|unix| {
        unix.client("refused").send(b"x").unwrap();
    });
    check_blamed("connection-lost", "removed", &|unix| {
        unix.client("removed").send(b"x").unwrap();
        std::fs::remove_file(unix.path("removed")).unwrap();
    });
    check_blamed("no-address", "from (unnamed)", &|unix| {
        UnixDatagram::unbound().unwrap().send_to(b"x", unix.path("server")).unwrap();
    });
    assert_eq!(unix.ask("next", b"x"), b"ok");
}

fn getsockopt(level: i32, optname: i32) -> String {
    format!(
        "(call $host_getsockopt (global.get $request) (i32.const {level}) (i32.const {optname}) (i32.const 16))"
    )
}

fn setsockopt(level: i32, optname: i32, value: i32) -> String {
    format!(
        "(call $host_setsockopt (global.get $request) (i32.const {level}) (i32.const {optname}) (i32.const {value}) (i32.const 16))"
    )
}

#[test]
fn options_of_the_socket_of_datagrams_can_be_read_and_not_set() {
    let (sock_dgram, sol_socket, so_type) = (2, 1, 3);
    let read =
        format!("{} (call $tell (i32.load (i32.const 20)))", getsockopt(sol_socket, so_type));
    assert_eq!(word_from(&read), sock_dgram);
    // SO_PEERCRED, and an option that does not exist.
    for (level, optname) in [(1, 17), (-1, i32::MIN)] {
        let read = format!("{} (call $tell_error (i32.const 20))", getsockopt(level, optname));
        assert_eq!(word_from(&read), DENIED);
    }
    // SO_KEEPALIVE would concern all clients.
    let set = format!("{} (call $tell_error (i32.const 17))", setsockopt(1, 9, 1));
    assert_eq!(word_from(&set), NOT_SUPPORTED);
}

#[test]
fn some_options_of_a_connection_can_be_set() {
    let sends_error = "(call $sendall (i32.const 16) (i32.const 2))";
    let stream = |handle: &str| {
        let served = Fixture { handle, ..FIXTURE }.serve(&[]);
        (ask_stream(&served.server, b"x"), served)
    };
    // TCP_NODELAY, set and read.
    let set = format!(
        "{} {} (call $sendall (i32.const 20) (i32.const 4))",
        setsockopt(6, 1, 7),
        getsockopt(6, 1)
    );
    assert_eq!(stream(&set).0, 1_u32.to_le_bytes());
    // SO_REUSEADDR is the server's.
    let (answer, mut served) = stream(&format!("{} {sends_error}", setsockopt(1, 2, 0)));
    assert_eq!(answer, [1, u8::try_from(DENIED).unwrap()]);
    let line = served.server.wait_for_log("denied").unwrap();
    assert!(line.contains("setsockopt(1, 2): the option is not in the list"), "{line}");
    // A size of a buffer is lowered, and SO_LINGER has two numbers.
    let (answer, _) = stream(&format!("{} {sends_error}", setsockopt(1, 8, i32::MAX)));
    assert_eq!(answer[0], 0);
    let (answer, _) = stream(&format!("{} {sends_error}", setsockopt(1, 13, 1)));
    assert_eq!(answer, [1, u8::try_from(INVALID_ARGUMENT).unwrap()]);
}

#[test]
fn on_a_connection_sendto_ignores_the_address() {
    for address in ["0 127 0 0 1 1", "2 0", "2 1 0 65536"] {
        let handle = sendto(address);
        let served = Fixture { handle: &handle, ..FIXTURE }.serve(&[]);
        assert_eq!(ask_stream(&served.server, b"x"), b"it failed");
    }
}
