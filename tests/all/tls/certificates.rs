//! Certificates of the server and of clients, and files that are wrong.

use std::fs;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use socketserver_tests::build;
use socketserver_tests::process::{Server, wait_until};

use super::{Certificates, ask, secure};
use crate::counters::request_counters;
use crate::fixture::{MODES, host, serve};

/// Returns the name in the certificate that a client of `name` gets.
fn certificate_for(certificates: &Certificates, server: &Server, name: &str) -> Option<usize> {
    let config = certificates.client_config(None);
    let mut client = secure(server.connect().unwrap(), name, config);
    ask(&mut client, b"hello").ok()?;
    let chain = client.conn.peer_certificates()?;
    ["server", "other", "wild"]
        .iter()
        .position(|file| certificates.read(&format!("{file}.pem")) == chain)
}

#[test]
fn a_client_gets_the_certificate_of_the_name_that_it_asks_for() {
    let certificates = Certificates::new();
    certificates.issue("other", "DNS:other.example");
    certificates.issue("wild", "DNS:*.example.org");
    let options: Vec<_> =
        ["other", "wild"].iter().flat_map(|it| certificates.options(it)).collect();
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    let server = certificates.serve("upper", &options);
    for (name, which) in [("localhost", 0), ("other.example", 1), ("www.example.org", 2)] {
        assert_eq!(certificate_for(&certificates, &server, name), Some(which), "{name}");
    }
    // A client without a name, and one whose name nothing is for, get the first.
    assert_eq!(certificate_for(&certificates, &server, "127.0.0.1"), Some(0));
    assert_eq!(certificate_for(&certificates, &server, "unknown.example"), None);
}

#[test]
fn clients_need_a_right_certificate_where_one_is_required() {
    let certificates = Certificates::new();
    certificates.issue("client", "DNS:client.example");
    certificates.issue_expired("late");
    let strange = Certificates::new();
    let ca = certificates.file("ca.pem");
    for mode in MODES {
        for (auth, without) in [("require", false), ("request", true)] {
            let options = ["--tls-client-ca", &ca, "--tls-client-auth", auth];
            let options = [&options[..], &["--log-format", "json"], mode].concat();
            let mut server = certificates.serve("upper", &options);
            let ask_with = |config| {
                let mut client = secure(server.connect().unwrap(), "localhost", config);
                ask(&mut client, b"hello").is_ok_and(|answer| answer == b"HELLO")
            };
            assert!(ask_with(certificates.client_config(Some("client"))), "{mode:?}");
            assert_eq!(ask_with(certificates.client_config(None)), without, "{mode:?} {auth}");
            assert!(!ask_with(certificates.client_config(Some("late"))), "{mode:?} {auth}");
            // That certificate is of another issuer with the same name.
            fs::copy(certificates.path("ca.pem"), strange.path("ca.pem")).unwrap();
            assert!(!ask_with(strange.client_config(Some("server"))), "{mode:?} {auth}");
            let instances = if without { 2 } else { 1 };
            wait_until("each refusal is counted, and costs no instance", || {
                let counters = request_counters(&mut server);
                counters["instances"] == instances
                    && counters["requests"]["failed"]["handshake"] == 4 - instances
            });
        }
    }
}

#[test]
fn a_protocol_and_a_version_are_agreed_upon() {
    let certificates = Certificates::new();
    let options = ["--tls-alpn", "second/1", "--tls-alpn", "first/1", "--tls-min-version", "1.3"];
    let server = certificates.serve("upper", &options);
    for (offered, agreed) in [
        (&["first/1", "second/1"][..], Some(Some("second/1"))),
        (&["first/1", "third/1"], Some(Some("first/1"))),
        (&["third/1"], None),
        (&[], Some(None)),
    ] {
        let mut config = certificates.client_config(None);
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let mut client = secure(server.connect().unwrap(), "localhost", config);
        let answer = ask(&mut client, b"hello");
        assert_eq!(answer.is_ok(), agreed.is_some(), "{offered:?}: {answer:?}");
        let agreed = agreed.flatten().map(str::as_bytes);
        assert_eq!(client.conn.alpn_protocol(), agreed, "{offered:?}");
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS12]).unwrap();
    let old = builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let mut client = secure(server.connect().unwrap(), "localhost", old);
    let error = ask(&mut client, b"hello").unwrap_err().to_string();
    assert!(error.contains("ProtocolVersion"), "{error}");
}

/// Returns the error of a server that does not start.
fn error(options: &[&str]) -> String {
    let mut command = serve();
    command.arg(build::guest("rust", "upper").unwrap()).args(options);
    format!("{:#}", Server::start(&mut command, 1).err().unwrap())
}

#[test]
fn a_server_with_wrong_files_does_not_start_and_names_the_file() {
    let certificates = Certificates::new();
    certificates.issue("other", "DNS:other.example");
    fs::write(certificates.path("empty.pem"), "").unwrap();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fs::write(certificates.path("broken.pem"), broken).unwrap();
    fs::write(certificates.path("large.pem"), vec![b'\n'; 2 << 20]).unwrap();
    let [server, key] = ["server.pem", "server.key"].map(|name| certificates.file(name));
    let wrong = |name: &str| certificates.file(name);
    for (certificate, key, name, why) in [
        (wrong("none.pem"), key.clone(), "none.pem", "No such file"),
        (wrong("empty.pem"), key.clone(), "empty.pem", "has no certificate"),
        (wrong("server.key"), key.clone(), "server.key", "has no certificate"),
        (wrong("broken.pem"), key.clone(), "broken.pem", "are wrong"),
        (wrong("large.pem"), key.clone(), "large.pem", "has more than 1048576 bytes"),
        (server.clone(), wrong("none.key"), "none.key", "No such file"),
        (server.clone(), wrong("server.pem"), "server.pem", "has no private key"),
        (server.clone(), wrong("other.key"), "other.key", "is not that of the certificate in"),
    ] {
        let said = error(&["--tls-cert", &certificate, "--tls-key", &key]);
        assert!(said.contains(why) && said.contains(name), "{name}: {said}");
    }
    let options = ["--tls-cert", &server, "--tls-key", &key];
    let said = error(&[&options[..], &["--tls-client-ca", &wrong("broken.pem")]].concat());
    assert!(said.contains("broken.pem"), "{said}");
}

#[test]
fn options_that_contradict_each_other_are_errors() {
    let certificates = Certificates::new();
    let [server, key] = ["server.pem", "server.key"].map(|name| certificates.file(name));
    let tls = ["--tls-cert", &server, "--tls-key", &key];
    for (options, why) in [
        (&["--tls-cert", &server][..], "1 --tls-cert and 0 --tls-key"),
        (&["--tls-alpn", "h2"], "--tls-cert and --tls-key"),
        (&[&tls[..], &["--tls-client-auth", "request"]].concat(), "--tls-client-ca"),
        (&[&tls[..], &["--tls-handshake-timeout", "0s"]].concat(), "at least 1ms"),
        (&[&tls[..], &["--tls-min-version", "1.1"]].concat(), "1.2"),
        (&[&tls[..], &["--tls-alpn", ""]].concat(), "1 to 255 bytes"),
    ] {
        let said = error(options);
        assert!(said.contains(why), "{options:?}: {said}");
    }
    let mut command = host();
    command.arg("serve").arg(build::guest("rust", "dupper").unwrap()).args(tls);
    let said = Server::start(command.args(["--bind", "udp://127.0.0.1:0"]), 1).err().unwrap();
    let said = format!("{said:#}");
    assert!(said.contains("udp://127.0.0.1:0 is for datagrams"), "{said}");
}
