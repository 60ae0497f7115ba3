//! The answers of Python's library in the sandbox, and errors for what cannot be there.

use std::io::{Read, Write};

use super::{Both, TCP, answer_of, ask, file, here};
use crate::fixture::host;

#[test]
fn sockets_and_errors_are_python_s() {
    let both = Both::start("toolbox.py", &TCP);
    for (command, expected) in [
        ("nonblocking", "BlockingIOError EAGAIN"),
        ("timeout", "TimeoutError None timed out"),
        ("half_close", "half"),
        ("closed", ""),
        ("database", "('ab,cd',)"),
        ("imports", "((0.0, 1.0, 1), Fraction(1, 2), b'\\xe9', b'xn--tda')"),
        ("threads", "([0, 1, 2], False)"),
        ("raise_later", "before"),
        ("exit", ""),
    ] {
        let answers = [&both.cpython, &both.here].map(|server| {
            let mut stream = server.connect().unwrap();
            stream.write_all(format!("{command}\n").as_bytes()).unwrap();
            answer_of(&mut stream)
        });
        // The text of an errno has other numbers and words in the sandbox.
        assert!(answers[1].starts_with(expected), "{command}: {}", answers[1]);
        assert!(answers[0].starts_with(expected), "{command}: {}", answers[0]);
    }
    assert_eq!(both.answer(b"large\n").len(), 3_000_000);
    // Commands that read after they have said "go".
    for (command, rest, expected) in [
        ("select", "later", "b'later' b'later'"),
        ("selectors", "x", "[[], [('data', 1)]]"),
        ("buffers", "abcdef", "6"),
    ] {
        for server in [&both.cpython, &both.here] {
            let mut stream = server.connect().unwrap();
            stream.write_all(format!("{command}\n").as_bytes()).unwrap();
            let mut go = [0; 2];
            stream.read_exact(&mut go).unwrap();
            stream.write_all(rest.as_bytes()).unwrap();
            let answer = answer_of(&mut stream);
            assert!(answer.ends_with(expected), "{command}: {answer}");
        }
    }
    for server in [&both.cpython, &both.here] {
        let mut stream = server.connect().unwrap();
        stream.write_all(b"makefile\n").unwrap();
        let mut says = [0; 6];
        stream.read_exact(&mut says).unwrap();
        stream.write_all("größe\n".as_bytes()).unwrap();
        assert_eq!(answer_of(&mut stream), "GRÖSSE\n");
    }
}

#[test]
fn an_exception_is_logged_with_its_whole_traceback_and_finish_runs() {
    let mut server = here("toolbox.py", &TCP);
    assert_eq!(ask(&server, b"raise_later\n"), "before");
    for line in [
        "INFO guest: \"finish\"",
        "ERROR guest: \"Traceback (most recent call last):\"",
        "in finish_request\"",
        "ERROR guest: \"  File \\\"toolbox.py\\\", line",
        "ZeroDivisionError(\\\"as asked\\\")",
        "ERROR guest: \"ZeroDivisionError: as asked\"",
        "handle failed: ZeroDivisionError: as asked",
    ] {
        server.wait_for_log(line).unwrap();
    }
}

#[test]
fn what_cannot_be_says_what_to_do_instead() {
    let mut server = here("toolbox.py", &TCP);
    for (command, what, instead) in [
        ("wait", "RuntimeError None this waits for another thread", "Call its function directly"),
        ("program", "OSError ENOTSUP", "Do the work in Python"),
        ("system", "OSError ENOTSUP", "a handler starts no programs"),
        ("fork", "OSError ENOTSUP", "a handler starts no programs"),
        ("connect", "PermissionError EACCES", "the log of the host names the option"),
        ("other_client", "PermissionError EACCES", "sees the client of its request only"),
        ("stop", "RuntimeError None a handler cannot stop the server", "SIGTERM"),
        ("missing", "ModuleNotFoundError None there are no processes", "runs beside the others"),
    ] {
        let answer = ask(&server, format!("{command}\n").as_bytes());
        assert!(answer.starts_with(what) && answer.contains(instead), "{command}: {answer}");
    }
    assert_eq!(ask(&server, b"state\n"), "1");
    assert_eq!(ask(&server, b"state\n"), "1");
    let line = server.wait_for_log("no later request sees that").unwrap();
    assert!(line.contains("WARN guest"), "{line}");
    assert!(line.contains("the global variable `counter`, the global variable `seen`"), "{line}");
    assert!(line.contains("--dir"), "{line}");
}

#[test]
fn a_program_with_its_own_loop_is_told_what_to_write() {
    let built = host().arg("build").arg(file("by_hand.py")).output().unwrap();
    assert_eq!(built.status.code(), Some(1));
    let error = String::from_utf8(built.stderr).unwrap();
    assert!(error.contains("accepts connections itself, in accept()"), "{error}");
    assert!(error.contains("class Handler(socketserver.BaseRequestHandler):"), "{error}");
}
