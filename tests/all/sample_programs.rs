//! The sample programs of the notes, each with its client in Python.

mod command;
mod notes;
mod resolver;

use std::io::Write;
use std::process::{Command, Stdio};

use socketserver_tests::build;
use socketserver_tests::process::Server;

use crate::fixture::{MODES, serve};

/// Serves a sample with these options in each mode, runs its client with this standard input, and
/// returns what the client printed in each mode, with the server's log.
fn with_its_client(name: &str, options: &[&str], input: &str) -> Vec<(String, String)> {
    let client = build::root().join(format!("guests/{name}/client.py"));
    let mut printed = Vec::new();
    for mode in MODES {
        let mut command = serve();
        command.arg(build::guest("rust", name).unwrap()).args(mode).args(options);
        let mut server = Server::start(&mut command, 1).unwrap();
        let mut python = Command::new("python3");
        python.arg(&client).arg(server.address().port().to_string());
        let started = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(mut client) = started else {
            println!("skipped: there is no python3");
            return Vec::new();
        };
        client.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = client.wait_with_output().unwrap();
        assert!(output.status.success(), "{name} {mode:?}");
        assert!(server.stop().unwrap().success());
        printed.push((String::from_utf8(output.stdout).unwrap(), server.log().join("\n")));
    }
    printed
}

#[test]
fn the_command_server_runs_the_commands_of_its_client() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("greeting"), "hello\n").unwrap();
    let grant = format!("{}::/files:ro", folder.path().display());
    let input = "echo hello world\nfib 10\nfib 93\nfib 94\nutf8\nempty\nrm -rf /\n\
        ls /files\ncat /files/greeting\ndate\nhelp\n";
    for (printed, _) in with_its_client("command", &["--dir", &grant], input) {
        let (before, help) = printed.split_once("commands:\n").unwrap();
        let (before, date) = before.split_once("greeting\n\nhello\n\n").unwrap();
        let expected = "hello world\n55\n\n12200160415121876738\n\n\
            usage: fib N, with N from 0 to 93\n\n中文输出\n\ncmd has no output\nunknown command\n";
        assert_eq!(before, expected);
        assert!(date.contains(" UTC 20"), "{date}");
        assert!(help.contains("has no shell"), "{help}");
    }
}

#[test]
fn the_receiver_reports_the_names_of_both_ends() {
    for (printed, log) in with_its_client("receiver", &[], "") {
        assert_eq!(printed, "");
        let reported: Vec<&str> = log.lines().filter(|line| line.contains(" is: ")).collect();
        assert_eq!(reported.len(), 3, "{log}");
        assert!(reported[0].contains("Socket Name is: 127.0.0.1:"), "{log}");
        assert!(reported[1].contains("Socket Peer is: 127.0.0.1:"), "{log}");
        assert!(reported[2].contains("received is: Hello World!"), "{log}");
    }
}

#[test]
fn a_chat_goes_line_by_line() {
    let input = "hello\n\nwie geht's?\nbye\n";
    for (printed, _) in with_its_client("chat-line", &[], input) {
        assert_eq!(printed, "1: hello\n2: \n3: wie geht's?\nbye, after 3 lines\n");
    }
}
