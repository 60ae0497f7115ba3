//! The sample `proxy`.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::thread;

use socketserver_tests::build;
use socketserver_tests::process::Server;

use super::MODES;
use crate::client::{ask, echo, read_to_end};
use crate::fixture::serve;

fn proxy(options: &[&str]) -> Server {
    let mut command = serve();
    command.arg(build::guest("rust", "proxy").unwrap()).args(options);
    Server::start(&mut command, 1).unwrap()
}

#[test]
fn it_forwards_both_directions_at_once_and_their_ends() {
    let upstream = echo(&[]);
    let grant = format!("tcp://{}", upstream.address());
    for mode in MODES {
        let server = proxy(&[mode, &["--connect", &grant]].concat());
        // More than all buffers hold: it stops unless both directions go on.
        let data: Vec<u8> = (0..16_u32 << 20).map(|place| (place % 251) as u8).collect();
        let mut client = server.connect().unwrap();
        client.write_all(format!("{}\n", upstream.address()).as_bytes()).unwrap();
        let mut sender = client.try_clone().unwrap();
        let sent = data.clone();
        let sender = thread::spawn(move || {
            sender.write_all(&sent).unwrap();
            sender.shutdown(Shutdown::Write).unwrap();
        });
        let received = read_to_end(&mut client);
        sender.join().unwrap();
        assert!(received == data, "{} bytes of {}", received.len(), data.len());
    }
}

/// The upstream writes while the client is silent: neither waits for the other.
#[test]
fn the_upstream_may_speak_first() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = upstream.local_addr().unwrap();
    let server = proxy(&["--connect", &format!("tcp://{address}")]);
    let mut client = server.connect().unwrap();
    client.write_all(format!("{address}\n").as_bytes()).unwrap();
    let (mut connection, _) = upstream.accept().unwrap();
    connection.write_all(b"220 hello").unwrap();
    let mut received = [0; 9];
    client.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"220 hello");
    client.write_all(b"QUIT").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut connection), b"QUIT");
    drop(connection);
    assert_eq!(read_to_end(&mut client), b"");
}

#[test]
fn it_forwards_to_granted_addresses_only() {
    let (upstream, beside) = (echo(&[]), echo(&[]));
    let mut server = proxy(&["--connect", &format!("tcp://{}", upstream.address())]);
    let ask_for = |server: &Server, to: String| ask(server, format!("{to}\nhello").as_bytes());
    assert_eq!(ask_for(&server, upstream.address().to_string()), b"hello");
    assert_eq!(ask_for(&server, beside.address().to_string()), b"");
    let line = server.wait_for_log("denied").unwrap();
    assert!(line.contains(&format!("--connect tcp://{} would", beside.address())), "{line}");
}
