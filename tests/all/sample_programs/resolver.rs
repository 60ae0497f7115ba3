//! The sample `resolver`: what `dig` says about it, and clients that send anything.

mod rubbish;

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::process::Command;

use socketserver_tests::build;
use socketserver_tests::process::{Server, TIMEOUT};

use crate::fixture::{MODES, serve};

use rubbish::rubbish;

const A: u16 = 1;
const SOA: u16 = 6;
const TXT: u16 = 16;
const AXFR: u16 = 252;
const ANY: u16 = 255;

const NOERROR: u16 = 0;
const FORMERR: u16 = 1;
const NXDOMAIN: u16 = 3;
const NOTIMP: u16 = 4;
const REFUSED: u16 = 5;

/// Serves the sample over TCP and UDP.
fn resolver(options: &[&str]) -> Server {
    let mut command = serve();
    command.arg(build::guest("rust", "resolver").unwrap());
    command.args(["--bind", "udp://127.0.0.1:0"]).args(options);
    Server::start(&mut command, 2).unwrap()
}

fn client(server: &Server) -> UdpSocket {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(TIMEOUT)).unwrap();
    client.connect(server.endpoints()[1].strip_prefix("udp://").unwrap()).unwrap();
    client
}

/// Returns a header with these flags and counts.
fn header(flags: u16, counts: [u16; 4]) -> Vec<u8> {
    [7, flags].into_iter().chain(counts).flat_map(u16::to_be_bytes).collect()
}

fn question(name: &str, kind: u16, class: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(label.len().try_into().unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend(class.to_be_bytes());
    bytes
}

/// Returns a query in the class IN, which asks for recursion.
fn query(name: &str, kind: u16) -> Vec<u8> {
    [header(0x0100, [1, 0, 0, 0]), question(name, kind, 1)].concat()
}

/// Returns a query with a record of EDNS, with this size of datagrams and this version.
fn with_edns(name: &str, kind: u16, size: u16, version: u8) -> Vec<u8> {
    let mut bytes = [header(0x0100, [1, 0, 0, 1]), question(name, kind, 1)].concat();
    bytes.extend([0, 0, 41]);
    bytes.extend(size.to_be_bytes());
    bytes.extend([0, version, 0, 0, 0, 0]);
    bytes
}

/// An answer: its flags, its code, and the numbers of its records.
#[derive(Debug, PartialEq)]
struct Answer {
    length: usize,
    is_authoritative: bool,
    is_truncated: bool,
    code: u16,
    counts: [u16; 4],
}

impl Answer {
    fn parse(bytes: &[u8]) -> Answer {
        let word = |place: usize| u16::from_be_bytes([bytes[2 * place], bytes[2 * place + 1]]);
        let flags = word(1);
        assert_eq!(word(0), 7, "the number of the query");
        assert_eq!(flags & 0x8000, 0x8000, "it is an answer");
        assert_eq!(flags & 0x0080, 0, "there is no recursion");
        Answer {
            length: bytes.len(),
            is_authoritative: flags & 0x0400 != 0,
            is_truncated: flags & 0x0200 != 0,
            code: flags & 15,
            counts: [2, 3, 4, 5].map(word),
        }
    }
}

fn ask(client: &UdpSocket, query: &[u8]) -> Answer {
    client.send(query).unwrap();
    let mut bytes = vec![0; 65_536];
    let length = client.recv(&mut bytes).unwrap();
    Answer::parse(&bytes[..length])
}

fn over_tcp(stream: &mut TcpStream, query: &[u8]) -> Answer {
    stream.write_all(&u16::try_from(query.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(query).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer).unwrap();
    Answer::parse(&answer)
}

#[test]
fn dig_accepts_the_resolver() {
    if let Err(error) = Command::new("dig").arg("-v").output() {
        println!("skipped: cannot run dig, of the package dnsutils: {error}");
        return;
    }
    let tcp = serve_at_one_port();
    let port = tcp.address().port().to_string();
    let dig = |arguments: &[&str]| {
        let mut dig = Command::new("dig");
        dig.args(["-r", "@127.0.0.1", "-p", &port, "+noall", "+comments", "+answer", "+authority"]);
        let output = dig.args(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{arguments:?}: {text}");
        assert!(!text.contains("WARNING: Message"), "{arguments:?}: {text}");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let www = "www.example.test.";
    for (arguments, expected) in [
        (
            &[www, "A"][..],
            &["www.example.test. 3600 IN A 192.0.2.80", "IN A 192.0.2.81", "NOERROR", " qr aa rd"]
                [..],
        ),
        (&["WwW.eXaMpLe.TeSt", "AAAA"], &["www.example.test. 3600 IN AAAA 2001:db8::80"]),
        (
            &["alias.example.test"],
            &["alias.example.test. 3600 IN CNAME www.example.test.", "A 192.0.2.81"],
        ),
        (&["alias.example.test", "CNAME"], &["ANSWER: 1,", "IN CNAME www.example.test."]),
        (&["alias.example.test", "TXT"], &["ANSWER: 1, AUTHORITY: 1", "IN SOA", "NOERROR"]),
        (&["broken.example.test"], &["NXDOMAIN", "IN CNAME none.example.test.", "IN SOA"]),
        (&["away.example.test"], &["NOERROR", "IN CNAME www.example.com.", "AUTHORITY: 0"]),
        (&["example.test", "MX"], &["IN MX 10 mail.example.test."]),
        (&["example.test", "NS"], &["IN NS ns.example.test."]),
        (&["example.test", "TXT"], &["IN TXT \"v=spf1 mx -all\""]),
        (
            &["example.test", "SOA"],
            &["300 IN SOA ns.example.test. admin.example.test. 2026112701 7200 3600 1209600 300"],
        ),
        (&["example.test", "ANY"], &["ANSWER: 1,", "IN SOA"]),
        (&[www, "TXT"], &["NOERROR", "ANSWER: 0, AUTHORITY: 1", "300 IN SOA ns.example.test."]),
        (&[www, "TYPE65280"], &["NOERROR", "ANSWER: 0, AUTHORITY: 1"]),
        (&["deep.example.test"], &["NOERROR", "ANSWER: 0, AUTHORITY: 1"]),
        (&["nothing.example.test"], &["NXDOMAIN", "300 IN SOA ns.example.test."]),
        (&["www.example.com"], &["REFUSED", "ANSWER: 0, AUTHORITY: 0", " qr rd"]),
        (&["."], &["REFUSED"]),
        (&["notexample.test"], &["REFUSED"]),
        (&["-c", "CH", "version.bind", "TXT"], &["REFUSED"]),
        (&["+noedns", www], &["ADDITIONAL: 0"]),
        (&[www], &["EDNS: version: 0, flags:; udp: 1232", "ADDITIONAL: 1"]),
        (&["+edns=1", "+noednsnegotiation", www], &["BADVERS", "ANSWER: 0"]),
        (&["+opcode=status", www], &["NOTIMP"]),
        (&["+tcp", www], &["IN A 192.0.2.80", "IN A 192.0.2.81"]),
        (&["+noedns", "+ignore", "long.example.test", "TXT"], &[" qr aa tc rd", "ANSWER: 0"]),
        // The client asks again over TCP.
        (&["+noedns", "long.example.test", "TXT"], &["ANSWER: 7,", "Truncated, retrying in TCP"]),
        (&["long.example.test", "TXT"], &["ANSWER: 7,", "\"seven of seven"]),
        (&["+keepopen", "+tcp", www, "mail.example.test"], &["A 192.0.2.80", "A 192.0.2.25"]),
    ] {
        let text = dig(arguments);
        for part in expected {
            assert!(text.contains(part), "{arguments:?}: {part}: {text}");
        }
    }
}

/// Serves the sample over TCP and UDP at the same port.
fn serve_at_one_port() -> Server {
    loop {
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = crate::fixture::host();
        command.arg("serve").arg(build::guest("rust", "resolver").unwrap());
        for scheme in ["tcp", "udp"] {
            command.args(["--bind", &format!("{scheme}://127.0.0.1:{port}")]);
        }
        // Another program may have taken the port.
        match Server::start(&mut command, 2) {
            Ok(server) => return server,
            Err(error) => println!("{error:#}"),
        }
    }
}

#[test]
fn its_client_prints_addresses() {
    let server = resolver(&[]);
    let port = server.endpoints()[1].rsplit(':').next().unwrap();
    let script = build::root().join("guests/resolver/client.py");
    for (name, printed) in [
        ("www.example.test", "192.0.2.80\n192.0.2.81\n"),
        ("alias.example.test", "an alias\n192.0.2.80\n192.0.2.81\n"),
        ("nothing.example.test", ""),
    ] {
        let Ok(output) = Command::new("python3").arg(&script).args([port, name]).output() else {
            println!("skipped: there is no python3");
            return;
        };
        assert_eq!(String::from_utf8_lossy(&output.stdout), printed);
        assert_eq!(output.status.success(), !printed.is_empty());
    }
}

#[test]
fn answers_fit_into_what_the_client_can_receive() {
    for mode in MODES {
        let server = resolver(mode);
        let client = client(&server);
        let truncated = |answer: &Answer| answer.is_truncated && answer.counts[1] == 0;
        for size in [0, 511, 512, 513, 600] {
            let answer = ask(&client, &with_edns("long.example.test", TXT, size, 0));
            assert!(truncated(&answer) && answer.length <= 512.max(size.into()), "{answer:?}");
            assert_eq!(answer.counts[3], 1, "EDNS");
        }
        for size in [1232, 4096, 65_535] {
            let answer = ask(&client, &with_edns("long.example.test", TXT, size, 0));
            assert!(!answer.is_truncated && answer.length <= 1232, "{answer:?}");
            assert_eq!(answer.counts, [1, 7, 0, 1]);
        }
        let answer = ask(&client, &query("long.example.test", TXT));
        assert!(truncated(&answer), "{answer:?}");
        assert_eq!(answer.counts, [1, 0, 0, 0]);
        let mut stream = server.connect().unwrap();
        for _ in 0..3 {
            let answer = over_tcp(&mut stream, &query("long.example.test", TXT));
            assert_eq!((answer.is_truncated, answer.counts[1]), (false, 7));
        }
    }
}

#[test]
fn rubbish_gets_an_error_or_no_answer_and_the_next_client_its_answer() {
    for mode in MODES {
        let mut server = resolver(&[mode, &["--max-packet-size", "65535"]].concat());
        let client = client(&server);
        for (name, datagram, code) in rubbish() {
            client.send(&datagram).unwrap();
            // Datagrams may be answered in another order: one at a time.
            if let Some(code) = code {
                let mut bytes = vec![0; 65_536];
                let length = client.recv(&mut bytes).unwrap();
                let answer = Answer::parse(&bytes[..length]);
                assert_eq!(answer.code, code, "{mode:?} {name}: {answer:?}");
                assert!(answer.length <= 512, "{name}: {answer:?}");
                assert_eq!(answer.is_authoritative, [NOERROR, NXDOMAIN].contains(&code), "{name}");
            }
        }
        assert_eq!(ask(&client, &query("www.example.test", A)).counts, [1, 2, 0, 0]);
        // What must not be answered has not been.
        assert!(server.stop().unwrap().success());
        client.set_nonblocking(true).unwrap();
        assert!(client.recv(&mut [0; 100]).is_err(), "{mode:?}");
        let failed = server.log().iter().find(|line| line.contains("Exception"));
        assert_eq!(failed, None, "{mode:?}");
    }
}

/// The same over TCP, where the client may also announce more than it sends.
#[test]
fn rubbish_over_tcp_ends_its_connection_only() {
    for mode in MODES {
        let mut server = resolver(mode);
        for (name, datagram, code) in rubbish() {
            let mut stream = server.connect().unwrap();
            if let Some(code) = code {
                assert_eq!(over_tcp(&mut stream, &datagram).code, code, "{mode:?} {name}");
                assert_eq!(over_tcp(&mut stream, &query("www.example.test", A)).counts[1], 2);
            } else {
                let length = u16::try_from(datagram.len()).unwrap();
                stream.write_all(&[&length.to_be_bytes()[..], &datagram].concat()).unwrap();
                assert_eq!(crate::client::read_to_end(&mut stream), b"", "{name}");
            }
        }
        for announced in [&b"\xff"[..], b"\xff\xff", b"\xff\xffshort", b"\0\x0c"] {
            assert_eq!(crate::client::ask(&server, announced).get(4), None);
        }
        assert!(server.stop().unwrap().success());
        let failed = server.log().iter().find(|line| line.contains("Exception"));
        assert_eq!(failed, None, "{mode:?}");
    }
}
