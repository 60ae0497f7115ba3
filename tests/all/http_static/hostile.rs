//! Clients that do not speak HTTP, or speak it without an end.

use std::io::{ErrorKind, Write};

use super::{Client, Site};

/// Sends a request, and returns the status of the answer. The connection ends after it.
fn refused(site: &Site, request: &str) -> u16 {
    let mut client = site.connect();
    client.send(request);
    let answer = client.answer(false);
    assert_eq!(answer.header("Connection"), Some("close"), "{request:.100}");
    assert_eq!(client.rest(), b"", "{request:.100}");
    answer.status
}

#[test]
fn what_is_no_request_ends_the_connection() {
    let mut site = Site::new(&[]);
    let many_headers = "A: b\r\n".repeat(65);
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nnot a header\r\n\r\n", 400),
        ("GET /\r\n\r\n", 400),
        ("GET /two words HTTP/1.1\r\n\r\n", 505),
        ("GET / HTTP/2.0\r\n\r\n", 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", 400),
        (&format!("GET / HTTP/1.1\r\n{many_headers}\r\n"), 431),
        // The content of a request is not taken for a request.
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 33\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            405,
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nGET", 200),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 3\r\n\r\nGET", 200),
        ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200),
    ] {
        assert_eq!(refused(&site, request), status, "{request}");
    }
    site.server.stop().unwrap();
    assert!(!site.server.log().iter().any(|line| line.contains("Exception")));
}

/// Sends until the connection ends, and returns how much was taken.
fn flood(client: &mut Client, part: &[u8]) -> usize {
    let mut sent = 0;
    loop {
        match client.0.get_mut().write_all(part) {
            Ok(()) => sent += part.len(),
            Err(error) => {
                let kind = error.kind();
                let ended = matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset);
                assert!(ended, "{error}");
                return sent;
            }
        }
    }
}

#[test]
fn a_head_without_an_end_has_an_end() {
    let site = Site::new(&[]);
    let long = |begin: &str, length: usize| format!("{begin}{}", "a".repeat(length));
    assert_eq!(refused(&site, &long("GET /", 1 << 20)), 414);
    assert_eq!(refused(&site, &long("GET / HTTP/1.1\r\nHost: a\r\nA: ", 1 << 20)), 431);
    // The limit is above what clients send.
    let header = long("A: ", 15_000) + "\r\n";
    assert_eq!(site.get("/hello.txt", &header).status, 200);
    for begin in ["", "GET / HTTP/1.1\r\nHost: a\r\n"] {
        let mut client = site.connect();
        client.send(begin);
        // The buffers of the connection hold some megabytes.
        assert!(flood(&mut client, b"Aaaaaaaa: aaaaaaaaaaaaa\r\n") < 64 << 20);
        assert_eq!(site.get("/hello.txt", "").status, 200);
    }
}

/// A client that sends nothing, or half of a head, is ended by the handler, which is no failure.
#[test]
fn a_slow_client_is_ended() {
    let mut site = Site::new(&[]);
    let silent = site.connect();
    let mut idle = site.connect();
    assert_eq!(idle.ask("GET", "/hello.txt", "").status, 200);
    let mut halfway = site.connect();
    halfway.send("GET / HTTP/1.1\r\n");
    assert_eq!(halfway.answer(false).status, 408);
    for client in [silent, idle, halfway] {
        assert_eq!(client.rest(), b"");
    }
    assert_eq!(site.get("/hello.txt", "").status, 200);
    site.server.stop().unwrap();
    assert!(!site.server.log().iter().any(|line| line.contains("Exception")));
}

/// A client that always sends something is ended by the server.
#[test]
fn a_client_that_drips_is_ended() {
    let mut site = Site::new(&["--wall-time", "1s"]);
    let mut dripping = site.connect();
    dripping.send("GET / HTTP/1.1\r\nA: ");
    let end = std::thread::spawn(move || {
        while dripping.0.get_mut().write_all(b"a").is_ok() {
            // A pace, and not a wait for something: the head is not to be too long.
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    });
    let line = site.server.wait_for_log("Exception occurred").unwrap();
    assert!(line.contains("reason=\"wall-time\""), "{line}");
    end.join().unwrap();
    assert_eq!(site.get("/hello.txt", "").status, 200);
}

/// A client that takes nothing holds its own request only, until a limit ends it.
#[test]
fn a_client_that_does_not_read_is_ended() {
    let mut site = Site::new(&["--idle-timeout", "1s"]);
    let large = std::fs::File::create(site.path("large")).unwrap();
    large.set_len(64 << 20).unwrap();
    let mut client = site.connect();
    client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(site.get("/hello.txt", "").status, 200);
    let line = site.server.wait_for_log("Exception occurred").unwrap();
    assert!(line.contains("reason=\"idle-timeout\""), "{line}");
}

/// The answer for a file that becomes shorter has no end that looks complete.
#[test]
fn a_file_that_becomes_shorter_ends_the_connection() {
    let site = Site::new(&[]);
    let large = std::fs::File::create(site.path("large")).unwrap();
    large.set_len(64 << 20).unwrap();
    let mut client = site.connect();
    client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    // The server cannot send all: the client does not read yet.
    let mut first = [0; 1];
    std::io::Read::read_exact(&mut client.0, &mut first).unwrap();
    large.set_len(16 << 20).unwrap();
    let rest = client.rest();
    assert!(rest.len() < 17 << 20, "{}", rest.len());
    assert!(!rest.ends_with(b"<p>home"), "the next response took the place of the rest");
    assert_eq!(site.get("/hello.txt", "").status, 200);
}
