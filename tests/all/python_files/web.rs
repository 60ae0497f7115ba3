//! Servers of HTTP: those of CPython's library, and frameworks on them.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use socketserver_tests::process::Server;

use super::{Both, TCP, ask, file, here};
use crate::python_packages::install;

/// Returns an answer without the headers that differ: those with the time and the version.
fn plain(answer: &str) -> String {
    let lines = answer.split_inclusive('\n');
    lines.filter(|line| !line.starts_with("Date:") && !line.starts_with("Server:")).collect()
}

fn same(both: &Both, request: &[u8]) -> String {
    let [expected, answer] = [&both.cpython, &both.here].map(|it| plain(&ask(it, request)));
    assert_eq!(answer, expected, "{}", String::from_utf8_lossy(request));
    answer
}

#[test]
fn http_server_serves_a_directory_and_forms() {
    let site = tempfile::tempdir().unwrap();
    fs::write(site.path().join("index.html"), "<h1>front</h1>").unwrap();
    fs::create_dir(site.path().join("data")).unwrap();
    fs::write(site.path().join("data/table.csv"), "a,b\n".repeat(20_000)).unwrap();
    let granted = format!("{}::/0:ro", site.path().display());
    let here = here("web.py", &[&TCP[..], &["--dir", &granted]].concat());
    let mut cpython = Command::new("python3");
    cpython.arg(file("launch.py")).arg(file("web.py")).current_dir(site.path());
    let cpython = Server::start_logging_to(Stdio::null(), &mut cpython, 1).unwrap();
    let mut both = Both { cpython, here };
    let answer = both.answer(b"GET / HTTP/1.0\r\n\r\n");
    assert!(answer.ends_with("\r\n\r\n<h1>front</h1>"), "{answer}");
    let answer = both.answer(b"HEAD /data/table.csv HTTP/1.0\r\n\r\n");
    assert!(answer.contains("Content-type: text/csv\r\nContent-Length: 80000\r\n"), "{answer}");
    // A connection that is kept for three requests.
    let answer = both.answer(
        b"GET /data/table.csv HTTP/1.1\r\nHost: a\r\n\r\n\
        POST /form?x=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nword=a+b&n=\
        GET /data HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    assert!(answer.contains(r#"{"path": "/form?x=1", "form": {"word": ["a b"]}}"#), "{answer}");
    assert!(answer.contains("HTTP/1.1 301 Moved Permanently\r\n"), "{answer}");
    for request in [&b"GET /none HTTP/1.0\r\n\r\n"[..], b"GET /../../etc/passwd HTTP/1.0\r\n\r\n"] {
        assert!(ask(&both.here, request).starts_with("HTTP/1.1 404 File not found\r\n"));
    }
    // The log of accesses is information.
    let line = both.here.wait_for_log("GET / HTTP/1.0").unwrap();
    assert!(line.contains("INFO guest") && line.contains("200 -"), "{line}");
}

#[test]
fn an_application_of_wsgi_runs_with_its_checks() {
    let mut both = Both::start("wsgi.py", &TCP);
    let answer = same(&both, b"GET /a%20b?c=d HTTP/1.1\r\nHost: x\r\nX-Word: w\r\n\r\n");
    assert!(answer.ends_with("GET\n/a b\nc=d\nHTTP/1.1\n127.0.0.1\nw\nb''\n"), "{answer}");
    let answer = same(&both, b"PUT / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc");
    assert!(answer.ends_with("127.0.0.1\nnone\nb'abc'\n"), "{answer}");
    let answer = same(&both, b"GET /fail HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.0 500 Internal Server Error\r\n"), "{answer}");
    both.here.wait_for_log("Traceback (most recent call last):").unwrap();
    both.here.wait_for_log("File \\\"wsgi.py\\\", line").unwrap();
    both.here.wait_for_log("RuntimeError: as asked").unwrap();
}

#[test]
fn functions_are_called_over_xmlrpc() {
    let both = Both::start("rpc.py", &TCP);
    let client = "import sys, xmlrpc.client\n\
        server = xmlrpc.client.ServerProxy('http://127.0.0.1:' + sys.argv[1], allow_none=True)\n\
        print(server.pow(2, 9), server.add('a', 'b'), server.mul(5, 2.5), server.day('29.2.2024'))\n\
        print(server.exact('1'), server.system.listMethods())\n\
        multi = xmlrpc.client.MultiCall(server)\n\
        try:\n    server.fail()\n\
        except xmlrpc.client.Fault as fault:\n    print(fault)\n\
        try:\n    xmlrpc.client.ServerProxy('http://127.0.0.1:' + sys.argv[1] + '/other').pow(1, 2)\n\
        except xmlrpc.client.ProtocolError as error:\n    print(error.errcode)\n";
    let [expected, printed] = [&both.cpython, &both.here].map(|server| {
        let port = server.address().port().to_string();
        let client = Command::new("python3").args(["-c", client, &port]).output().unwrap();
        String::from_utf8(client.stdout).unwrap()
    });
    assert_eq!(printed, expected);
    let begin = "512 ab 12.5 Thursday\n0.3333333333333333333333333333 ['add', 'day', 'exact'";
    assert!(printed.starts_with(begin), "{printed}");
    assert!(printed.ends_with("KeyError'>:'as asked'\">\n404\n"), "{printed}");
}

#[test]
fn applications_of_flask_and_bottle_run_from_a_folder_of_packages() {
    let packages = install("packages", "flask", &["flask==3.1.3", "bottle==0.13.4"]);
    let mut here = here("apps.py", &[&TCP[..], &["--python-path", &packages]].concat());
    let mut cpython = Command::new("python3");
    cpython.arg(file("launch.py")).arg(file("apps.py")).env("PYTHONPATH", &packages);
    let cpython = Server::start_logging_to(Stdio::null(), &mut cpython, 1).unwrap();
    let ask_same = |request: &[u8]| {
        let [expected, answer] = [&cpython, &here].map(|it| plain(&ask(it, request)));
        assert_eq!(answer, expected);
        answer
    };
    let answer = ask_same(b"GET /small/hello/%3Cyou%3E HTTP/1.0\r\n\r\n");
    assert!(answer.ends_with("Hello <b>&lt;you&gt;</b>!"), "{answer}");
    let post = |path: &str, kind: &str, body: &str| {
        let length = body.len();
        format!(
            "POST {path} HTTP/1.0\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    let answer = ask_same(post("/small/sum", "application/json", "[1, 2, 3.5]").as_bytes());
    assert!(answer.ends_with(r#"{"sum": 6.5}"#), "{answer}");
    let answer = ask_same(b"GET /large/hello/a%26b HTTP/1.0\r\n\r\n");
    assert!(answer.ends_with("<p>A&amp;B at /large/hello/a&amp;b"), "{answer}");
    // The session cookie has the time in it.
    let form = post("/large/visit", "application/x-www-form-urlencoded", "a=1&b=%C3%BC");
    let answer = ask(&here, form.as_bytes());
    assert!(answer.contains("Set-Cookie: session=ey"), "{answer}");
    assert!(
        answer.ends_with("{\"form\":{\"a\":\"1\",\"b\":\"\\u00fc\"},\"visits\":1}\n"),
        "{answer}"
    );
    let answer = ask_same(b"GET /large/fail HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.0 500 INTERNAL SERVER ERROR\r\n"), "{answer}");
    let line = here.wait_for_log("LookupError: as asked").unwrap();
    assert!(line.contains("ERROR guest"), "{line}");
    let mut stream = here.connect().unwrap();
    stream.write_all(b"\r\n").unwrap();
}
