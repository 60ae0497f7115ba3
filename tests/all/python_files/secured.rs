//! Files of handlers whose connections have TLS.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use socketserver_tests::process::Server;

use super::{TCP, ask, file, here};
use crate::tls::{Certificates, secure};

/// Plain bytes that the host has already make the connection ready, and so do records that come
/// in parts.
#[test]
fn select_knows_the_plain_bytes_of_a_connection_with_tls() {
    let certificates = Certificates::new();
    let tls = certificates.options("server");
    let options: Vec<_> = TCP.into_iter().chain(tls.iter().map(String::as_str)).collect();
    let server = here("waits.py", &options);
    let stream = server.connect().unwrap();
    stream.set_nodelay(true).unwrap();
    let mut client = secure(stream, "localhost", certificates.client_config(None));
    client.write_all(b"abc").unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"11a 11b 11c ");
    let mut record = Vec::new();
    client.conn.writer().write_all(b"d").unwrap();
    client.conn.write_tls(&mut record).unwrap();
    for byte in record {
        client.sock.write_all(&[byte]).unwrap();
    }
    client.conn.send_close_notify();
    client.flush().unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "11d ");
}

/// Sends lines, and returns a line more than that.
fn lines(server: &Server, config: ClientConfig, sent: &str) -> Vec<String> {
    let mut client = secure(server.connect().unwrap(), "localhost", config);
    client.write_all(sent.as_bytes()).unwrap();
    let count = 1 + sent.lines().count();
    BufReader::new(client).lines().take(count).map(|line| line.unwrap()).collect()
}

#[test]
fn a_file_asks_for_the_facts_about_tls_as_in_cpython() {
    let certificates = Certificates::new();
    certificates.issue("client", "DNS:client.example");
    let [certificate, key, ca] =
        ["server.pem", "server.key", "ca.pem"].map(|name| certificates.file(name));
    let mut cpython = Command::new("python3");
    cpython.arg(file("launch.py")).arg(file("certified.py"));
    cpython.env("TLS", [&certificate[..], &key, &ca].join(":"));
    let cpython = Server::start_logging_to(Stdio::null(), &mut cpython, 1).unwrap();
    let tls = ["--tls-cert", &certificate, "--tls-key", &key, "--tls-alpn", "first/1"];
    let clients = ["--tls-client-ca", &ca, "--tls-client-auth", "request"];
    let here_with_tls = here("certified.py", &[&TCP[..], &tls, &clients].concat());
    for own in [None, Some("client")] {
        for (version, alpn) in [(&TLS12, None), (&TLS13, None), (&TLS13, Some("first/1"))] {
            let config = || {
                let mut config = certificates.client_config_of(&[version], own);
                config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().into()).collect();
                config
            };
            let sent = if own.is_none() { "parsed\n" } else { "" };
            let expected = lines(&cpython, config(), sent);
            assert!(expected[0].starts_with("('TLSv1."), "{expected:?}");
            assert_eq!(lines(&here_with_tls, config(), sent), expected, "{version:?} {alpn:?}");
        }
    }
    let answer = &lines(&here_with_tls, certificates.client_config(Some("client")), "parsed\n")[1];
    assert!(answer.contains("getpeercert(binary_form=True) returns"), "{answer}");
    drop(here_with_tls);
    let without = here("certified.py", &TCP);
    assert_eq!(ask(&without, b"parsed\n"), "(None, None, None) None\nNone\n");
}
