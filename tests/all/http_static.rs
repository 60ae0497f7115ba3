//! The sample `http-static`: conversations over sockets. `peers` has real clients and servers.

mod hostile;
mod peers;

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, UNIX_EPOCH};

use socketserver_tests::build;
use socketserver_tests::process::Server;
use tempfile::TempDir;

use crate::fixture::{MODES, serve};

/// The content of a file beside the directory that is served.
const SECRET: &str = "the secret beside the directory";
/// The time of `hello.txt`: half a second after Sun, 06 Nov 1994 08:49:37 GMT.
const MODIFIED: Duration = Duration::from_millis(784_111_777_500);

/// A server of a directory `site`.
struct Site {
    server: Server,
    directory: TempDir,
}

impl Site {
    fn new(options: &[&str]) -> Site {
        Site::within(tempfile::tempdir().unwrap(), options)
    }

    fn within(directory: TempDir, options: &[&str]) -> Site {
        fs::write(directory.path().join("secret.txt"), SECRET).unwrap();
        let site = directory.path().join("site");
        fs::create_dir_all(site.join("folder")).unwrap();
        fs::create_dir(site.join("bare")).unwrap();
        for (name, content) in [
            ("index.html", "<p>home"),
            ("hello.txt", "hello, world"),
            ("empty.txt", ""),
            ("a b+c%.css", "p {}"),
            ("gruß.json", "{}"),
            ("no-extension", "?"),
            ("folder/index.html", "<p>folder"),
            (".hidden", "seen"),
        ] {
            fs::write(site.join(name), content).unwrap();
        }
        let hello = fs::File::options().write(true).open(site.join("hello.txt")).unwrap();
        hello.set_modified(UNIX_EPOCH + MODIFIED).unwrap();
        std::os::unix::fs::symlink("../secret.txt", site.join("link")).unwrap();
        std::os::unix::fs::symlink("folder", site.join("alias")).unwrap();
        let mut command = serve();
        command.arg(build::guest("rust", "http-static").unwrap()).args(options);
        command.args(["--dir", &format!("{}::/srv:ro", site.display())]);
        Site { server: Server::start(&mut command, 1).unwrap(), directory }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join("site").join(name)
    }

    fn connect(&self) -> Client {
        Client(BufReader::new(self.server.connect().unwrap()))
    }

    /// Asks for a path on a connection of its own.
    fn get(&self, path: &str, headers: &str) -> Answer {
        self.connect().ask("GET", path, headers)
    }
}

struct Client(BufReader<TcpStream>);

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(one, _)| one.eq_ignore_ascii_case(name));
        let found = named.next();
        assert!(named.next().is_none(), "{name} occurs twice");
        found.map(|(_, value)| value.as_str())
    }
}

impl Client {
    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn ask(&mut self, method: &str, path: &str, headers: &str) -> Answer {
        self.send(&format!("{method} {path} HTTP/1.1\r\nHost: here\r\n{headers}\r\n"));
        self.answer(method == "HEAD")
    }

    /// Reads one response.
    fn answer(&mut self, only_head: bool) -> Answer {
        let mut line = || {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            line.strip_suffix("\r\n").map(ToOwned::to_owned)
        };
        let first = line().unwrap_or_default();
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let mut answer = Answer {
            status: status.unwrap_or_else(|| panic!("no status in `{first}`")),
            headers: Vec::new(),
            body: Vec::new(),
        };
        while let Some(header) = line().filter(|line| !line.is_empty()) {
            let (name, value) = header.split_once(": ").unwrap();
            answer.headers.push((name.to_owned(), value.to_owned()));
        }
        let length = answer.header("Content-Length").map(|length| length.parse().unwrap());
        // Only 304 has no length.
        assert_eq!(length.is_none(), answer.status == 304, "{answer:?}");
        if !only_head {
            answer.body.resize(length.unwrap_or_default(), 0);
            self.0.read_exact(&mut answer.body).unwrap();
        }
        answer
    }

    /// Reads to the end of the connection.
    fn rest(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap();
        rest
    }
}

/// Returns all headers but `Date`: a second may pass between two answers.
fn without_date(headers: Vec<(String, String)>) -> Vec<(String, String)> {
    headers.into_iter().filter(|(name, _)| name != "Date").collect()
}

#[test]
fn a_connection_serves_several_requests() {
    for mode in MODES {
        let site = Site::new(mode);
        let mut client = site.connect();
        for _ in 0..3 {
            let answer = client.ask("GET", "/", "");
            assert_eq!((answer.status, &answer.body[..]), (200, &b"<p>home"[..]), "{mode:?}");
            assert_eq!(answer.header("Content-Type"), Some("text/html"));
            assert_eq!(answer.header("Connection"), None);
            let head = client.ask("HEAD", "/", "");
            assert_eq!(without_date(head.headers), without_date(answer.headers));
            assert_eq!(client.ask("GET", "/none", "").status, 404);
            assert_eq!(client.ask("HEAD", "/none", "").status, 404);
            let answer = client.ask("DELETE", "/", "");
            assert_eq!((answer.status, answer.header("Allow")), (405, Some("GET, HEAD")));
        }
        // Requests in one piece, and one in many.
        let request = "GET /hello.txt HTTP/1.1\r\nhost:here\r\n\r\n";
        client.send(&request.repeat(20));
        for _ in 0..20 {
            assert_eq!(client.answer(false).body, b"hello, world");
        }
        for place in 0..request.len() {
            client.send(&request[place..=place]);
        }
        assert_eq!(client.answer(false).body, b"hello, world");
        let answer = client.ask("GET", "http://here/hello.txt", "Connection: x, Close\r\n");
        assert_eq!(answer.header("Connection"), Some("close"));
        assert_eq!(client.rest(), b"");
        // HTTP/1.0 has one request for each connection, and needs no Host.
        let mut client = site.connect();
        client.send("GET / HTTP/1.0\r\n\r\n");
        assert_eq!(client.answer(false).body, b"<p>home");
        assert_eq!(client.rest(), b"");
    }
}

#[test]
fn a_range_is_a_part_of_the_file() {
    let site = Site::new(&[]);
    for (range, part) in [
        ("bytes=0-4", Some("0-4 hello")),
        ("bytes=7-", Some("7-11 world")),
        ("bytes=-5", Some("7-11 world")),
        ("bytes=0-0", Some("0-0 h")),
        ("bytes=11-11", Some("11-11 d")),
        ("bytes=7-100", Some("7-11 world")),
        ("bytes=-100", Some("0-11 hello, world")),
        ("bytes=0-18446744073709551615", Some("0-11 hello, world")),
        ("bytes=7-99999999999999999999999", Some("7-11 world")),
        ("bytes=-99999999999999999999999", Some("0-11 hello, world")),
        // The file has no such part.
        ("bytes=-0", Some("* ")),
        ("bytes=12-", Some("* ")),
        ("bytes=12-20", Some("* ")),
        ("bytes=18446744073709551615-", Some("* ")),
        ("bytes=99999999999999999999999-99999999999999999999999", Some("* ")),
        // What is no range of bytes, or more than one, is no condition.
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=0", None),
        ("bytes=+1-2", None),
        ("bytes=1-2-3", None),
        ("bytes=a-b", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-4", None),
        ("", None),
    ] {
        let answer = site.get("/hello.txt", &format!("Range: {range}\r\n"));
        let body = String::from_utf8_lossy(&answer.body);
        let content_range = answer.header("Content-Range");
        match part.and_then(|part| part.split_once(' ')) {
            Some((place, text)) => {
                let status = if place == "*" { 416 } else { 206 };
                assert_eq!(answer.status, status, "{range}");
                assert_eq!(content_range, Some(&*format!("bytes {place}/12")), "{range}");
                assert!(text.is_empty() || body == text, "{range}: {body}");
            }
            None => assert_eq!((answer.status, content_range, &*body), (200, None, "hello, world")),
        }
    }
    for range in ["bytes=0-", "bytes=-1"] {
        assert_eq!(site.get("/empty.txt", &format!("Range: {range}\r\n")).status, 416);
    }
    // A range is for GET.
    assert_eq!(site.connect().ask("HEAD", "/hello.txt", "Range: bytes=0-4\r\n").status, 200);
    // As many ranges as fit into a head are one answer.
    let mut ranges = "Range: bytes=0-0".to_owned();
    for place in 1..2000 {
        write!(ranges, ",{place}-").unwrap();
    }
    assert_eq!(site.get("/hello.txt", &(ranges + "\r\n")).body, b"hello, world");
}

#[test]
fn conditions_compare_the_file_with_what_the_client_has() {
    let site = Site::new(&[]);
    let answer = site.get("/hello.txt", "");
    let etag = answer.header("ETag").unwrap();
    assert_eq!(answer.header("Last-Modified"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    for (condition, status) in [
        (format!("If-None-Match: {etag}"), 304),
        (format!("If-None-Match: \"other\", W/{etag}"), 304),
        ("If-None-Match: *".to_owned(), 304),
        ("If-None-Match: \"other\"".to_owned(), 200),
        // The etag decides if there is one.
        (format!("If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\nIf-None-Match: {etag}"), 304),
        (
            "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\nIf-None-Match: \"x\"".to_owned(),
            200,
        ),
        ("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT".to_owned(), 304),
        ("If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT".to_owned(), 304),
        ("If-Modified-Since: Sun Nov  6 08:49:37 1994".to_owned(), 304),
        ("If-Modified-Since: Fri, 31 Dec 9999 23:59:59 GMT".to_owned(), 304),
        ("If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT".to_owned(), 200),
        ("If-Modified-Since: yesterday".to_owned(), 200),
        // A part of this file.
        (format!("Range: bytes=0-4\r\nIf-Range: {etag}"), 206),
        ("Range: bytes=0-4\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT".to_owned(), 206),
        ("Range: bytes=0-4\r\nIf-Range: Sun, 06 Nov 1994 08:49:38 GMT".to_owned(), 200),
        ("Range: bytes=0-4\r\nIf-Range: \"other\"".to_owned(), 200),
        (format!("Range: bytes=0-4\r\nIf-Range: W/{etag}"), 200),
    ] {
        let answer = site.get("/hello.txt", &format!("{condition}\r\n"));
        assert_eq!(answer.status, status, "{condition}");
        assert_eq!(answer.header("ETag"), Some(etag), "{condition}");
    }
    fs::write(site.path("hello.txt"), "hello, earth").unwrap();
    assert_ne!(site.get("/hello.txt", "").header("ETag"), Some(etag));
}

/// Dates of HTTP have years of four digits, and begin in 1970 here.
#[test]
fn a_file_may_have_any_time() {
    // The file systems of disks have no time after the year 2446.
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let site = Site::within(directory.unwrap(), &[]);
    let year = Duration::from_hours(365 * 24);
    let times = [
        UNIX_EPOCH - 60 * year,
        UNIX_EPOCH - Duration::from_nanos(1),
        UNIX_EPOCH,
        UNIX_EPOCH + 400 * year,
        // The year 10,000, and what is left of 64 bits.
        UNIX_EPOCH + Duration::from_hours(70_389_528),
        UNIX_EPOCH + Duration::from_secs(i64::MAX.unsigned_abs()),
    ];
    for time in times {
        let file = fs::File::options().write(true).open(site.path("hello.txt")).unwrap();
        // The file system may have other limits.
        if let Err(error) = file.set_modified(time) {
            println!("{time:?}: {error}");
        }
        for header in ["", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n"] {
            let answer = site.get("/hello.txt", header);
            assert!(matches!(answer.status, 200 | 304), "{time:?}: {answer:?}");
        }
    }
}

#[test]
fn no_path_leads_out_of_the_directory() {
    let site = Site::new(&[]);
    let absolute = site.directory.path().join("secret.txt");
    for (path, status) in [
        ("/../secret.txt", 404),
        ("/folder/../../secret.txt", 404),
        ("/%2e%2e/secret.txt", 404),
        ("/..%2fsecret.txt", 404),
        ("/%252e%252e/secret.txt", 404),
        ("/..%5csecret.txt", 404),
        ("/....//secret.txt", 404),
        ("//../secret.txt", 404),
        (absolute.to_str().unwrap(), 404),
        ("http://here/../secret.txt", 404),
        ("/link", 404),
        ("/bare/", 404),
        ("/hello.txt/", 404),
        ("/hello.txt%00.html", 400),
        ("/%ff", 400),
        ("secret.txt", 400),
        ("*", 400),
        ("ftp://here/", 400),
        // The same path in other words.
        ("/./folder/..//hello.txt", 200),
        ("/hel%6co.txt?query=/../", 200),
        ("/a%20b+c%25.css", 200),
        ("/a%20b+c%.css", 200),
        ("/gru%C3%9f.json", 200),
        ("/.hidden", 200),
        ("/folder/", 200),
        ("/alias/", 200),
        ("/folder/..", 200),
        ("http://here", 200),
        ("http://here?x", 200),
    ] {
        let answer = site.get(path, "");
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(!String::from_utf8_lossy(&answer.body).contains(SECRET), "{path}");
    }
    // A directory has a slash at its end. No path makes the client ask another server.
    fs::create_dir(site.path("\\evil.example")).unwrap();
    fs::create_dir(site.path("two\r\nlines")).unwrap();
    for (path, location) in [
        ("/folder", "/folder/"),
        ("/alias", "/alias/"),
        ("//here/../folder", "/folder/"),
        ("/%5cevil.example", "/%5Cevil.example/"),
        ("/two%0d%0alines", "/two%0D%0Alines/"),
    ] {
        let answer = site.get(path, "");
        assert_eq!((answer.status, answer.header("Location")), (301, Some(location)), "{path}");
    }
}
