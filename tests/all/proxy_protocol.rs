//! `--proxy-from`: proxies name their clients in headers of the PROXY protocol.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use rustix::process::geteuid;
use serde_json::json;
use socketserver_tests::build;
use socketserver_tests::process::{Server, TIMEOUT, wait_until};
use socketserver_tests::procfs::children;

use crate::client::{ask, connect_from, expect, read_to_end};
use crate::counters::request_counters;
use crate::fixture::{File, MODES, host, serve};

/// The option of a server whose proxies are on this machine.
const LOCAL: &[&str] = &["--proxy-from", "127.0.0.1"];

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Starts the sample `name` behind proxies on this machine.
fn proxied(name: &str, options: &[&str]) -> Server {
    let handler = build::guest("rust", name).unwrap();
    Server::start(serve().arg(handler).args(LOCAL).args(options), 1).unwrap()
}

/// Returns a header of version 1 for this client.
fn v1(client: SocketAddr) -> Vec<u8> {
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    let (ip, port) = (client.ip(), client.port());
    format!("PROXY {family} {ip} {ip} {port} 80\r\n").into_bytes()
}

/// Returns a header of version 2 for this client.
fn v2(client: SocketAddr) -> Vec<u8> {
    let (family, ip) = match client {
        SocketAddr::V4(client) => (0x11, client.ip().octets().to_vec()),
        SocketAddr::V6(client) => (0x21, client.ip().octets().to_vec()),
    };
    let ports = [client.port().to_be_bytes(), [0, 80]].concat();
    local_or_named(0x21, family, &[ip.clone(), ip, ports].concat())
}

fn local_or_named(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Returns the client that `whoami` has seen.
fn seen(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    let line = text.lines().find_map(|line| line.strip_prefix("client_address="));
    line.unwrap_or_else(|| panic!("no client: {text}")).to_owned()
}

#[test]
fn the_handler_sees_the_client_that_a_header_names() {
    for mode in MODES {
        let server = proxied("whoami", mode);
        let (ipv4, ipv6) = (address("192.0.2.7:4711"), address("[2001:db8::7]:4712"));
        for header in [v1(ipv4), v2(ipv4)] {
            assert_eq!(seen(&ask(&server, &header)), "192.0.2.7 4711", "{mode:?}");
        }
        for header in [v1(ipv6), v2(ipv6)] {
            assert_eq!(seen(&ask(&server, &header)), "2001:db8::7 4712 0 0", "{mode:?}");
        }
    }
}

#[test]
fn a_header_without_a_client_leaves_the_proxy_as_the_client() {
    let server = proxied("whoami", &[]);
    let headers = [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN 192.0.2.1 192.0.2.1 1 2\r\n".to_vec(),
        local_or_named(0x20, 0, b""),
        local_or_named(0x20, 0x11, &[192, 0, 2, 1, 192, 0, 2, 1, 0, 1, 0, 2]),
        local_or_named(0x21, 0, b"anything"),
    ];
    for header in headers {
        let mut stream = server.connect().unwrap();
        let own = stream.local_addr().unwrap();
        stream.write_all(&header).unwrap();
        assert_eq!(seen(&read_to_end(&mut stream)), format!("127.0.0.1 {}", own.port()));
    }
}

/// The bytes behind the header are the handler's, however the kernel cuts them.
#[test]
fn a_header_may_come_in_parts_and_with_data_behind_it() {
    let client = address("192.0.2.7:4711");
    for mode in MODES {
        let server = proxied("upper", mode);
        for header in [v1(client), v2(client)] {
            assert_eq!(ask(&server, &[&header[..], b"hello"].concat()), b"HELLO");
            let mut stream = server.connect().unwrap();
            stream.set_nodelay(true).unwrap();
            for byte in header {
                stream.write_all(&[byte]).unwrap();
            }
            stream.write_all(b"hello").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_to_end(&mut stream), b"HELLO", "{mode:?}");
        }
    }
}

#[test]
fn the_rules_judge_the_client_that_is_named() {
    for mode in MODES {
        let options = ["--deny", "192.0.2.9", "--max-per-source", "1", "--log-format", "json"];
        let mut server = proxied("echo", &[&options[..], mode].concat());
        let behind = |client: &str| {
            let mut stream = server.connect().unwrap();
            stream.write_all(&v1(address(client))).unwrap();
            stream.write_all(b"1").unwrap();
            stream
        };
        assert_eq!(read_to_end(&mut behind("192.0.2.9:1")), b"");
        // One request of each source, although all are of one proxy. Each of the workers counts
        // for itself, and one request at a time is never too many.
        if mode.contains(&"threading") || mode.contains(&"forking") {
            let mut both = [behind("192.0.2.1:1"), behind("192.0.2.2:1")];
            for stream in &mut both {
                expect(stream, b"1");
            }
            assert_eq!(read_to_end(&mut behind("192.0.2.1:2")), b"", "{mode:?}");
        }
        let refused = request_counters(&mut server)["requests"]["refused"].clone();
        assert_eq!(refused["deny"], 1, "{mode:?}: {refused}");
    }
}

#[test]
fn each_connection_without_a_right_header_is_refused_and_counted() {
    for mode in MODES {
        let options = ["--proxy-timeout", "200ms", "--log-format", "json"];
        let mut server = proxied("upper", &[&options[..], mode].concat());
        let mut stranger = connect_from("127.0.0.2", server.address());
        // The server may have refused the client already.
        let _ = stranger.write_all(&v1(address("192.0.2.1:1")));
        assert_eq!(read_to_end(&mut stranger), b"");
        assert_eq!(ask(&server, b"GET / HTTP/1.1\r\n\r\n"), b"");
        assert_eq!(ask(&server, b""), b"");
        assert_eq!(ask(&server, b"PROXY TCP4 192.0.2.1"), b"");
        assert_eq!(ask(&server, b"PROXY TCP4 nobody 192.0.2.1 1 2\r\nhello"), b"");
        assert_eq!(ask(&server, &local_or_named(0x21, 0x11, &[0; 5000])), b"");
        let mut late = server.connect().unwrap();
        late.write_all(b"PROXY TCP4 192.0.2.1 ").unwrap();
        assert_eq!(read_to_end(&mut late), b"");
        assert_eq!(ask(&server, &[&v2(address("192.0.2.1:1"))[..], b"on"].concat()), b"ON");
        let counters = request_counters(&mut server);
        let refused = json!({
            "proxy-from": 1, "proxy-missing": 3, "proxy-malformed": 2, "proxy-timeout": 1,
        });
        assert_eq!(counters["requests"]["refused"], refused, "{mode:?}");
        assert_eq!(counters["requests"]["accepted"], 1, "{mode:?}");
        assert_eq!(counters["instances"], 1, "{mode:?}: a refused client costs no instance");
    }
}

/// A connection that waits for its header has neither a permit nor a thread.
#[test]
fn slow_proxies_keep_no_client_waiting() {
    for mode in MODES {
        let limit: &[&str] = match mode {
            ["--concurrency", "threading"] => &["--max-requests", "1"],
            ["--concurrency", "forking"] => &["--max-children", "1"],
            _ => &[],
        };
        let options = [&["--proxy-timeout", "60s"], limit, mode].concat();
        let server = proxied("upper", &options);
        let mut slow: Vec<TcpStream> = (0..50).map(|_| server.connect().unwrap()).collect();
        for stream in &mut slow[..25] {
            stream.write_all(b"PROXY TCP").unwrap();
        }
        let header = v1(address("192.0.2.1:1"));
        for _ in 0..5 {
            assert_eq!(ask(&server, &[&header[..], b"hello"].concat()), b"HELLO", "{mode:?}");
        }
        let mut last = slow.pop().unwrap();
        last.write_all(&[&header[..], b"late"].concat()).unwrap();
        last.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&mut last), b"LATE", "{mode:?}");
    }
}

#[test]
fn a_forked_child_has_no_connection_that_waits_for_its_header() {
    let options = ["--concurrency", "forking", "--jail", "off", "--proxy-timeout", "60s"];
    let server = proxied("echo", &options);
    let client = || {
        let mut client = server.connect().unwrap();
        client.write_all(&[&v1(address("192.0.2.1:1"))[..], b"1"].concat()).unwrap();
        expect(&mut client, b"1");
        client
    };
    let alone = client();
    let quiet = descriptors_of_child(&server);
    drop(alone);
    wait_until("the child has ended", || children(server.pid()).unwrap().is_empty());
    let mut slow: Vec<TcpStream> = (0..5).map(|_| server.connect().unwrap()).collect();
    slow[0].write_all(b"PROXY").unwrap();
    let _client = client();
    let links = descriptors_of_child(&server);
    assert_eq!(links.len(), quiet.len(), "{links:?}");
}

/// Returns the descriptors of the only child of a server.
fn descriptors_of_child(server: &Server) -> Vec<String> {
    let child = children(server.pid()).unwrap()[0];
    let descriptors = fs::read_dir(format!("/proc/{child}/fd")).unwrap();
    let links = descriptors.map(|entry| fs::read_link(entry.unwrap().path()).unwrap());
    links.map(|link| link.display().to_string()).collect()
}

#[test]
fn one_request_is_served_after_others_that_were_refused() {
    let mut server = proxied("upper", &["--once"]);
    assert_eq!(ask(&server, b"no header at all"), b"");
    let mut slow = server.connect().unwrap();
    slow.write_all(b"PROXY").unwrap();
    let header = v1(address("192.0.2.1:1"));
    assert_eq!(ask(&server, &[&header[..], b"hello"].concat()), b"HELLO");
    assert!(server.wait().unwrap().success());
}

#[test]
fn a_header_that_comes_after_the_signal_is_served_within_the_grace() {
    for mode in MODES {
        let mut server = proxied("upper", mode);
        let mut slow = server.connect().unwrap();
        slow.write_all(b"PROXY TCP4 ").unwrap();
        // The connection was accepted before one that was served.
        let header = v1(address("192.0.2.1:1"));
        assert_eq!(ask(&server, &[&header[..], b"hello"].concat()), b"HELLO");
        server.signal("TERM").unwrap();
        wait_until("the server refuses clients", || TcpStream::connect(server.address()).is_err());
        slow.write_all(b"192.0.2.1 192.0.2.1 1 2\r\nlate").unwrap();
        slow.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&mut slow), b"LATE", "{mode:?}");
        assert!(server.wait().unwrap().success(), "{mode:?}");
    }
}

#[test]
fn the_proxies_of_a_unix_socket_are_users() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let (bind, user) = (format!("unix://{}", path.display()), geteuid().as_raw());
    for (who, answers) in [(format!("user:{user}"), true), ("user:4000".to_owned(), false)] {
        let mut command = host();
        command.arg("serve").arg(build::guest("rust", "whoami").unwrap());
        command.args(["--bind", &bind, "--remove-stale-socket", "true", "--proxy-from", &who]);
        let _server = Server::start(&mut command, 1).unwrap();
        let mut stream = UnixStream::connect(&path).unwrap();
        let _ = stream.write_all(&v2(address("192.0.2.7:4711")));
        let mut answer = Vec::new();
        // A server that closes with data unread resets the connection.
        let _ = stream.read_to_end(&mut answer);
        assert_eq!(!answer.is_empty(), answers, "{who}");
        assert!(!answers || seen(&answer) == "192.0.2.7 4711");
    }
}

#[test]
fn the_log_names_the_client_and_a_refusal_the_proxy() {
    let options = ["--log-level", "debug", "--idle-timeout", "100ms"];
    let mut server = proxied("echo", &options);
    let mut stream = server.connect().unwrap();
    stream.write_all(&v1(address("192.0.2.7:4711"))).unwrap();
    let line = server.wait_for_log("Exception occurred").unwrap();
    assert!(line.contains("192.0.2.7:4711"), "{line}");
    let stream = server.connect().unwrap();
    let peer = stream.local_addr().unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let line = server.wait_for_log("proxy-missing").unwrap();
    assert!(line.contains(&peer.to_string()), "{line}");
}

/// Returns the error of a server that does not start.
fn error(options: &[&str]) -> String {
    let mut command = host();
    command.arg("serve").args(options);
    format!("{:#}", Server::start(&mut command, 1).err().unwrap())
}

#[test]
fn datagrams_and_a_timeout_alone_are_errors() {
    let handler = build::guest("rust", "dupper").unwrap();
    let handler = handler.to_str().unwrap();
    let said = error(&[&[handler, "--bind", "udp://127.0.0.1:0"], LOCAL].concat());
    assert!(said.contains("udp://127.0.0.1:0 is for datagrams"), "{said}");
    let said = error(&["--proxy-timeout", "1s"]);
    assert!(said.contains("--proxy-from"), "{said}");
    let said = error(&["--proxy-from", "proxy.example"]);
    assert!(said.contains("write a network such as 10.0.0.0/8"), "{said}");
}

#[test]
fn the_options_are_keys_of_the_configuration_file() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let user = format!("user:{}", geteuid().as_raw());
    let text = format!(
        "version = 1\n[server]\ncontrol = \"off\"\n[handler.who]\nsource = '{}'\nbind = ['unix://{}']\n\
         proxy-from = ['10.0.0.0/8', '{user}']\nproxy-timeout = '1s'\n",
        build::guest("rust", "whoami").unwrap().display(),
        socket.display()
    );
    let file = File::new("config.toml", text.as_bytes());
    let mut command = host();
    let _server = Server::start(command.arg("up").arg(&file.path), 1).unwrap();
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.write_all(&v1(address("192.0.2.7:4711"))).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(seen(&answer), "192.0.2.7 4711");
}

/// A process that ends with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns true if the program can be started.
fn is_there(program: &str, package: &str) -> bool {
    match Command::new(program).arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(_) => true,
        Err(error) => {
            println!("skipped: cannot run {program}, of the package {package}: {error}");
            false
        }
    }
}

#[test]
fn haproxy_names_its_clients_in_both_versions() {
    if !is_there("haproxy", "haproxy") {
        return;
    }
    for (version, mode) in ["send-proxy", "send-proxy-v2"]
        .iter()
        .flat_map(|version| MODES.iter().map(move |mode| (version, mode)))
    {
        let server = proxied("whoami", &[&["--deny", "127.0.0.9"], *mode].concat());
        // A port that was free a moment ago.
        let front = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let text = format!(
            "defaults\n mode tcp\n timeout connect 10s\n timeout client 10s\n timeout server 10s\n\
             listen it\n bind {front}\n server it {} {version} check inter 100ms {}\n",
            server.address(),
            if *version == "send-proxy-v2" { "check-send-proxy" } else { "" },
        );
        let file = File::new("haproxy.cfg", text.as_bytes());
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(&file.path).stdout(Stdio::null()).stderr(Stdio::null());
        let mut haproxy = Killed(command.spawn().unwrap());
        wait_until("haproxy listens", || {
            assert!(haproxy.0.try_wait().unwrap().is_none(), "haproxy has ended");
            TcpStream::connect(front).is_ok()
        });
        let mut client = connect_from("127.0.0.7", front);
        let own = client.local_addr().unwrap();
        let answer = read_to_end(&mut client);
        assert_eq!(seen(&answer), format!("127.0.0.7 {}", own.port()), "{version} {mode:?}");
        let mut denied = connect_from("127.0.0.9", front);
        assert_eq!(read_to_end(&mut denied), b"", "{version} {mode:?}");
    }
}

#[test]
fn curl_names_itself() {
    if !is_there("curl", "curl") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("hello.txt"), "hello").unwrap();
    let granted = format!("{}::/srv:ro", directory.path().display());
    let handler = build::guest("rust", "http-static").unwrap();
    let mut command = serve();
    command.arg(handler).args(LOCAL).args(["--dir", &granted, "--allow", "127.0.0.1"]);
    let server = Server::start(&mut command, 1).unwrap();
    let url = format!("http://{}/hello.txt", server.address());
    let curl = |options: &[&str]| {
        let limit = TIMEOUT.as_secs().to_string();
        let mut command = Command::new("curl");
        let output = command.args(["-sS", "--max-time", &limit]).args(options).arg(&url).output();
        output.unwrap()
    };
    let named = curl(&["--haproxy-protocol"]);
    assert_eq!(named.stdout, b"hello", "{}", String::from_utf8_lossy(&named.stderr));
    assert!(!curl(&[]).status.success());
}
