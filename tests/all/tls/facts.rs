//! The facts about TLS that a handler can ask for.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use rustls::pki_types::CertificateDer;
use socketserver_tests::build;
use socketserver_tests::process::{Server, wait_until};

use super::{Certificates, Client, JAILED, ask, secure};
use crate::counters::request_counters;
use crate::fixture::{MODES, serve};

/// The questions that the handler `calls` answers, a line each.
const QUESTIONS: &str = "version\ncipher\nalpn\npeercert\nhostname\n";

/// The languages that stand beside Rust.
const LANGUAGES: [&str; 5] = ["c", "cpp", "go", "javascript", "python"];

const NONE: &str = "ok None\nok None\nok None\nok None\nok None\n";

/// The facts about one connection.
struct Facts<'a> {
    version: &'a str,
    cipher: &'a str,
    alpn: &'a str,
    certificate: Option<&'a CertificateDer<'a>>,
    hostname: &'a str,
}

impl Facts<'_> {
    /// Returns the answers of the handler.
    fn answers(&self) -> String {
        let Facts { version, cipher, alpn, certificate, hostname } = self;
        let hex = |der: &&CertificateDer<'_>| {
            der.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
        };
        let certificate = certificate.as_ref().map_or("None".to_owned(), hex);
        format!("ok {version}\nok {cipher}\nok {alpn}\nok {certificate}\nok {hostname}\n")
    }
}

/// The facts about a client that offers what most do.
const USUAL: Facts<'_> = Facts {
    version: "TLSv1.3",
    cipher: "TLS_AES_256_GCM_SHA384 TLSv1.3 256",
    alpn: "None",
    certificate: None,
    hostname: "localhost",
};

fn answers(client: &mut Client) -> String {
    String::from_utf8(ask(client, QUESTIONS.as_bytes()).unwrap()).unwrap()
}

/// Returns certificates, of which `client` is one, and the options of a server that asks for it.
fn with_client_certificates() -> (Certificates, [String; 6]) {
    let certificates = Certificates::new();
    certificates.issue("client", "DNS:client.example");
    let ca = certificates.file("ca.pem");
    let options = ["--tls-client-ca", &ca, "--tls-client-auth", "request", "--tls-alpn", "first/1"];
    (certificates, options.map(str::to_owned))
}

#[test]
fn a_handler_can_ask_for_the_facts_in_each_way_of_running_requests() {
    let (certificates, options) = with_client_certificates();
    let own = certificates.read("client.pem");
    for mode in JAILED {
        let options: Vec<_> =
            options.iter().map(String::as_str).chain(mode.iter().copied()).collect();
        let server = certificates.serve("calls", &options);
        let mut config = certificates.client_config(Some("client"));
        config.alpn_protocols = vec![b"third/1".into(), b"first/1".into()];
        let mut client = secure(server.connect().unwrap(), "localhost", config);
        let expected = Facts { alpn: "first/1", certificate: own.first(), ..USUAL };
        assert_eq!(answers(&mut client), expected.answers(), "{mode:?}");
        // What one client said is not said of the next one.
        let mut client = certificates.connect(&server);
        assert_eq!(answers(&mut client), USUAL.answers(), "{mode:?}");
        // A client of an address sends no name.
        let config = certificates.client_config(None);
        let mut client = secure(server.connect().unwrap(), "127.0.0.1", config);
        assert_eq!(answers(&mut client), Facts { hostname: "None", ..USUAL }.answers(), "{mode:?}");
    }
}

#[test]
fn the_facts_are_the_same_in_every_language() {
    let (certificates, options) = with_client_certificates();
    let own = certificates.read("client.pem");
    for language in LANGUAGES {
        let mut command = serve();
        command.arg(build::guest(language, "calls").unwrap());
        command.args(certificates.options("server")).args(&options);
        let server = Server::start(&mut command, 1).unwrap();
        let mut config = certificates.client_config(Some("client"));
        config.alpn_protocols = vec![b"first/1".into()];
        let mut client = secure(server.connect().unwrap(), "localhost", config);
        let expected = Facts { alpn: "first/1", certificate: own.first(), ..USUAL };
        assert_eq!(answers(&mut client), expected.answers(), "{language}");
        let mut client = certificates.connect(&server);
        assert_eq!(answers(&mut client), USUAL.answers(), "{language}");
    }
}

#[test]
fn a_connection_without_tls_has_no_facts() {
    let with_modes = MODES.map(|mode| ("rust", mode));
    let with_languages = LANGUAGES.map(|language| (language, MODES[1]));
    for (language, mode) in with_modes.into_iter().chain(with_languages) {
        let mut command = serve();
        command.arg(build::guest(language, "calls").unwrap()).args(mode);
        let server = Server::start(&mut command, 1).unwrap();
        let mut client = server.connect().unwrap();
        client.write_all(QUESTIONS.as_bytes()).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(crate::client::read_to_end(&mut client), NONE.as_bytes(), "{language} {mode:?}");
    }
}

/// Its client ends TLS itself: the proxy passes the bytes on.
#[test]
fn the_facts_are_those_of_the_client_behind_a_proxy() {
    let (certificates, options) = with_client_certificates();
    let own = certificates.read("client.pem");
    let options: Vec<_> =
        options.iter().map(String::as_str).chain(["--proxy-from", "127.0.0.1"]).collect();
    let server = certificates.serve("calls", &options);
    let mut stream = server.connect().unwrap();
    stream.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.7 4711 443\r\n").unwrap();
    let mut client = secure(stream, "localhost", certificates.client_config(Some("client")));
    let expected = Facts { certificate: own.first(), ..USUAL };
    assert_eq!(answers(&mut client), expected.answers());
}

/// OpenSSL as a client knows a suite by the name that the handler learns.
#[test]
fn the_names_of_ciphers_are_those_of_openssl() {
    let certificates = Certificates::new();
    certificates.self_signed_rsa("rsa");
    let ca = certificates.file("ca.pem");
    certificates.issue("client", "DNS:client.example");
    let own = certificates.read("client.pem");
    for (name, suites) in [
        (
            "server",
            &[
                "TLS_AES_128_GCM_SHA256 TLSv1.3 128",
                "TLS_AES_256_GCM_SHA384 TLSv1.3 256",
                "TLS_CHACHA20_POLY1305_SHA256 TLSv1.3 256",
                "ECDHE-ECDSA-AES128-GCM-SHA256 TLSv1.2 128",
                "ECDHE-ECDSA-AES256-GCM-SHA384 TLSv1.2 256",
                "ECDHE-ECDSA-CHACHA20-POLY1305 TLSv1.2 256",
            ][..],
        ),
        (
            "rsa",
            &[
                "ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 128",
                "ECDHE-RSA-AES256-GCM-SHA384 TLSv1.2 256",
                "ECDHE-RSA-CHACHA20-POLY1305 TLSv1.2 256",
            ],
        ),
    ] {
        let mut command = serve();
        command.arg(build::guest("rust", "calls").unwrap()).args(certificates.options(name));
        command.args(["--tls-client-ca", &ca, "--tls-alpn", "first/1"]);
        let server = Server::start(&mut command, 1).unwrap();
        for cipher in suites {
            let (suite, rest) = cipher.split_once(' ').unwrap();
            let version = rest.split(' ').next().unwrap();
            let limits = if version == "TLSv1.3" {
                ["-tls1_3", "-ciphersuites"]
            } else {
                ["-tls1_2", "-cipher"]
            };
            let mut client = Command::new("openssl")
                .args(["s_client", "-connect", &server.address().to_string(), "-quiet"])
                .args(["-servername", "www.Example.ORG", "-alpn", "other/1,first/1"])
                .args(["-cert", &certificates.file("client.pem")])
                .args(["-key", &certificates.file("client.key")])
                .args(limits)
                .arg(suite)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            client.stdin.as_mut().unwrap().write_all(QUESTIONS.as_bytes()).unwrap();
            let lines = BufReader::new(client.stdout.take().unwrap()).lines().take(5);
            let told: String = lines.map(|line| line.unwrap() + "\n").collect();
            client.kill().unwrap();
            client.wait().unwrap();
            let certificate = own.first();
            let hostname = "www.example.org";
            let expected = Facts { version, cipher, alpn: "first/1", certificate, hostname };
            assert_eq!(told, expected.answers(), "{suite}");
        }
    }
}

/// A certificate fits into a message of the handshake, which has less than 64 KiB.
#[test]
fn a_long_certificate_reaches_the_handler_whole_and_a_longer_one_is_refused() {
    let certificates = Certificates::new();
    let names = |count| {
        let names: Vec<_> = (0..count).map(|it| format!("DNS:{it}.{}", "a".repeat(50))).collect();
        names.join(",")
    };
    certificates.issue("long", &names(900));
    certificates.issue("longer", &names(1300));
    let ca = certificates.file("ca.pem");
    let options = ["--tls-client-ca", &ca, "--log-format", "json"];
    let mut server = certificates.serve("calls", &options);
    let own = certificates.read("long.pem");
    assert!(own[0].len() > 48 << 10, "{}", own[0].len());
    let config = certificates.client_config(Some("long"));
    let mut client = secure(server.connect().unwrap(), "localhost", config);
    assert_eq!(answers(&mut client), Facts { certificate: own.first(), ..USUAL }.answers());
    assert!(certificates.read("longer.pem")[0].len() > 64 << 10);
    let files = ["longer.pem", "longer.key"].map(|name| certificates.file(name));
    let client = Command::new("openssl")
        .args(["s_client", "-connect", &server.address().to_string()])
        .args(["-quiet", "-cert", &files[0], "-key", &files[1]])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(client.stdout, b"");
    wait_until("the refusal is counted", || {
        let counters = request_counters(&mut server);
        counters["requests"]["failed"]["handshake"] == 1 && counters["instances"] == 1
    });
}
