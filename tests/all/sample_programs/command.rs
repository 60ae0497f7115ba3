//! Clients and directories that the sample `command` must survive.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use socketserver_tests::build;
use socketserver_tests::process::Server;

use crate::client::read_to_end;
use crate::fixture::{MODES, serve};

fn command(options: &[&str]) -> Server {
    let mut command = serve();
    command.arg(build::guest("rust", "command").unwrap()).args(options);
    Server::start(&mut command, 1).unwrap()
}

/// Sends a command, and returns its output.
fn run(stream: &mut TcpStream, command: &str) -> String {
    stream.write_all(command.as_bytes()).unwrap();
    let mut length = [0; 64];
    let read = stream.read(&mut length).unwrap();
    let length: usize = str::from_utf8(&length[..read]).unwrap().parse().unwrap();
    stream.write_all(b"ready").unwrap();
    let mut output = vec![0; length];
    stream.read_exact(&mut output).unwrap();
    String::from_utf8(output).unwrap()
}

/// Every path that is no file in the granted directory is a sentence for the client. The
/// connection goes on.
#[test]
fn cat_and_ls_open_nothing_but_files_of_the_granted_directory() {
    let outside = tempfile::tempdir().unwrap();
    let path = |name: &str| outside.path().join("granted").join(name);
    std::fs::create_dir_all(path("folder")).unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    std::fs::write(path("text"), "text").unwrap();
    assert!(Command::new("mkfifo").arg(path("fifo")).status().unwrap().success());
    // The adapter of the handler's library traps at the type of a socket.
    let _socket = UnixListener::bind(path("socket")).unwrap();
    for (name, target) in [
        ("up", "../secret"),
        ("out", outside.path().join("secret").to_str().unwrap()),
        ("device", "/dev/zero"),
        ("memory", "/proc/self/mem"),
        ("folders", ".."),
        ("around", "around"),
        ("fine", "folder/../text"),
    ] {
        symlink(target, path(name)).unwrap();
    }
    let grant = format!("{}::/files:ro", outside.path().join("granted").display());
    for mode in MODES {
        let server = command(&[mode, &["--dir", &grant]].concat());
        let mut client = server.connect().unwrap();
        for name in [
            "fifo",
            "socket",
            "up",
            "out",
            "device",
            "memory",
            "folders",
            "folders/secret",
            "around",
            "folder",
            "none",
            "text/none",
            "../secret",
            "folder/../../secret",
            "text\0",
            "\u{ff}",
        ] {
            let said = run(&mut client, &format!("cat /files/{name}"));
            assert!(said.starts_with(&format!("cat: /files/{name}: ")), "{mode:?} {said}");
            assert!(!said.contains("secret\n"), "{said}");
        }
        for path in ["/etc/passwd", "/dev/zero", "/proc/self/environ", "secret", "", "."] {
            let said = run(&mut client, &format!("cat {path}"));
            assert!(said.starts_with(&format!("cat: {path}: ")), "{mode:?} {said}");
        }
        for path in ["/", "/files/..", "/files/folders", "/files/text", "/files/fifo", "/etc", ""] {
            let said = run(&mut client, &format!("ls {path}"));
            assert!(said.starts_with(&format!("ls: {path}: ")), "{mode:?} {said}");
        }
        assert_eq!(run(&mut client, "cat /files/fine"), "text");
        assert_eq!(run(&mut client, "cat /files/text"), "text");
        let listed = run(&mut client, "ls /files");
        assert!(listed.contains("device\n") && listed.contains("socket\n"), "{mode:?} {listed}");
    }
}

#[test]
fn without_a_grant_there_is_no_directory() {
    for mode in MODES {
        let server = command(mode);
        let mut client = server.connect().unwrap();
        for command in ["ls /", "ls .", "cat /etc/passwd", "cat etc/passwd"] {
            let said = run(&mut client, command);
            let (name, path) = command.split_once(' ').unwrap();
            assert!(said.starts_with(&format!("{name}: {path}: ")), "{mode:?} {said}");
        }
        assert_eq!(run(&mut client, "echo still here"), "still here");
    }
}

#[test]
fn outputs_and_numbers_have_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, length: u64| {
        File::create(folder.path().join(name)).unwrap().set_len(length).unwrap();
    };
    file("largest", 10_000_000);
    file("larger", 10_000_001);
    file("huge", 1 << 40);
    let grant = format!("{}::/files:ro", folder.path().display());
    for mode in MODES {
        let server = command(&[mode, &["--dir", &grant]].concat());
        let mut client = server.connect().unwrap();
        assert_eq!(run(&mut client, "cat /files/largest").len(), 10_000_000);
        for name in ["larger", "huge"] {
            let said = run(&mut client, &format!("cat /files/{name}"));
            assert_eq!(said, format!("cat: /files/{name}: file too large\n"), "{mode:?}");
        }
        for count in ["-1", "1073741824", "18446744073709551615", "99999999999999999999", "x", ""] {
            let said = run(&mut client, &format!("repeat {count} xy"));
            assert_eq!(said, "usage: repeat N TEXT, up to 10 MB\n", "{mode:?}");
        }
        for number in ["-1", "94", "4294967296", "x", ""] {
            let said = run(&mut client, &format!("fib {number}"));
            assert_eq!(said, "usage: fib N, with N from 0 to 93\n", "{mode:?}");
        }
    }
}

/// A client that never acknowledges holds its request until the operator's limit.
#[test]
fn a_client_that_never_acknowledges_is_ended_by_a_limit() {
    for mode in MODES {
        for (limit, reason) in [("--idle-timeout", "idle-timeout"), ("--wall-time", "wall-time")] {
            let mut server = command(&[mode, &[limit, "100ms"]].concat());
            let mut client = server.connect().unwrap();
            client.write_all(b"repeat 1000000 0123456789").unwrap();
            // The length, and then the end: the output is never sent.
            assert_eq!(read_to_end(&mut client), b"10000000", "{mode:?}");
            let line = server.wait_for_log("Exception").unwrap();
            assert!(line.contains(&format!("reason=\"{reason}\"")), "{line}");
        }
    }
}

/// A server may announce any length.
#[test]
fn the_client_ends_whatever_its_server_announces() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    for (announced, sent, succeeds) in [
        ("-1", "", true),
        ("1073741824", "few", false),
        ("", "", false),
        ("2", "ok", true),
        ("x", "", false),
    ] {
        let mut client = Command::new("python3");
        client.arg(build::root().join("guests/command/client.py")).arg(&port);
        let started =
            client.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let Ok(mut client) = started else {
            println!("skipped: there is no python3");
            return;
        };
        client.stdin.take().unwrap().write_all(b"echo\n").unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let mut received = [0; 64];
        assert_eq!(stream.read(&mut received).unwrap(), 4);
        stream.write_all(announced.as_bytes()).unwrap();
        if announced.parse::<i64>().is_ok() {
            assert!(stream.read(&mut received).unwrap() > 0, "the acknowledgement");
            stream.write_all(sent.as_bytes()).unwrap();
        }
        drop(stream);
        assert_eq!(client.wait().unwrap().success(), succeeds, "{announced}");
    }
}
