//! `StreamRequestHandler` in every language: `rfile` and `wfile` are those of CPython.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use socketserver_tests::build::{self, LANGUAGES};
use socketserver_tests::process::{Server, TIMEOUT};

use crate::client::{expect, read_to_end, reset};
use crate::fixture::serve;
use crate::socket_calls::Reference;

/// The languages whose handler lacks cases: where a file cannot be closed, or cannot be used then.
const WITHOUT: [(&str, &[&str]); 3] =
    [("rust", &["close", "closed"]), ("go", &["close", "closed"]), ("c", &["closed"])];

/// Returns true if the handler of a language has a case.
fn has(language: &str, case: &str) -> bool {
    !WITHOUT.iter().any(|(other, cases)| *other == language && cases.contains(&case))
}

/// A case, the data that the client sends after its name, and what it receives.
const CASES: &[(&str, &[u8], &[u8])] = &[
    // A line without an end is read in pieces, and the last piece before the end is a line.
    ("limit", b"one\nabcdefghijkl\n\nno end", b"[one\n][abcde][fghij][kl\n][\n][no en][d]"),
    ("limit", b"", b""),
    ("read", b"abcdefghij", b"[abcdefg][hij]"),
    ("read", b"abc", b"[abc][]"),
    ("hold", b"\n", b"first\nsecond\n"),
    ("flush", b"\n", b"first\nsecond\n"),
    ("options", b"", b"1 0.5\n"),
    ("error", b"", b"before\n"),
    ("close", b"", b"bye\n"),
    ("closed", b"", b""),
];

/// The handler that has the cases.
const FILES: &str = "tests/guests/files";

fn served(language: &str) -> Server {
    Server::start(serve().arg(build::guest(language, "files").unwrap()), 1).unwrap()
}

/// Sends the name of a case, and what is left of the data after it.
fn begin(stream: &mut TcpStream, case: &str, data: &[u8]) {
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all(&[case.as_bytes(), b"\n", data].concat()).unwrap();
}

/// Runs a case to its end, and returns what the client receives.
fn run(mut stream: TcpStream, case: &str, data: &[u8]) -> Vec<u8> {
    begin(&mut stream, case, data);
    // The server may have closed the connection already.
    let _ = stream.shutdown(Shutdown::Write);
    read_to_end(&mut stream)
}

/// Returns the languages that have a handler, by its path without an extension.
fn languages(handler: &str) -> impl Iterator<Item = &'static str> {
    let file = build::root().join(handler);
    let has_file = move |(_, end): &(&str, &'static str)| file.with_extension(end).is_file();
    LANGUAGES.into_iter().filter(has_file).map(|(language, _)| language)
}

/// Calls a function for each language that has a case, with a server of it.
fn in_each_language(case: &str, mut test: impl FnMut(&str, &mut Server)) {
    for language in languages(FILES).filter(|language| has(language, case)) {
        test(language, &mut served(language));
    }
}

#[test]
fn the_files_of_each_language_read_and_write_what_those_of_cpython_do() {
    let reference = Reference::start("files");
    for language in languages(FILES) {
        let server = served(language);
        for (case, data, expected) in CASES.iter().filter(|(case, ..)| has(language, case)) {
            let received = run(server.connect().unwrap(), case, data);
            assert_eq!(received, *expected, "{language}: {case}");
            if let Some(reference) = &reference {
                assert_eq!(run(reference.connect(), case, data), *expected, "CPython: {case}");
            }
        }
    }
}

#[test]
fn the_sample_line_sends_the_line_back_that_cpython_does_in_each_language() {
    let long = [vec![b'l'; 300_000], vec![b'\n']].concat();
    let requests = [&b"one\ntwo\n"[..], b"a\rb\x0bc\n", b"\n", b"no end", b"", &long[..]];
    let ask = |mut stream: TcpStream, data: &[u8]| {
        // The server may answer and close the connection before it has all data.
        let _ = stream.write_all(data);
        let _ = stream.shutdown(Shutdown::Write);
        read_to_end(&mut stream)
    };
    let reference = Reference::start("line");
    for language in languages("guests/line/line") {
        let component = build::guest(language, "line").unwrap();
        let server = Server::start(serve().arg(component), 1).unwrap();
        for data in requests {
            let end = data.iter().position(|byte| *byte == b'\n').map_or(data.len(), |end| end + 1);
            let received = ask(server.connect().unwrap(), data);
            assert!(received == data[..end], "{language}: {:?}", received.get(..20));
            if let Some(reference) = &reference {
                assert!(ask(reference.connect(), data) == data[..end], "CPython");
            }
        }
    }
}

#[test]
fn more_than_a_buffer_is_sent_whole_in_each_language() {
    let mut expected: Vec<u8> = (b'a'..=b'j').flat_map(|letter| [letter; 3000]).collect();
    expected.extend(vec![b'k'; 20000]);
    in_each_language("large", |language, server| {
        let received = run(server.connect().unwrap(), "large", b"");
        assert!(received == expected, "{language}: {} bytes", received.len());
    });
}

#[test]
fn a_buffer_is_sent_by_a_flush_and_by_nothing_else_before_the_end() {
    in_each_language("flush", |language, server| {
        let mut stream = server.connect().unwrap();
        begin(&mut stream, "flush", b"");
        expect(&mut stream, b"first\n");
        let mut stream = server.connect().unwrap();
        begin(&mut stream, "hold", b"");
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(stream.read(&mut [0]).is_err(), "{language}: something was sent");
    });
}

#[test]
fn a_silent_client_is_a_timeout_in_each_language() {
    // A file cannot be read after a timeout, because data may have been lost.
    const AGAIN: &[u8] = b"timed out\ncannot read from timed out object\n";
    in_each_language("silence", |language, server| {
        let mut stream = server.connect().unwrap();
        begin(&mut stream, "silence", b"");
        // C has one error for both, and Go reads again.
        let is_other = matches!(language, "c" | "go");
        let expected = if is_other { &b"timed out\ntimed out\n"[..] } else { AGAIN };
        assert_eq!(read_to_end(&mut stream), expected, "{language}");
    });
    if let Some(reference) = Reference::start("files") {
        let mut stream = reference.connect();
        begin(&mut stream, "silence", b"");
        assert_eq!(read_to_end(&mut stream), AGAIN, "CPython");
    }
}

#[test]
fn an_error_of_the_handler_is_reported_and_what_was_written_is_sent() {
    in_each_language("error", |language, server| {
        assert_eq!(run(server.connect().unwrap(), "error", b""), b"before\n", "{language}");
        let line = server.wait_for_log("Exception").unwrap();
        // A handler in C has the texts of `errno` only.
        let text = if language == "c" { "invalid argument" } else { "on purpose" };
        assert!(line.contains(text), "{language}: {line}");
    });
}

#[test]
fn a_handler_may_close_its_file_and_cannot_write_to_it_then() {
    in_each_language("close", |language, server| {
        let mut stream = server.connect().unwrap();
        begin(&mut stream, "close", b"");
        // A close sends what the buffer has, while the handler goes on.
        expect(&mut stream, b"bye\n");
        stream.write_all(b"\n").unwrap();
        assert_eq!(read_to_end(&mut stream), b"", "{language}");
        assert!(!server.log().iter().any(|line| line.contains("Exception")), "{language}");
        if !has(language, "closed") {
            return;
        }
        assert_eq!(run(server.connect().unwrap(), "closed", b""), b"", "{language}");
        let line = server.wait_for_log("Exception").unwrap();
        assert!(line.contains("write to closed file"), "{language}: {line}");
    });
}

#[test]
fn what_cannot_be_sent_at_the_end_is_the_fault_of_the_client() {
    in_each_language("late", |language, server| {
        let mut stream = server.connect().unwrap();
        begin(&mut stream, "late", b"in the middle of a line");
        expect(&mut stream, b"ready\n");
        reset(stream);
        let line = server.wait_for_log("Exception").unwrap();
        assert!(
            line.contains("broken pipe") && line.contains("blame=\"client\""),
            "{language}: {line}"
        );
        let received = run(server.connect().unwrap(), "read", b"next");
        assert_eq!(received, b"[next][]", "{language}");
    });
}
