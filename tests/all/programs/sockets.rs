//! Programs and the kinds of sockets: variables about the request, and datagrams.

use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};

use socketserver_tests::build;
use socketserver_tests::process::{Server, TIMEOUT};

use crate::client::{ask, read_to_end};
use crate::fixture::{MODES, host};
use crate::programs::{LANGUAGES, stop_without_failure, talk};

/// Serves the program in C at an endpoint.
fn talk_at(endpoint: &str, options: &[&str], arguments: &[&str]) -> Server {
    let mut command = host();
    command.arg("serve").arg(build::guest("c", "talk").unwrap()).args(["--bind", endpoint]);
    Server::start(command.args(options).arg("--").args(arguments), 1).unwrap()
}

/// Returns the port of the server's only socket.
fn udp_port(server: &Server) -> u16 {
    server.endpoints()[0].rsplit(':').next().unwrap().parse().unwrap()
}

fn udp_client(server: &Server) -> UdpSocket {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(TIMEOUT)).unwrap();
    client.connect(("127.0.0.1", udp_port(server))).unwrap();
    client
}

fn answer(client: &UdpSocket) -> Vec<u8> {
    let mut answer = vec![0; 70_000];
    let length = client.recv(&mut answer).unwrap();
    answer.truncate(length);
    answer
}

#[test]
fn the_environment_has_the_variables_of_tcpserver_and_systemd() {
    for language in LANGUAGES {
        for mode in MODES {
            // A granted variable takes the place of none about the request.
            let granted = ["--env", "A=b", "--env", "PROTO=X"];
            let server = talk(language, &[mode, &granted[..]].concat(), &["env"]);
            let mut stream = server.connect().unwrap();
            let (local, remote) = (server.address().port(), stream.local_addr().unwrap().port());
            let expected = format!(
                "PROTO=TCP\nTCPLOCALIP=127.0.0.1\nTCPLOCALPORT={local}\nTCPREMOTEIP=127.0.0.1\n\
                 TCPREMOTEPORT={remote}\nREMOTE_ADDR=127.0.0.1\nREMOTE_PORT={remote}\nA=b\n"
            );
            let said = String::from_utf8(read_to_end(&mut stream)).unwrap();
            assert_eq!(said, expected, "{language} {mode:?}");
        }
    }
}

#[test]
fn ipv6_has_a_protocol_of_its_own_and_a_mapped_address_has_not() {
    let server = talk_at("tcp://[::]:0", &[], &["env"]);
    let port = server.address().port();
    for (host, protocol, ip) in [("::1", "TCP6", "::1"), ("127.0.0.1", "TCP", "127.0.0.1")] {
        let mut stream = TcpStream::connect((host, port)).unwrap();
        let said = String::from_utf8(read_to_end(&mut stream)).unwrap();
        let begin = format!("PROTO={protocol}\nTCPLOCALIP={ip}\nTCPLOCALPORT={port}\n");
        assert!(said.starts_with(&begin), "{said}");
        assert!(said.contains(&format!("TCPREMOTEIP={ip}\n")), "{said}");
    }
}

#[test]
fn the_environment_names_the_user_of_a_unix_client() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let user = rustix::process::getuid().as_raw();
    for mode in MODES {
        let (remove, endpoint) =
            (["--remove-stale-socket", "true"], format!("unix://{}", path.display()));
        let _server = talk_at(&endpoint, &[mode, &remove[..]].concat(), &["env"]);
        let mut stream = UnixStream::connect(&path).unwrap();
        let mut said = String::new();
        std::io::Read::read_to_string(&mut stream, &mut said).unwrap();
        let begin = format!("PROTO=UNIX\nUNIXLOCALPATH={}\n", path.display());
        assert!(said.starts_with(&begin), "{said}");
        assert!(said.contains(&format!("UNIXREMOTEUID={user}\n")), "{said}");
        assert!(!said.contains("REMOTE_ADDR"), "{said}");
    }
}

#[test]
fn a_datagram_is_the_input_and_the_output_is_the_answer() {
    for mode in MODES {
        let server = talk_at("udp://127.0.0.1:0", mode, &["upper"]);
        let client = udp_client(&server);
        // An empty datagram has no answer: the program writes nothing.
        client.send(b"").unwrap();
        for data in ["hello", "a\nb\n"] {
            client.send(data.as_bytes()).unwrap();
            assert_eq!(answer(&client), data.to_uppercase().as_bytes(), "{mode:?}");
        }
        stop_without_failure(server);
    }
}

#[test]
fn the_environment_of_a_datagram_has_the_address_that_it_was_sent_to() {
    let server = talk_at("udp://0.0.0.0:0", &[], &["env"]);
    let client = udp_client(&server);
    client.send(b"x").unwrap();
    let (local, remote) = (udp_port(&server), client.local_addr().unwrap().port());
    let expected = format!(
        "PROTO=UDP\nUDPLOCALIP=127.0.0.1\nUDPLOCALPORT={local}\nUDPREMOTEIP=127.0.0.1\n\
         UDPREMOTEPORT={remote}\nREMOTE_ADDR=127.0.0.1\nREMOTE_PORT={remote}\n"
    );
    assert_eq!(String::from_utf8(answer(&client)).unwrap(), expected);
}

/// Such a socket has no address of its own.
#[test]
fn on_a_wildcard_address_the_environment_has_the_address_that_the_client_asked_for() {
    for mode in MODES {
        for wildcard in ["0.0.0.0", "[::]"] {
            let server = talk_at(&format!("tcp://{wildcard}:0"), mode, &["env"]);
            let port = server.address().port();
            for local in ["127.0.0.1", "127.0.0.2"] {
                let mut stream = TcpStream::connect((local, port)).unwrap();
                let said = String::from_utf8(read_to_end(&mut stream)).unwrap();
                let begin = format!("PROTO=TCP\nTCPLOCALIP={local}\nTCPLOCALPORT={port}\n");
                assert!(said.starts_with(&begin), "{mode:?} {wildcard}: {said}");
            }
        }
        let server = talk_at("udp://0.0.0.0:0", mode, &["env"]);
        for local in ["127.0.0.1", "127.0.0.2"] {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.set_read_timeout(Some(TIMEOUT)).unwrap();
            client.connect((local, udp_port(&server))).unwrap();
            client.send(b"x").unwrap();
            let said = String::from_utf8(answer(&client)).unwrap();
            assert!(said.starts_with(&format!("PROTO=UDP\nUDPLOCALIP={local}\n")), "{said}");
        }
    }
}

#[test]
fn unix_datagrams_are_answered_to_a_socket_with_a_name() {
    let directory = tempfile::tempdir().unwrap();
    let (path, own) = (directory.path().join("socket"), directory.path().join("client"));
    let mut server = talk_at(&format!("unixgram://{}", path.display()), &[], &["env"]);
    let client = UnixDatagram::bind(&own).unwrap();
    client.set_read_timeout(Some(TIMEOUT)).unwrap();
    client.send_to(b"x", &path).unwrap();
    let mut said = [0; 4096];
    let length = client.recv(&mut said).unwrap();
    let said = String::from_utf8_lossy(&said[..length]).into_owned();
    assert!(said.contains(&format!("REMOTE_ADDR={}\n", own.display())), "{said}");
    // The answer to a socket without a name cannot be sent.
    UnixDatagram::unbound().unwrap().send_to(b"x", &path).unwrap();
    let line = server.wait_for_log("Exception occurred").unwrap();
    assert!(line.contains("reason=\"no-address\""), "{line}");
}

#[test]
fn an_answer_is_no_longer_than_a_datagram_can_be() {
    let longest = talk_at("udp://127.0.0.1:0", &[], &["answer", "65507"]);
    let client = udp_client(&longest);
    client.send(b"x").unwrap();
    assert_eq!(answer(&client), vec![b'a'; 65_507]);
    let mut server = talk_at("udp://127.0.0.1:0", &[], &["answer", "65508"]);
    udp_client(&server).send(b"x").unwrap();
    let line = server.wait_for_log("Exception occurred").unwrap();
    assert!(line.contains("it wrote more than 65507 bytes, the longest datagram"), "{line}");
    assert!(line.contains("blame=\"guest\" reason=\"call\""), "{line}");
}

#[test]
fn a_program_serves_connections_and_datagrams_in_one_server() {
    let mut command = host();
    command.arg("serve").arg(build::guest("c", "talk").unwrap());
    command.args(["--bind", "tcp://127.0.0.1:0", "--bind", "udp://127.0.0.1:0"]);
    let server = Server::start(command.args(["--", "upper"]), 2).unwrap();
    assert_eq!(ask(&server, b"both"), b"BOTH");
}
