//! The matrix of CPython's `test_socketserver.py`, with components: each transport in each mode
//! of concurrency, with three clients each.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;

use socketserver_tests::build;
use socketserver_tests::load::Target;
use socketserver_tests::process::{Server, TIMEOUT};
use tempfile::TempDir;

use crate::fixture::host;

/// The options that choose the mode, and the scheme of the endpoint.
const CASES: [(&[&str], &str); 16] = [
    (&["--server", "TCPServer"], "tcp"),
    (&["--server", "UDPServer"], "udp"),
    (&["--server", "UnixStreamServer"], "unix"),
    (&["--server", "UnixDatagramServer"], "unixgram"),
    (&["--server", "ThreadingTCPServer"], "tcp"),
    (&["--server", "ThreadingUDPServer"], "udp"),
    (&["--server", "ThreadingUnixStreamServer"], "unix"),
    (&["--server", "ThreadingUnixDatagramServer"], "unixgram"),
    (&["--server", "ForkingTCPServer"], "tcp"),
    (&["--server", "ForkingUDPServer"], "udp"),
    (&["--server", "ForkingUnixStreamServer"], "unix"),
    (&["--server", "ForkingUnixDatagramServer"], "unixgram"),
    (&["--workers", "2"], "tcp"),
    (&["--workers", "2"], "udp"),
    (&["--workers", "2"], "unix"),
    (&["--workers", "2"], "unixgram"),
];

#[test]
fn every_transport_under_every_way_of_concurrency() {
    for (options, scheme) in CASES {
        let directory = tempfile::tempdir().unwrap();
        let mut server = serve(options, scheme, &directory);
        let target = Target::parse(&server.endpoints()[0]).unwrap();
        for _ in 0..3 {
            match &target {
                Target::Tcp(address) => {
                    let stream = TcpStream::connect(address).unwrap();
                    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
                    stream_examine(&stream, &stream);
                }
                Target::Unix(path) => {
                    let stream = UnixStream::connect(path).unwrap();
                    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
                    stream_examine(&stream, &stream);
                }
                Target::Udp(address) => {
                    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
                    socket.connect(address).unwrap();
                    dgram_examine(|data| socket.send(data), |data| socket.recv(data));
                }
                Target::Unixgram(path) => unixgram_examine(path, directory.path()),
            }
        }
        assert!(server.stop().unwrap().success(), "{options:?} {scheme}");
        let log = server.log().join("\n");
        assert!(!log.contains("ERROR") && !log.contains("WARN"), "{options:?} {scheme}: {log}");
    }
}

fn serve(options: &[&str], scheme: &str, directory: &TempDir) -> Server {
    let address = match scheme {
        "tcp" | "udp" => "127.0.0.1:0".to_owned(),
        _ => directory.path().join("server").display().to_string(),
    };
    let sample = if scheme == "tcp" || scheme == "unix" { "line" } else { "decho" };
    let mut command = host();
    command.arg("serve").arg(build::guest("rust", sample).unwrap()).args(options);
    command.args(["--bind", &format!("{scheme}://{address}")]);
    Server::start(&mut command, 1).unwrap()
}

fn stream_examine(mut writer: impl Write, reader: impl std::io::Read) {
    writer.write_all(b"hello world\n").unwrap();
    let mut answer = String::new();
    BufReader::new(reader).read_line(&mut answer).unwrap();
    assert_eq!(answer, "hello world\n");
}

fn dgram_examine(
    send: impl Fn(&[u8]) -> std::io::Result<usize>,
    recv: impl Fn(&mut [u8]) -> std::io::Result<usize>,
) {
    send(b"hello world\n").unwrap();
    let mut answer = [0; 100];
    let count = recv(&mut answer).unwrap();
    assert_eq!(&answer[..count], b"hello world\n");
}

fn unixgram_examine(server: &Path, directory: &Path) {
    let own = directory.join("client");
    let socket = UnixDatagram::bind(&own).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    socket.connect(server).unwrap();
    dgram_examine(|data| socket.send(data), |data| socket.recv(data));
    std::fs::remove_file(own).unwrap();
}
