//! `StreamRequestHandler` in a component, as the client sees it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use socketserver_tests::build;
use socketserver_tests::process::{Server, TIMEOUT};

use crate::client::{expect, read_to_end};
use crate::fixture::serve;

fn served(name: &str) -> Server {
    Server::start(serve().arg(build::guest("rust", name).unwrap()), 1).unwrap()
}

#[test]
fn b65_without_a_buffer_each_write_is_sent_at_once() {
    let server = served("wbuf0");
    let mut stream = server.connect().unwrap();
    expect(&mut stream, b"first\n");
    stream.write_all(b"go on\n").unwrap();
    assert_eq!(read_to_end(&mut stream), b"second\n");
}

#[test]
fn b66_with_a_buffer_nothing_is_sent_before_finish() {
    let server = served("wbufd");
    let mut stream = server.connect().unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(stream.read(&mut [0; 1]).is_err(), "something was sent");
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all(b"go on\n").unwrap();
    assert_eq!(read_to_end(&mut stream), b"first\nsecond\n");
}

#[test]
fn b69_the_timeout_of_the_class_ends_a_silent_client() {
    let mut server = served("idle");
    let mut silent = server.connect().unwrap();
    assert_eq!(read_to_end(&mut silent), b"");
    let line = server.wait_for_log("Exception").unwrap();
    assert!(line.contains("timed out"), "{line}");
    let mut quick = server.connect().unwrap();
    quick.write_all(b"in time\n").unwrap();
    assert_eq!(read_to_end(&mut quick), b"in time\n");
}

#[test]
fn b71_lines_end_with_lf_only_and_what_is_left_is_a_line() {
    let server = served("line");
    for (sent, line) in [
        (&b"one\ntwo\n"[..], &b"one\n"[..]),
        (b"a\rb\x0bc\n", b"a\rb\x0bc\n"),
        (b"\n", b"\n"),
        (b"no end", b"no end"),
        (b"", b""),
    ] {
        assert_eq!(crate::client::ask(&server, sent), line);
    }
}

#[test]
fn b72_a_reset_while_writing_is_reported_and_the_server_goes_on() {
    let mut server = served("wbuf0");
    for _ in 0..20 {
        let stream: TcpStream = server.connect().unwrap();
        crate::client::reset(stream);
    }
    let mut stream = server.connect().unwrap();
    expect(&mut stream, b"first\n");
    stream.write_all(b"\n").unwrap();
    assert_eq!(read_to_end(&mut stream), b"second\n");
    let errors = server.log().iter().filter(|line| line.contains("blame=\"guest\"")).count();
    assert_eq!(errors, 0, "a client's fault was taken for the guest's");
}
