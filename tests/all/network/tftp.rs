//! The sample `tftp`.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use socketserver_tests::build;
use socketserver_tests::process::{Server, TIMEOUT};
use tempfile::TempDir;

use super::MODES;
use crate::fixture::host;

/// The grant of all clients of these tests.
const CLIENTS: &[&str] = &["--connect", "udp://127.0.0.1:*"];

/// A server of a directory `boot`.
struct Boot {
    server: Server,
    directory: TempDir,
}

impl Boot {
    fn new(options: &[&str]) -> Boot {
        let directory = tempfile::tempdir().unwrap();
        let boot = directory.path().join("boot");
        fs::create_dir_all(boot.join("folder")).unwrap();
        fs::write(directory.path().join("secret"), "secret").unwrap();
        fs::write(boot.join("hello"), "hello, world").unwrap();
        fs::write(boot.join("lines"), "one\ntwo\rthree\r\n").unwrap();
        fs::write(boot.join("folder/in it"), "in it").unwrap();
        std::os::unix::fs::symlink("../secret", boot.join("link")).unwrap();
        let mut command = host();
        command.arg("serve").arg(build::guest("rust", "tftp").unwrap()).args(options);
        command.args(["--bind", "udp://127.0.0.1:0"]);
        command.args(["--dir", &format!("{}::/srv:ro", boot.display())]);
        Boot { server: Server::start(&mut command, 1).unwrap(), directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("boot").join(name)
    }

    fn address(&self) -> SocketAddr {
        self.server.endpoints()[0].strip_prefix("udp://").unwrap().parse().unwrap()
    }

    /// Sends a request from a new socket.
    fn ask(&self, request: &[u8]) -> Client {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        socket.send_to(request, self.address()).unwrap();
        Client { socket, transfer: None }
    }

    fn read(&self, name: &str, mode: &str, options: &[&str]) -> Client {
        let mut words = vec![name, mode];
        words.extend(options);
        self.ask(&[b"\0\x01", words.join("\0").as_bytes(), b"\0"].concat())
    }
}

/// A client, and the address of its transfer, once that is known.
struct Client {
    socket: UdpSocket,
    transfer: Option<SocketAddr>,
}

impl Client {
    fn receive(&mut self) -> Vec<u8> {
        let mut packet = vec![0; 70_000];
        // The kernel ends a call with a timeout when the process was stopped meanwhile, signal(7).
        let (length, from) = loop {
            match self.socket.recv_from(&mut packet) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                received => break received.unwrap(),
            }
        };
        assert_eq!(*self.transfer.get_or_insert(from), from, "the transfer has one port");
        packet.truncate(length);
        packet
    }

    fn send(&self, packet: &[u8]) {
        self.socket.send_to(packet, self.transfer.unwrap()).unwrap();
    }

    fn acknowledge(&self, number: u16) {
        self.send(&[&[0, 4], &number.to_be_bytes()[..]].concat());
    }

    /// Receives the block with this number.
    fn block(&mut self, number: u16) -> Vec<u8> {
        let packet = self.receive();
        let header = [&[0, 3], &number.to_be_bytes()[..]].concat();
        assert_eq!(packet[..4], header, "{:?}", packet.escape_ascii().to_string());
        packet[4..].to_vec()
    }

    /// Receives the block with this number, after repeats of the one before. A busy machine makes
    /// the server wait for an acknowledgement for a second, after which it repeats a block: there are
    /// no more repeats than seconds.
    fn block_after_repeats(&mut self, number: u16, begun: Instant, repeats: &mut u64) -> Vec<u8> {
        loop {
            let packet = self.receive();
            if packet[..4] == [&[0, 3], &number.to_be_bytes()[..]].concat() {
                return packet[4..].to_vec();
            }
            assert_eq!(packet[..4], [&[0, 3], &(number - 1).to_be_bytes()[..]].concat());
            *repeats += 1;
            assert!(*repeats <= begun.elapsed().as_secs(), "{repeats} repeats");
        }
    }

    /// Receives all blocks of this size.
    fn rest(&mut self, size: usize) -> Vec<u8> {
        let mut content = Vec::new();
        let mut number = 0_u16;
        loop {
            number = number.wrapping_add(1);
            let block = self.block(number);
            self.acknowledge(number);
            content.extend_from_slice(&block);
            if block.len() < size {
                return content;
            }
            assert_eq!(block.len(), size);
        }
    }

    /// Receives an error, and returns its number.
    fn error(&mut self) -> u8 {
        let packet = self.receive();
        assert!(packet.starts_with(b"\0\x05\0") && packet.ends_with(b"\0"), "{packet:?}");
        packet[3]
    }

    /// Receives the options that the server accepts, and acknowledges them.
    fn options(&mut self) -> String {
        let packet = self.receive();
        assert!(packet.starts_with(b"\0\x06") && packet.ends_with(b"\0"), "{packet:?}");
        self.acknowledge(0);
        String::from_utf8(packet[2..packet.len() - 1].to_vec()).unwrap().replace('\0', " ")
    }
}

fn data(length: usize) -> Vec<u8> {
    (0..=250_u8).cycle().take(length).collect()
}

/// Checks that no request of the server failed.
fn none_failed(boot: &mut Boot) {
    assert!(boot.server.stop().unwrap().success());
    assert!(!boot.server.log().iter().any(|line| line.contains("Exception")));
}

#[test]
fn tftp_sends_files_of_each_length_from_a_port_of_each_transfer() {
    for mode in MODES {
        let mut boot = Boot::new(&[mode, CLIENTS].concat());
        for length in [0, 1, 511, 512, 513, 1024, 100_000] {
            fs::write(boot.path("file"), data(length)).unwrap();
            let mut client = boot.read("file", "octet", &[]);
            assert!(client.rest(512) == data(length), "{length} {mode:?}");
            assert_ne!(client.transfer, Some(boot.address()));
        }
        // Names and modes have no case; a slash at the beginning is the directory.
        assert_eq!(boot.read("/folder/in it", "OcTeT", &[]).rest(512), b"in it");
        let text = boot.read("lines", "netascii", &[]).rest(512);
        assert_eq!(text, b"one\r\ntwo\r\0three\r\0\r\n");
        // A line may end in the next block.
        let mut client = boot.read("lines", "netascii", &["blksize", "8"]);
        assert_eq!(client.options(), "blksize 8");
        assert_eq!(client.rest(8), text);
        none_failed(&mut boot);
    }
}

/// One request waits for its client, and another is served, if requests run beside each other.
#[test]
fn tftp_transfers_at_the_same_time() {
    for mode in [MODES[1], MODES[2], MODES[4]] {
        let mut boot = Boot::new(&[mode, CLIENTS].concat());
        fs::write(boot.path("file"), data(2000)).unwrap();
        let mut clients: Vec<_> = (0..5).map(|_| boot.read("file", "octet", &[])).collect();
        for number in 1..=4 {
            for client in clients.iter_mut().rev() {
                let place = usize::from(number - 1) * 512;
                assert!(client.block(number) == data(2000)[place..(place + 512).min(2000)]);
            }
            for client in &clients {
                client.acknowledge(number);
            }
        }
        none_failed(&mut boot);
    }
}

#[test]
fn tftp_accepts_the_options_that_it_knows() {
    let mut boot = Boot::new(CLIENTS);
    fs::write(boot.path("file"), data(200_000)).unwrap();
    for (options, accepted, size) in [
        (&["blksize", "1428"][..], "blksize 1428", 1428),
        (&["BLKSIZE", "8", "tsize", "0"], "blksize 8 tsize 200000", 8),
        (
            &["tsize", "0", "timeout", "3", "blksize", "16384"],
            "tsize 200000 timeout 3 blksize 16384",
            16_384,
        ),
        (&["blksize", "65464"], "blksize 65464", 65_464),
        // The largest size of a block that fits into a datagram.
        (&["blksize", "65465"], "blksize 65464", 65_464),
        (&["blksize", "4294967296"], "blksize 65464", 65_464),
        // What it does not know or accept is left out.
        (&["windowsize", "4", "timeout", "200", "tsize", "0"], "tsize 200000", 512),
    ] {
        let mut client = boot.read("file", "octet", options);
        assert_eq!(client.options(), accepted);
        assert!(client.rest(size) == data(200_000), "{options:?}");
    }
    // Without an option that it accepts the first packet is data.
    for options in [
        &["blksize", "7"][..],
        &["blksize", "99999999999999999999999"],
        &["blksize", "-1"],
        &["blksize"],
        &["timeout", "0", "multicast", "", "", ""],
    ] {
        assert_eq!(boot.read("hello", "octet", options).rest(512), b"hello, world", "{options:?}");
    }
    let mut client = boot.read("lines", "netascii", &["tsize", "0"]);
    assert_eq!(client.rest(512).len(), 19);
    // A client that wanted to know the length only.
    let mut client = boot.read("file", "octet", &["tsize", "0"]);
    client.receive();
    client.send(b"\0\x05\0\x08refused\0");
    none_failed(&mut boot);
}

#[test]
fn tftp_refuses_what_it_does_not_have_or_do() {
    let boot = Boot::new(CLIENTS);
    for (name, error) in [
        ("none", 1),
        ("folder/none", 1),
        ("hello/none", 1),
        ("folder", 2),
        ("", 2),
        ("../secret", 2),
        ("folder/../../secret", 2),
        ("folder/../hello", 2),
        ("/../secret", 2),
        ("link", 2),
    ] {
        assert_eq!(boot.read(name, "octet", &[]).error(), error, "{name}");
    }
    let long = "a".repeat(600);
    for (request, error) in [
        (&b"\0\x02new\0octet\0"[..], 2),
        (b"\0\x01hello\0mail\0", 4),
        (b"\0\x01hello\0", 4),
        (b"\0\x01hello", 4),
        (b"\0\x01hello\0octet", 4),
        (b"\0\x01\xff\xfe\0octet\0", 4),
        (b"\0\x01", 4),
        (b"\0\x03\0\x01data", 4),
        (b"\0\x04\0\0", 4),
        (b"\0\x06tsize\x000\0", 4),
        (b"\xff\xff", 4),
        (b"\0", 4),
        (b"", 4),
        (format!("\0\x01{long}\0octet\0").as_bytes(), 4),
    ] {
        assert_eq!(boot.ask(request).error(), error, "{}", request.escape_ascii());
    }
    assert!(!boot.path("new").exists());
    // An error is not answered: what comes first is the answer to the second datagram.
    let mut client = boot.ask(b"\0\x05\0\x01no\0");
    client.socket.send_to(b"\0\x02new\0octet\0", boot.address()).unwrap();
    assert_eq!(client.error(), 2);
}

#[test]
fn tftp_repeats_what_is_not_acknowledged_and_gives_up() {
    let mut boot = Boot::new(CLIENTS);
    fs::write(boot.path("file"), data(1200)).unwrap();
    let begun = Instant::now();
    let mut client = boot.read("file", "octet", &[]);
    let first = client.block(1);
    // The first is lost. The acknowledgement comes twice, and so does an older one.
    assert_eq!(client.block(1), first);
    let mut repeats = 1;
    client.acknowledge(1);
    client.acknowledge(1);
    client.acknowledge(0);
    client.send(b"\0\x04");
    assert_eq!(client.block_after_repeats(2, begun, &mut repeats), &data(1200)[512..1024]);
    client.acknowledge(2);
    assert_eq!(client.block_after_repeats(3, begun, &mut repeats), &data(1200)[1024..]);
    client.acknowledge(3);
    // Nothing is answered: each packet is sent five times.
    let mut silent = boot.read("file", "octet", &["timeout", "1"]);
    for _ in 0..5 {
        assert_eq!(silent.receive(), b"\0\x06timeout\x001\0");
    }
    let line = boot.server.wait_for_log("Exception occurred").unwrap();
    assert!(line.contains("the client does not answer"), "{line}");
    silent.socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert!(silent.socket.recv(&mut [0; 10]).is_err());
}

/// Another client that writes to the port of a transfer gets an error, and the transfer goes on.
#[test]
fn tftp_tells_a_stranger_that_the_port_is_not_for_it() {
    let mut boot = Boot::new(CLIENTS);
    fs::write(boot.path("file"), data(1200)).unwrap();
    let mut client = boot.read("file", "octet", &[]);
    client.block(1);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut stranger = Client { socket, transfer: client.transfer };
    for _ in 0..20 {
        stranger.acknowledge(1);
        assert_eq!(stranger.error(), 5);
    }
    // An error of a stranger ends nothing.
    stranger.send(b"\0\x05\0\0\0");
    // So does one whose address is not granted, who gets no answer.
    let other = UdpSocket::bind("127.0.0.2:0").unwrap();
    other.send_to(b"\0\x04\0\x01", client.transfer.unwrap()).unwrap();
    client.acknowledge(1);
    // What came before the acknowledgement may have taken longer than a second.
    let mut second = client.receive();
    while second.starts_with(b"\0\x03\0\x01") {
        second = client.receive();
    }
    assert_eq!(second[..4], *b"\0\x03\0\x02");
    client.acknowledge(2);
    assert_eq!(client.block(3), &data(1200)[1024..]);
    client.acknowledge(3);
    none_failed(&mut boot);
}

/// Blocks have numbers of 16 bits. After the last number comes 0, as common clients expect.
#[test]
fn tftp_sends_more_blocks_than_there_are_numbers() {
    let boot = Boot::new(CLIENTS);
    let content = data(8 * 65_540 + 3);
    fs::write(boot.path("file"), &content).unwrap();
    let mut client = boot.read("file", "octet", &["blksize", "8"]);
    assert_eq!(client.options(), "blksize 8");
    assert!(client.rest(8) == content);
}

#[test]
fn tftp_sends_to_granted_clients_only() {
    let mut boot = Boot::new(&["--connect", "udp://127.0.0.2:*"]);
    let _client = boot.read("hello", "octet", &[]);
    let line = boot.server.wait_for_log("would permit it").unwrap();
    assert!(line.contains("--connect udp://127.0.0.1:"), "{line}");
    let socket = UdpSocket::bind("127.0.0.2:0").unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    socket.send_to(b"\0\x01hello\0octet\0", boot.address()).unwrap();
    let mut granted = Client { socket, transfer: None };
    assert_eq!(granted.rest(512), b"hello, world");
}

/// Adds the arguments of a client that gets the file with a name.
type Arguments<'a> = &'a dyn Fn(&mut Command, &str);

/// The clients that people have, each with a small file, a large one, and one that is missing.
#[test]
fn tftp_clients_accept_it() {
    for mode in MODES {
        let mut boot = Boot::new(&[mode, CLIENTS].concat());
        let large = data(3 << 20);
        fs::write(boot.path("large"), &large).unwrap();
        let port = boot.address().port().to_string();
        let python = build::root().join("guests/tftp/client.py");
        let copy = boot.directory.path().join("copy");
        // Each writes to `copy` or to standard output.
        let clients: [(&str, Arguments); 5] = [
            ("python3", &|command, name| {
                command.arg(&python).args([&port, name]);
            }),
            ("curl", &|command, name| {
                command.args(["--silent", "--max-time", "60"]);
                command.arg(format!("tftp://127.0.0.1:{port}/{name}"));
            }),
            ("curl", &|command, name| {
                command.args(["--silent", "--max-time", "60", "--tftp-blksize", "1428"]);
                command.arg(format!("tftp://127.0.0.1:{port}/{name}"));
            }),
            // tftp-hpa.
            ("tftp", &|command, name| {
                command.args(["-m", "binary", "127.0.0.1", &port, "-c", "get", name]).arg(&copy);
            }),
            ("atftp", &|command, name| {
                command.args(["--option", "blksize 8192", "--option", "tsize 0", "--get"]);
                command.args(["--remote-file", name, "--local-file"]).arg(&copy);
                command.args(["127.0.0.1", &port]);
            }),
        ];
        for (program, arguments) in clients {
            for (name, content) in [("hello", &b"hello, world"[..]), ("large", &large)] {
                let _ = fs::remove_file(&copy);
                let mut command = Command::new(program);
                arguments(&mut command, name);
                let Ok(output) = command.output() else {
                    println!("skipped: there is no {program}");
                    break;
                };
                let errors = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{command:?}: {errors}");
                let received = fs::read(&copy).unwrap_or(output.stdout);
                assert!(received == content, "{command:?}: {} bytes {errors}", received.len());
            }
            let mut command = Command::new(program);
            arguments(&mut command, "none");
            // tftp-hpa has the status 0 here.
            if let Ok(output) = command.output() {
                let text = [&output.stdout[..], &output.stderr].concat();
                let told = String::from_utf8_lossy(&text).to_lowercase().contains("file not found");
                assert!(told || output.status.code() == Some(68), "{command:?} {output:?}");
            }
        }
        none_failed(&mut boot);
    }
}
