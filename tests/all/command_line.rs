//! The command line: the effects of options, the messages and the exit codes.

use std::io::Read;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use socketserver_tests::build;
use socketserver_tests::process::Server;

use crate::client::ask;
use crate::fixture::{FIXTURE, File, Fixture, compiles, host, serve};

#[test]
fn without_a_command_it_serves_the_sample_on_python_s_port() {
    // If another program uses that port, the error must name it.
    match Server::start(&mut host(), 1) {
        Ok(mut server) => {
            assert_eq!(server.address().to_string(), "127.0.0.1:9999");
            assert_eq!(ask(&server, b"hello"), b"HELLO");
            assert!(server.stop().unwrap().success());
        }
        Err(error) => {
            assert!(error.to_string().contains("cannot listen on tcp://127.0.0.1:9999"), "{error}");
        }
    }
}

#[test]
fn port_0_chooses_a_free_port_on_ipv4_and_ipv6() {
    let mut command = host();
    command.args([
        "serve",
        "--bind",
        "tcp://127.0.0.1:0",
        "--bind",
        "tcp://[::1]:0",
        "--bind",
        "tcp://localhost:0",
    ]);
    let server = Server::start(&mut command, 3).unwrap();
    let ports: Vec<u16> = server.addresses().iter().map(std::net::SocketAddr::port).collect();
    assert!(ports.iter().all(|port| *port != 0), "{ports:?}");
    assert!(server.addresses()[0].is_ipv4() && server.addresses()[1].is_ipv6());
    for address in server.addresses() {
        let mut stream = TcpStream::connect(address).unwrap();
        std::io::Write::write_all(&mut stream, b"everywhere").unwrap();
        assert_eq!(crate::client::read_to_end(&mut stream), b"EVERYWHERE");
    }
}

#[test]
fn an_ipv6_socket_on_all_addresses_accepts_ipv4_clients() {
    let mut command = host();
    command.args(["serve", "--bind", "tcp://[::]:0"]);
    let server = Server::start(&mut command, 1).unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", server.address().port())).unwrap();
    std::io::Write::write_all(&mut stream, b"four").unwrap();
    assert_eq!(crate::client::read_to_end(&mut stream), b"FOUR");
}

#[test]
fn a_unix_socket_has_a_path_or_an_abstract_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let by_path = format!("unix://{}", path.display());
    let by_name = format!("unix://@wasm-socketserver-{}", std::process::id());
    let mut command = host();
    command.arg("serve").arg(build::guest("rust", "whoami").unwrap());
    command.args(["--bind", &by_path, "--bind", &by_name]);
    let mut server = Server::start(&mut command, 2).unwrap();
    assert_eq!(server.endpoints(), [by_path.as_str(), by_name.as_str()]);
    let mut facts = String::new();
    UnixStream::connect(&path).unwrap().read_to_string(&mut facts).unwrap();
    assert!(
        facts.contains(&format!("family=AF_UNIX\ntype=SOCK_STREAM\nsockname={}\n", path.display())),
        "{facts}"
    );
    assert!(facts.contains("client_address=\n"), "{facts}");
    assert!(server.stop().unwrap().success());

    // The server does not remove the path when it ends, so that the next start fails.
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        said,
        format!(
            "wasm-socketserver: cannot listen on {by_path}: Address already in use (os error 98): \
             no server has that file open any more: --remove-stale-socket true removes it\n"
        )
    );
}

#[test]
fn an_address_in_use_is_an_error_of_one_line_and_exit_code_1() {
    let server = Server::start(&mut serve(), 1).unwrap();
    for reuse in ["true", "false"] {
        let bind = format!("tcp://{}", server.address());
        let output = host()
            .args([
                "serve",
                "--bind",
                "tcp://127.0.0.1:0",
                "--bind",
                &bind,
                "--allow-reuse-address",
                reuse,
            ])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            said,
            format!(
                "wasm-socketserver: cannot listen on {bind}: Address already in use (os error 98)\n"
            )
        );
        assert!(output.stdout.is_empty());
    }
    assert_eq!(ask(&server, b"alive"), b"ALIVE");
}

#[test]
fn with_allow_reuse_port_two_servers_share_a_port() {
    let first = Server::start(serve().args(["--allow-reuse-port", "true"]), 1).unwrap();
    let bind = format!("tcp://{}", first.address());
    let mut second = host();
    second.args(["serve", "--bind", &bind, "--allow-reuse-port", "true"]);
    Server::start(&mut second, 1).unwrap();
}

#[test]
fn the_address_of_a_server_that_has_just_ended_is_free() {
    let mut first = Server::start(&mut serve(), 1).unwrap();
    // The server closes first, so that its side of the connection is in TIME_WAIT.
    assert_eq!(ask(&first, b"x"), b"X");
    let bind = format!("tcp://{}", first.address());
    first.stop().unwrap();
    let mut second = host();
    second.args(["serve", "--bind", &bind]);
    Server::start(&mut second, 1).unwrap();
}

#[test]
fn mistakes_in_the_command_line_are_exit_code_2_and_name_the_way_out() {
    let cases: [(&[&str], &str); 49] = [
        (&["serv"], "unrecognized subcommand"),
        (&["serve", "--bund"], "a similar argument exists: '--bind'"),
        (&["serve", "--port", "80"], "`--bind tcp://HOST:PORT` sets the address and the port"),
        (&["complie"], "unrecognized subcommand 'complie'\n\nUsage"),
        (&["serve", "--concurrency", "thread"], "a similar value exists: 'threading'"),
        (
            &["serve", "--bind", "127.0.0.1:80"],
            "write tcp://HOST:PORT, tls://HOST:PORT, udp://HOST:PORT, unix://PATH or unixgram://PATH",
        ),
        (&["serve", "--bind", "unix://"], "the path of a Unix socket has 1 to 107 bytes"),
        (&["serve", "--bind", "http://127.0.0.1:80"], "`http://` is not served"),
        (&["serve", "--bind", "tcp://127.0.0.1:99999"], "a port from 0 to 65535"),
        (&["serve", "--bind", "tcp://::1:80"], "write [::1]:PORT"),
        (&["serve", "--bind", "tcp://no.such.host.invalid:80"], "has no address"),
        (&["serve", "--concurrency", "green"], "sync, threading, fibers, forking"),
        (&["serve", "--server", "HTTPServer"], "not one of Python's server classes"),
        (
            &["serve", "--server", "UDPServer", "--bind", "tcp://127.0.0.1:0"],
            "UDPServer cannot listen on tcp://127.0.0.1:0: give it udp://",
        ),
        (&["serve", "--server", "UnixStreamServer"], "--bind unix://PATH"),
        (&["serve", "--server", "TCPServer", "--concurrency", "sync"], "cannot be used with"),
        (&["serve", "--server", "TCPServer", "--workers", "2"], "workers run requests in threads"),
        (&["serve", "--concurrency", "sync", "--workers", "2"], "in threads or as fibers"),
        (&["serve", "--workers", "0"], "0 is not in 1..=1024"),
        (&["serve", "--workers", "2", "--once"], "cannot be used with"),
        (&["serve", "--workers", "3", "--max-requests", "2"], "allow more"),
        (&["serve", "--concurrency", "forking", "--max-requests", "2"], "--max-children"),
        (&["serve", "--jail", "try"], "add --concurrency forking or --workers"),
        (&["serve", "--deny", "localhost"], "a network such as 10.0.0.0/8"),
        (&["serve", "--allow", "user:no such user"], "there is no user `no such user`"),
        (&["serve", "--access-times", "8-18"], "two times such as 08:00-18:30"),
        (&["serve", "--max-load", "0"], "a number from 0.01 to 10000"),
        (&["serve", "--source-rate", "1:0"], "a number from 1 to 1000000"),
        (&["serve", "--max-per-source", "0"], "0 is not in 1.."),
        (&["serve", "--cps", "25 30"], "a number from 1 to 1000000"),
        (&["serve", "--banner-refused", r"\q"], r"after a \ write n, r, t, \ or xHH"),
        (&["serve", "--socket-mode", "rw"], "permissions such as 660"),
        (&["serve", "--socket-owner", "no such user"], "there is no user `no such user`"),
        (&["serve", "--user", "no such user"], "there is no user `no such user`"),
        (&["serve", "--user", "root"], "that is root"),
        (&["serve", "--user", ":8"], "write USER or USER:GROUP"),
        (&["serve", "--user", "4242424242"], "write 4242424242:GROUP"),
        (&["serve", "--max-requests", "0"], "0 is not in 1.."),
        (&["serve", "--memory", "1KiB"], "at least 64KiB and at most 4GiB"),
        (&["serve", "--memory", "much"], "a size such as 64MiB"),
        (&["serve", "--cpu-time", "0s"], "at least 1ms"),
        (&["serve", "--idle-timeout", "soon"], "a duration such as 500ms"),
        (&["serve", "--poll-interval=-1"], "zero or more"),
        (&["serve", "--request-queue-size", "65536"], "65536 is not in"),
        (&["serve", "--stack", "2MiB"], "at least 64KiB and at most 1MiB of stack"),
        (&["serve", "--compile-memory", "255MiB"], "at least 256MiB"),
        (&["serve", "--compile-time", "1500ms"], "whole seconds"),
        (&["serve", "--profile", "kind"], "standard, hostile"),
        (&["inspect"], "<HANDLER>"),
    ];
    for (arguments, way_out) in cases {
        let output = host().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(way_out), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_failure_to_start_is_one_line_or_one_object_and_names_its_cause_once() {
    let server = Server::start(&mut serve(), 1).unwrap();
    let in_use = format!("tcp://{}", server.address());
    let cases: [(&[&str], String); 2] = [
        (
            &["serve", "nosuch.wasm"],
            "cannot serve `nosuch.wasm`: cannot read it: No such file or directory (os error 2)"
                .to_owned(),
        ),
        (
            &["serve", "--bind", &in_use],
            format!("cannot listen on {in_use}: Address already in use (os error 98)"),
        ),
    ];
    for (arguments, message) in cases {
        let run = |options: &[&str]| {
            let output = host().args(arguments).args(options).output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            String::from_utf8(output.stderr).unwrap()
        };
        assert_eq!(run(&[]), format!("wasm-socketserver: {message}\n"));
        // The level of the log does not matter.
        let object = run(&["--log-format", "json", "--log-level", "error"]);
        assert_eq!(object.lines().count(), 1, "{object}");
        let object: serde_json::Value = serde_json::from_str(&object).unwrap();
        assert_eq!((&object["level"], &object["message"]), (&"ERROR".into(), &message.into()));
    }
}

#[test]
fn more_requests_than_the_machine_can_hold_are_an_error() {
    let output = host()
        .args(["serve", "--bind", "tcp://127.0.0.1:0", "--max-requests", "4000000"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("4000000 requests at once are more than this machine can hold"),
        "{said}"
    );
    assert!(said.lines().count() == 1, "{said}");
}

#[test]
fn more_processes_than_the_machine_can_hold_are_an_error() {
    let options = ["--concurrency", "forking", "--max-children", "100000"];
    let output = serve().args(options).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("100000 requests at once are more than this machine can hold"), "{said}");
}

#[test]
fn help_lists_the_options_and_version_prints_the_version() {
    let help =
        String::from_utf8(host().args(["serve", "--help"]).output().unwrap().stdout).unwrap();
    for option in [
        "--bind",
        "--server",
        "--concurrency",
        "--workers",
        "--once",
        "--allow",
        "--deny",
        "--access-times",
        "--max-load",
        "--source-rate",
        "--max-per-source",
        "--cps",
        "--banner-refused",
        "--jail",
        "--user",
        "--max-packet-size",
        "--max-children",
        "--timeout",
        "--remove-stale-socket",
        "--socket-mode",
        "--socket-owner",
        "--max-requests",
        "--memory",
        "--memory-total",
        "--cpu-time",
        "--idle-timeout",
        "--wall-time",
        "--grace",
        "--request-queue-size",
        "--allow-reuse-address",
        "--allow-reuse-port",
        "--daemon-threads",
        "--block-on-close",
        "--poll-interval",
        "--log-format",
        "--log-level",
        "--log-rate",
        "--no-cache",
        "--profile",
        "--stack",
        "--compile-memory",
        "--compile-time",
    ] {
        assert!(help.contains(option), "{option} is not in:\n{help}");
    }
    let version = host().arg("--version").output().unwrap();
    assert_eq!(
        version.stdout,
        format!("wasm-socketserver {}\n", env!("CARGO_PKG_VERSION")).as_bytes()
    );
}

#[test]
fn a_closed_standard_output_does_not_end_the_server() {
    let file =
        File::new("run.sh", b"\"$0\" serve --bind tcp://127.0.0.1:0 --log-level debug | true");
    let host = host();
    let mut shell = std::process::Command::new("timeout");
    shell.args(["--signal=TERM", "1", "sh"]).arg(&file.path).arg(host.get_program());
    shell.envs(host.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = shell.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn the_cache_is_used_unless_no_cache_is_given() {
    let cache = tempfile::tempdir().unwrap();
    let handler = File::new(
        "cached.wat",
        Fixture { fields: "(func $unique_to_this_test)", ..FIXTURE }.text().as_bytes(),
    );
    let compiled = |options: &[&str]| compiles(cache.path(), &handler.path, options);
    assert!(compiled(&["--no-cache"]));
    assert!(!cache.path().join("wasm-socketserver").exists());
    assert!(compiled(&[]));
    assert!(!compiled(&[]));

    // The host replaces a damaged entry, and does not use an entry that another user could
    // have written. It serves the handler in both cases.
    let directory = cache.path().join("wasm-socketserver");
    let entry = std::fs::read_dir(&directory).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(&entry).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(&entry, damaged).unwrap();
    assert!(compiled(&[]));
    assert_eq!(std::fs::read(&entry).unwrap(), whole);

    std::fs::set_permissions(&entry, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert!(compiled(&[]));
    std::fs::set_permissions(&entry, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(!compiled(&[]));
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(compiled(&[]));
}
