//! Other implementations of TLS as clients: OpenSSL's program, curl and Python's `ssl`.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use socketserver_tests::build;
use socketserver_tests::process::Server;

use super::{Certificates, JAILED};
use crate::fixture::serve;

/// Sends `hello`, and reads to the end.
const PYTHON: &str = r#"
import socket, ssl, sys
host, port, ca, version = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
context = ssl.create_default_context(cafile=ca)
context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
with context.wrap_socket(socket.create_connection((host, port)), server_hostname="localhost",
                         suppress_ragged_eofs=False) as client:
    client.sendall(b"hello")
    answer = b""
    while part := client.recv(100):
        answer += part
    print(client.version(), answer.decode())
    client.unwrap().close()
"#;

#[test]
fn pythons_ssl_is_served_in_each_way_of_running_requests() {
    let certificates = Certificates::new();
    for mode in JAILED {
        let server = certificates.serve("upper", mode);
        let address = server.address();
        for (version, name) in [("TLSv1_2", "TLSv1.2"), ("TLSv1_3", "TLSv1.3")] {
            let output = Command::new("python3")
                .args(["-c", PYTHON, &address.ip().to_string(), &address.port().to_string()])
                .args([&certificates.file("ca.pem"), version])
                .output()
                .unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            let answer = String::from_utf8_lossy(&output.stdout);
            assert_eq!(answer, format!("{name} HELLO\n"), "{mode:?}: {errors}");
            assert!(output.status.success(), "{mode:?}: {errors}");
        }
    }
}

/// Does the handshake, and prints the number of segments with data that came (`tcpi_data_segs_in`).
const COUNTING: &str = r#"
import socket, ssl, struct, sys
host, port, ca = sys.argv[1], int(sys.argv[2]), sys.argv[3]
context = ssl.create_default_context(cafile=ca)
with context.wrap_socket(socket.create_connection((host, port)), server_hostname="localhost") as client:
    print(*struct.unpack_from("I", client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 200), 152))
"#;

#[test]
fn a_client_waits_for_one_segment_only() {
    let certificates = Certificates::new();
    for mode in JAILED {
        let server = certificates.serve("upper", mode);
        let address = server.address();
        let output = Command::new("python3")
            .args(["-c", COUNTING, &address.ip().to_string(), &address.port().to_string()])
            .arg(certificates.file("ca.pem"))
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "1\n", "{mode:?}: {errors}");
    }
}

#[test]
fn openssl_is_served() {
    let certificates = Certificates::new();
    for mode in JAILED {
        let server = certificates.serve("upper", mode);
        let mut client = Command::new("openssl")
            .args(["s_client", "-connect", &server.address().to_string(), "-ign_eof"])
            .args(["-CAfile", &certificates.file("ca.pem"), "-verify_return_error"])
            .args(["-servername", "localhost", "-verify_hostname", "localhost"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        client.stdin.take().unwrap().write_all(b"hello\n").unwrap();
        let output = client.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("Verification: OK") && text.contains("HELLO"), "{mode:?}: {text}");
        assert!(text.ends_with("closed\n"), "{mode:?}: {text}");
    }
}

#[test]
fn curl_gets_a_file_over_https() {
    let certificates = Certificates::new();
    let site = tempfile::tempdir().unwrap();
    let content = "0123456789".repeat(300_000);
    fs::write(site.path().join("large.txt"), &content).unwrap();
    for mode in JAILED {
        let mut command = serve();
        command.arg(build::guest("rust", "http-static").unwrap()).args(mode);
        command.args(["--dir", &format!("{}::/srv:ro", site.path().display())]);
        let options =
            [certificates.options("server"), vec!["--tls-alpn".into(), "http/1.1".into()]];
        let server = Server::start(command.args(options.concat()), 1).unwrap();
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--fail", "--max-time", "60", "--cacert"])
            .arg(certificates.path("ca.pem"))
            .arg(format!("https://{}/large.txt", server.address()))
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{mode:?}: {errors}");
        assert!(output.stdout == content.as_bytes(), "{mode:?}: {} bytes", output.stdout.len());
    }
}
