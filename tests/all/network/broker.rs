//! The broker, which opens sockets for handlers in the jail.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use socketserver_tests::process::{Server, send_signal, wait_until};
use socketserver_tests::procfs::children;

use super::{DENIED, Dialer, dialer, with};

/// The modes in which a broker opens the sockets.
const JAILED: [&[&str]; 2] =
    [&["--concurrency", "forking", "--jail", "require"], &["--workers", "1", "--jail", "require"]];

/// The answer of the handler to a command that it does not have.
const UNKNOWN: &str = "E there is no such command";

fn is_broker(pid: u32) -> bool {
    let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    command.split('\0').nth(1) == Some("broker")
}

/// Returns the process ID of the server's broker.
fn broker(server: &Server) -> Option<u32> {
    children(server.pid()).unwrap().into_iter().find(|pid| is_broker(*pid))
}

#[test]
fn the_broker_ends_with_its_server() {
    for mode in JAILED {
        for signal in ["TERM", "KILL"] {
            let mut server = dialer(&with(mode, &["--connect", "tcp://127.0.0.1:1"]));
            Dialer::connect(&server).expect(&[("socket inet stream", "ok")]);
            let broker = broker(&server).unwrap();
            server.signal(signal).unwrap();
            server.wait().unwrap();
            wait_until("the broker ends", || !Path::new(&format!("/proc/{broker}")).exists());
        }
    }
}

/// A terminal and a supervisor send signals to all processes of a server.
#[test]
fn the_broker_serves_the_last_requests_of_a_server_that_ends() {
    for mode in JAILED {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let grant = format!("tcp://{address}");
        let mut server = dialer(&with(mode, &["--connect", &grant]));
        let mut client = Dialer::connect(&server);
        client.expect(&[("lookup 127.0.0.1", "127.0.0.1:80")]);
        for signal in ["INT", "TERM", "HUP"] {
            send_signal(broker(&server).unwrap(), signal).unwrap();
        }
        server.signal("TERM").unwrap();
        client.expect(&[("socket inet stream", "ok"), (&format!("connect {address}"), "ok")]);
        drop(client);
        assert!(server.wait().unwrap().success());
    }
}

#[test]
fn without_its_broker_a_handler_opens_no_socket_and_is_served() {
    for mode in JAILED {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let grant = format!("tcp://{address}");
        let mut server = dialer(&with(mode, &["--connect", &grant, "--resolve", "localhost"]));
        let mut client = Dialer::connect(&server);
        client.expect(&[("socket inet stream", "ok"), (&format!("connect {address}"), "ok")]);
        send_signal(broker(&server).unwrap(), "KILL").unwrap();
        client.expect(&[
            // A connection lives on.
            ("send hello", "5"),
            ("socket inet stream", "E network is down"),
            ("lookup localhost", "E non-recoverable failure in name resolution"),
        ]);
        let mut other = Dialer::connect(&server);
        other.expect(&[
            ("socket inet stream", "E network is down"),
            ("socket unix stream", DENIED),
            ("lookup 127.0.0.1", "127.0.0.1:80"),
        ]);
        server.wait_for_log("the broker").unwrap();
        drop((client, other));
        assert!(server.stop().unwrap().success());
    }
}

#[test]
fn only_handlers_that_can_open_sockets_have_a_broker() {
    for mode in JAILED {
        let server = dialer(mode);
        assert_eq!(broker(&server), None);
        let mut command = crate::fixture::serve();
        command.args(with(mode, &["--connect", "tcp://127.0.0.1:1"]));
        let server = Server::start(&mut command, 1).unwrap();
        assert_eq!(broker(&server), None, "the sample opens no sockets");
    }
}

/// Returns how often the broker has slept.
fn sleeps_of_broker(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", broker(server).unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

#[test]
fn a_forked_request_that_opens_nothing_does_not_wake_the_broker() {
    let mode = JAILED[0];
    let server = dialer(&with(mode, &["--connect", "tcp://127.0.0.1:1"]));
    let opens_nothing = || Dialer::connect(&server).expect(&[("nothing", UNKNOWN)]);
    let opens_a_socket = || Dialer::connect(&server).expect(&[("socket inet stream", "ok")]);
    opens_a_socket();
    let before = sleeps_of_broker(&server);
    (0..20).for_each(|_| opens_nothing());
    assert_eq!(sleeps_of_broker(&server), before);
    opens_a_socket();
    wait_until("the broker sleeps again", || sleeps_of_broker(&server) > before);
    // The broker clears its queue, which has room for some hundred processes.
    (0..1000).for_each(|_| opens_nothing());
    assert!(sleeps_of_broker(&server) < before + 200);
    opens_a_socket();
}

/// Handlers open all that they can, and connect without end. Each has its budget, and a
/// bystander gets all that it asks for.
#[test]
fn handlers_that_flood_the_broker_delay_no_other() {
    for mode in JAILED {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let address = listener.local_addr().unwrap();
        let (granted, refused) = (format!("tcp://{address}"), format!("tcp://{closed}"));
        let options = ["--connect", &granted, "--connect", &refused, "--connects", "1000000"];
        let server = dialer(&with(mode, &options));
        let mut hostile: Vec<_> = (0..8).map(|_| Dialer::connect(&server)).collect();
        for one in &mut hostile {
            one.send(&format!("storm {closed}"));
        }
        for _ in 0..5 {
            let mut bystander = Dialer::connect(&server);
            bystander
                .expect(&[("socket inet stream", "ok"), (&format!("connect {address}"), "ok")]);
            listener.accept().unwrap();
        }
    }
}
