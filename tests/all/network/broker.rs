//! The broker, which opens sockets for handlers in the jail.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use socketserver_tests::process::{Server, send_signal, wait_until};
use socketserver_tests::procfs::children;

use super::{DENIED, Dialer, dialer, with};
use crate::fixture::host;

/// The modes in which a broker opens the sockets.
const JAILED: [&[&str]; 2] =
    [&["--concurrency", "forking", "--jail", "require"], &["--workers", "1", "--jail", "require"]];

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

#[test]
fn a_forked_process_for_a_datagram_has_no_broker() {
    let said = host()
        .args(["serve", "--concurrency", "forking", "--bind", "udp://127.0.0.1:0"])
        .args(["--bind", "tcp://127.0.0.1:0", "--connect", "tcp://127.0.0.1:1"])
        .arg(socketserver_tests::build::guest("rust", "dialer").unwrap())
        .output()
        .unwrap();
    assert_eq!(said.status.code(), Some(1));
    let said = String::from_utf8_lossy(&said.stderr);
    assert!(said.contains("a forked process for a datagram opens no sockets"), "{said}");
}
