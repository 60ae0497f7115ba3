//! Addresses with TLS beside others that have none.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use socketserver_tests::build;
use socketserver_tests::process::{Server, TIMEOUT};

use super::{Certificates, JAILED, ask, secure};
use crate::client::read_to_end;
use crate::configuration::Folder;
use crate::fixture::{MODES, host, serve};
use crate::systemd::{Service, sample};

/// Asks a server with TLS.
fn with_tls(address: SocketAddr, certificates: &Certificates) -> Vec<u8> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    ask(&mut secure(stream, "localhost", certificates.client_config(None)), b"hello").unwrap()
}

/// Asks a server without TLS.
fn plain(address: SocketAddr) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all(b"hello").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    read_to_end(&mut stream)
}

/// Asks a server with TLS at a Unix socket.
fn at_path(path: &Path, certificates: &Certificates) -> [u8; 5] {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let config = Arc::new(certificates.client_config(None));
    let name = "localhost".try_into().unwrap();
    let mut session = rustls::ClientConnection::new(config, name).unwrap();
    let mut client = rustls::Stream::new(&mut session, &mut stream);
    client.write_all(b"hello").unwrap();
    let mut answer = [0; 5];
    client.read_exact(&mut answer).unwrap();
    answer
}

/// Returns the answer of OpenSSL's client, which is told what to connect to.
fn openssl(to: &[&str], certificates: &Certificates) -> String {
    let mut client = Command::new("openssl")
        .args(["s_client", "-ign_eof", "-servername", "localhost", "-verify_return_error"])
        .args(["-CAfile", &certificates.file("ca.pem")])
        .args(to)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // A client whose handshake has failed has ended.
    let _ = client.stdin.take().unwrap().write_all(b"hello\n");
    String::from_utf8_lossy(&client.wait_with_output().unwrap().stdout).into_owned()
}

#[test]
fn addresses_with_tls_stand_beside_plain_ones() {
    let certificates = Certificates::new();
    for (number, mode) in JAILED.into_iter().enumerate() {
        let path = certificates.path(&format!("socket{number}"));
        let mut command = host();
        command.arg("serve").arg(build::guest("rust", "upper").unwrap()).args(mode);
        command.args(certificates.options("server"));
        command.args(["--bind", "tls://127.0.0.1:0", "--bind", "tcp://127.0.0.1:0"]);
        command.args(["--bind", &format!("tls+unix://{}", path.display())]);
        let server = Server::start(&mut command, 3).unwrap();
        for (endpoint, scheme) in server.endpoints().iter().zip(["tls", "tcp", "tls+unix"]) {
            assert!(endpoint.starts_with(&format!("{scheme}://")), "{endpoint}");
        }
        let [secured, open] = server.addresses() else { panic!("{:?}", server.addresses()) };
        assert_eq!(with_tls(*secured, &certificates), b"HELLO", "{mode:?}");
        assert_eq!(plain(*open), b"HELLO", "{mode:?}");
        assert_eq!(&at_path(&path, &certificates), b"HELLO", "{mode:?}");
        let said = openssl(&["-connect", &secured.to_string()], &certificates);
        assert!(said.contains("Verification: OK") && said.contains("HELLO"), "{mode:?}: {said}");
        let said = openssl(&["-unix", path.to_str().unwrap()], &certificates);
        assert!(said.contains("Verification: OK") && said.contains("HELLO"), "{mode:?}: {said}");
        // Each protocol at the other address.
        let said = openssl(&["-connect", &open.to_string()], &certificates);
        assert!(said.contains("no peer certificate available"), "{mode:?}: {said}");
        assert!(!plain(*secured).starts_with(b"HELLO"), "{mode:?}");
    }
}

#[test]
fn curl_gets_the_same_file_with_tls_and_without() {
    let (certificates, site) = (Certificates::new(), tempfile::tempdir().unwrap());
    let content = "line\n".repeat(100_000);
    fs::write(site.path().join("large.txt"), &content).unwrap();
    for mode in [MODES[1], MODES[2]] {
        let mut command = host();
        command.arg("serve").arg(build::guest("rust", "http-static").unwrap()).args(mode);
        command.args(["--dir", &format!("{}::/srv:ro", site.path().display())]);
        command.args(["--bind", "tcp://127.0.0.1:0", "--bind", "tls://127.0.0.1:0"]);
        let server = Server::start(command.args(certificates.options("server")), 2).unwrap();
        let both = server.addresses().iter().zip(["http", "https"]);
        let files = both.flat_map(|(address, scheme)| {
            let file = certificates.file(&format!("{scheme}.txt"));
            ["-o".to_owned(), file, format!("{scheme}://{address}/large.txt")]
        });
        // Both at the same time.
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--fail", "--max-time", "60", "--parallel"])
            .arg("--cacert")
            .arg(certificates.path("ca.pem"))
            .args(files)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{mode:?}: {errors}");
        for scheme in ["http", "https"] {
            let file = certificates.path(&format!("{scheme}.txt"));
            assert!(fs::read_to_string(&file).unwrap() == content, "{mode:?} {scheme}");
            fs::remove_file(file).unwrap();
        }
    }
}

#[test]
fn a_header_of_a_proxy_comes_before_tls_and_before_plain_bytes() {
    let certificates = Certificates::new();
    for mode in MODES {
        let mut command = host();
        command.arg("serve").arg(build::guest("rust", "whoami").unwrap()).args(mode);
        command.args(certificates.options("server")).args(["--proxy-from", "127.0.0.1"]);
        command.args(["--bind", "tls://127.0.0.1:0", "--bind", "tcp://127.0.0.1:0"]);
        let server = Server::start(&mut command, 2).unwrap();
        let proxied = |at: usize| {
            let mut stream = TcpStream::connect(server.addresses()[at]).unwrap();
            stream.set_read_timeout(Some(TIMEOUT)).unwrap();
            stream.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 80\r\n").unwrap();
            stream
        };
        let mut client = secure(proxied(0), "localhost", certificates.client_config(None));
        let with_tls = ask(&mut client, b"").unwrap();
        let mut stream = proxied(1);
        stream.shutdown(Shutdown::Write).unwrap();
        for answer in [with_tls, read_to_end(&mut stream)] {
            let text = String::from_utf8_lossy(&answer);
            assert!(text.contains("client_address=192.0.2.7 4711"), "{mode:?}: {text}");
        }
    }
}

#[test]
fn sockets_of_systemd_have_tls_where_the_option_says_so() {
    let certificates = Certificates::new();
    let path = certificates.path("socket");
    let [secured, open] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = [&secured, &open].map(|it| it.local_addr().unwrap());
    let unix = UnixListener::bind(&path).unwrap();
    let sockets = [("web", secured.into()), ("plain", open.into()), ("local", unix.into())];
    let tls = certificates.options("server");
    let binds = ["--bind", "tls+systemd://web", "--bind", "systemd://plain"];
    let options = [&binds[..], &["--bind", "tls+systemd://"]].concat();
    let options: Vec<_> = options.into_iter().chain(tls.iter().map(String::as_str)).collect();
    let arguments = sample("upper", &options);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let server = Service::new(&sockets, &arguments).start(3);
    assert_eq!(with_tls(addresses[0], &certificates), b"HELLO");
    assert_eq!(plain(addresses[1]), b"HELLO");
    assert_eq!(&at_path(&path, &certificates), b"HELLO");
    drop(server);
    // A socket for datagrams.
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let options = ["--bind", "tls+systemd://web"];
    let options: Vec<_> = options.into_iter().chain(tls.iter().map(String::as_str)).collect();
    let arguments = sample("both", &options);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let (code, errors) = Service::new(&[("web", udp.into())], &arguments).fail();
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("TLS is for connections, and udp://127.0.0.1:"), "{errors}");
}

/// The ready line says so.
#[test]
fn without_such_an_address_all_have_tls() {
    let certificates = Certificates::new();
    let mut command = host();
    command.arg("serve").arg(build::guest("rust", "upper").unwrap());
    command.args(certificates.options("server"));
    command.args(["--bind", "tcp://127.0.0.1:0", "--bind", "tcp://127.0.0.1:0"]);
    let server = Server::start(&mut command, 2).unwrap();
    assert!(
        server.endpoints().iter().all(|it| it.starts_with("tls://")),
        "{:?}",
        server.endpoints()
    );
    for address in server.addresses() {
        assert_eq!(with_tls(*address, &certificates), b"HELLO");
    }
}

/// Runs a command line that fails, and returns what it printed.
fn fail(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    assert!(!status.success(), "{said}");
    said
}

#[test]
fn an_address_with_tls_needs_a_certificate_and_connections() {
    let certificates = Certificates::new();
    let tls = certificates.options("server");
    let tls: Vec<_> = tls.iter().map(String::as_str).collect();
    let with = |options: &[&'static str]| {
        tls.iter().copied().chain(options.iter().copied()).map(str::to_owned).collect::<Vec<_>>()
    };
    let without = |options: &[&str]| options.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    for (handler, options, why) in [
        (
            "upper",
            without(&["--bind", "tls://127.0.0.1:0"]),
            "tls://127.0.0.1:0 needs a certificate: --tls-cert and --tls-key",
        ),
        (
            "upper",
            without(&["--bind", "tls+systemd://web"]),
            "tls+systemd://web needs a certificate: --tls-cert and --tls-key",
        ),
        (
            "dupper",
            with(&["--bind", "tls+udp://127.0.0.1:0"]),
            "TLS is for connections: write tls:",
        ),
        ("dupper", with(&["--bind", "tls://127.0.0.1:0"]), "cannot serve tls://127.0.0.1:0: "),
        (
            "dupper",
            with(&["--bind", "udp://127.0.0.1:0"]),
            "udp://127.0.0.1:0 is for datagrams: name the addresses that have TLS",
        ),
        (
            "upper",
            with(&["--metrics", "tls://127.0.0.1:0"]),
            "write tcp://HOST:PORT or unix://PATH",
        ),
    ] {
        let mut command = host();
        command.arg("serve").arg(build::guest("rust", handler).unwrap()).args(&options);
        let said = fail(&mut command);
        assert!(said.contains(why), "{options:?}: {said}");
    }
}

/// A handler of both kinds has TLS for its connections, beside datagrams.
#[test]
fn datagrams_are_served_beside_an_address_with_tls() {
    let certificates = Certificates::new();
    let mut command = host();
    command.arg("serve").arg(build::guest("rust", "both").unwrap());
    command.args(certificates.options("server"));
    command.args(["--bind", "tls://127.0.0.1:0", "--bind", "udp://127.0.0.1:0"]);
    let server = Server::start(&mut command, 2).unwrap();
    assert_eq!(with_tls(server.addresses()[0], &certificates), b"hello");
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(TIMEOUT)).unwrap();
    let udp = server.endpoints()[1].strip_prefix("udp://").unwrap();
    client.send_to(b"hello", udp).unwrap();
    let mut answer = [0; 16];
    let length = client.recv(&mut answer).unwrap();
    assert_eq!(&answer[..length], b"hello");
}

/// The options of `serve` become a file, which `check` tries.
#[test]
fn a_printed_configuration_has_the_addresses_with_tls() {
    let (certificates, folder) = (Certificates::new(), Folder::new());
    folder.copy("both", "h.wasm");
    let mut command = serve();
    command.current_dir(folder.path("")).args(["h.wasm", "--print-config"]);
    let binds = ["tls://127.0.0.1:0?backlog=7", "tcp://127.0.0.1:0", "tls+unix://socket"];
    let binds = binds.into_iter().chain(["tls+systemd://web", "udp://127.0.0.1:0"]);
    command.args(binds.flat_map(|bind| ["--bind", bind])).args(certificates.options("server"));
    let output = command.output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let bind = format!(
        "\"tls://127.0.0.1:0?backlog=7\", \"tcp://127.0.0.1:0\", \"tls+unix://{}/socket\", \
         \"tls+systemd://web\", \"udp://127.0.0.1:0\"]",
        folder.path("").display().to_string().trim_end_matches('/')
    );
    assert!(printed.contains(&bind), "{printed}");
    let check = |configuration: &str| {
        folder.write("c.toml", configuration);
        let mut command = host();
        command.arg("check").arg(folder.path("c.toml"));
        command
    };
    let output = check(&printed).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // No socket of systemd is there, which alone has TLS.
    let only: Vec<_> = printed
        .lines()
        .map(|line| {
            if line.starts_with("bind") {
                "bind = [\"udp://:1\", \"tls+systemd://a\"]"
            } else {
                line
            }
        })
        .collect();
    let output = check(&only.join("\n")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let without: Vec<_> = printed.lines().filter(|line| !line.starts_with("tls-")).collect();
    let said = fail(&mut check(&without.join("\n")));
    assert!(said.contains("backlog=7 needs a certificate: --tls-cert and --tls-key"), "{said}");
    // An address with TLS and without is the same address.
    let twice = format!(
        "version = 1\n[handler.h]\nsource = \"h.wasm\"\nbind = [\"tls://:1\", \"tcp://:1\"]\n\
         tls-cert = \"{0}.pem\"\ntls-key = \"{0}.key\"\n",
        certificates.file("server")
    );
    let said = fail(&mut check(&twice));
    assert!(said.contains("names tcp://0.0.0.0:1 twice"), "{said}");
}
