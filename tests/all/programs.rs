//! Programs without an SDK, whose standard input and output are the client: a component of
//! `wasi:cli/command`, or a core module for wasm32-wasip1. `tests/programs/` has them.

mod hostile;
mod sockets;

use std::io::Write;
use std::net::Shutdown;
use std::path::PathBuf;
use std::process::Command;

use socketserver_tests::build;
use socketserver_tests::process::Server;

use crate::client::{ask, expect, read_to_end};
use crate::fixture::{MODES, host, serve};

/// The languages of the programs. In Rust there is a component and a core module, in the other
/// languages a core module.
const LANGUAGES: [&str; 5] = ["c", "go", "rust", "rust-wasip1", "zig"];

/// Returns the path of the program `talk` of a language.
fn program(language: &str) -> PathBuf {
    match language.split_once('-') {
        Some((language, target)) => build::guest(language, &format!("talk-{target}")).unwrap(),
        None => build::guest(language, "talk").unwrap(),
    }
}

/// Serves the program `talk` of a language, with arguments.
fn talk(language: &str, options: &[&str], arguments: &[&str]) -> Server {
    let mut command = serve();
    command.arg(program(language)).args(options).arg("--").args(arguments);
    Server::start(&mut command, 1).unwrap()
}

/// Stops a server, and fails if its log reports a failed request.
fn stop_without_failure(mut server: Server) {
    assert!(server.stop().unwrap().success());
    let failed = server.log().iter().any(|line| line.contains("Exception"));
    assert!(!failed, "{:#?}", server.log());
}

#[test]
fn a_program_in_go_shares_no_memory_with_the_adapter() {
    let mut server = Server::start(serve().arg(build::guest("go", "plain").unwrap()), 1).unwrap();
    for size in [0, 5, 70_000, 6_000_000] {
        assert!(ask(&server, &vec![b'a'; size]) == vec![b'A'; size], "{size}");
        server.wait_for_log(&format!("read {size}")).unwrap();
    }
    assert!(server.stop().unwrap().success());
}

#[test]
fn a_program_reads_its_client_to_the_end_and_answers_in_every_mode() {
    let large: Vec<u8> = (0..200_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    for language in LANGUAGES {
        for mode in MODES {
            let server = talk(language, mode, &["cat"]);
            // Each request is a new instance.
            for data in [&large[..], b"", b"a"] {
                assert!(ask(&server, data) == data, "{language} {mode:?}");
            }
            stop_without_failure(server);
        }
        let server = talk(language, &[], &["upper"]);
        assert_eq!(ask(&server, b"Hello\nworld"), b"HELLO\nWORLD", "{language}");
    }
}

#[test]
fn a_program_answers_each_line_when_it_comes() {
    for language in LANGUAGES {
        let server = talk(language, &[], &["lines"]);
        let mut stream = server.connect().unwrap();
        for number in 1..4 {
            stream.write_all(b"line\n").unwrap();
            expect(&mut stream, format!("{number}: line\n").as_bytes());
        }
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&mut stream), b"");
        stop_without_failure(server);
    }
}

#[test]
fn a_program_that_does_not_read_answers_and_ends() {
    for language in LANGUAGES {
        let server = talk(language, &[], &["ignore"]);
        let mut stream = server.connect().unwrap();
        assert_eq!(read_to_end(&mut stream), b"ignored\n", "{language}");
        stop_without_failure(server);
    }
}

/// A pipe ends when its last descriptor is closed.
#[test]
fn a_program_that_closes_its_output_goes_on_to_read() {
    for mode in MODES {
        let mut server = talk("c", mode, &["close"]);
        let mut stream = server.connect().unwrap();
        assert_eq!(read_to_end(&mut stream), b"first\n");
        stream.write_all(b"12345").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        server.wait_for_log("read 5 after the end of the output").unwrap();
    }
}

#[test]
fn a_program_polls_its_input() {
    let server = talk("c", &[], &["poll", "50"]);
    let mut stream = server.connect().unwrap();
    expect(&mut stream, b"0\n");
    stream.write_all(b"after the time").unwrap();
    expect(&mut stream, b"after the time");
    drop(stream);
    let server = talk("c", &[], &["poll", "3600000"]);
    assert_eq!(ask(&server, b"x"), b"1\nx");
    // The end of the input is an event too.
    assert_eq!(ask(&server, b""), b"1\n");
}

#[test]
fn a_status_other_than_0_is_a_failure_of_the_program_and_its_output_is_sent() {
    for language in LANGUAGES {
        for mode in MODES {
            let mut server = talk(language, mode, &["exit", "7"]);
            assert_eq!(ask(&server, b""), b"bye\n", "{language} {mode:?}");
            let line = server.wait_for_log("Exception occurred").unwrap();
            assert!(line.contains("the program exited with a status other than 0"), "{line}");
            assert!(line.contains("blame=\"guest\" reason=\"exit-status\""), "{line}");
        }
    }
    let server = talk("c", &[], &["exit", "0"]);
    assert_eq!(ask(&server, b""), b"bye\n");
    stop_without_failure(server);
}

#[test]
fn standard_error_is_the_log_with_the_peer() {
    for language in LANGUAGES {
        let mut server = talk(language, &[], &["stderr"]);
        let mut stream = server.connect().unwrap();
        let peer = stream.local_addr().unwrap();
        assert_eq!(read_to_end(&mut stream), b"to the client\n");
        let line = server.wait_for_log("to the log").unwrap();
        let name = program(language).file_stem().unwrap().display().to_string();
        let end = format!("WARN guest: \"to the log\" handler=\"{name}\" peer=\"{peer}\"");
        assert!(line.ends_with(&end), "{line}");
        stop_without_failure(server);
    }
}

#[test]
fn a_program_sees_its_arguments_after_its_name() {
    for language in LANGUAGES {
        let server = talk(language, &[], &["args", "--an option", "é"]);
        let name = program(language).file_stem().unwrap().display().to_string();
        let expected = format!("[{name}][args][--an option][é]");
        assert_eq!(String::from_utf8(ask(&server, b"")).unwrap(), expected, "{language}");
    }
}

#[test]
fn arguments_without_a_program_are_an_error() {
    let said = host().args(["serve", "--", "argument"]).output().unwrap();
    assert_eq!(said.status.code(), Some(2));
}

#[test]
fn inspect_says_that_it_is_a_program() {
    for language in LANGUAGES {
        let what = if language == "rust" { "component" } else { "core module" };
        let said = host().arg("inspect").arg(program(language)).output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        assert!(said.contains("world     wasi:cli/command@0.2.0\n"), "{said}");
        let line = format!("program   a {what} that speaks on standard input and output\n");
        assert!(said.contains(&line) && said.contains("serve     yes"), "{said}");
    }
}

/// Python's `inetd`: each connection is the standard input and output of a process.
const INETD: &str = "
import socketserver, subprocess, sys
class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        subprocess.run(sys.argv[1:], stdin=self.request, stdout=self.request,
                       stderr=subprocess.DEVNULL)
server = socketserver.ForkingTCPServer(('127.0.0.1', 0), Handler)
print('listening tcp://127.0.0.1:%d' % server.server_address[1], flush=True)
server.serve_forever()
";

#[test]
fn the_same_program_says_the_same_under_inetd() {
    let directory = tempfile::tempdir().unwrap();
    let native = directory.path().join("talk");
    let source = build::root().join("tests/programs/talk.c");
    let built = Command::new("cc").arg(source).arg("-o").arg(&native).status().unwrap();
    assert!(built.success());
    let large = vec![b'x'; 100_000];
    for arguments in [
        &["cat"][..],
        &["upper"],
        &["lines"],
        &["exit", "3"],
        &["stderr"],
        &["close"],
        &["poll", "60000"],
        &["answer", "100000"],
    ] {
        let ours = talk("c", &[], arguments);
        let mut inetd = Command::new("python3");
        inetd.args(["-c", INETD]).arg(&native).args(arguments);
        let theirs = Server::start(&mut inetd, 1).unwrap();
        for data in [&b""[..], b"one line\n", b"a\nb\nno end", &large] {
            assert!(ask(&ours, data) == ask(&theirs, data), "{arguments:?} {}", data.len());
        }
    }
}
