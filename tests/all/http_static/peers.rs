//! The sample with its client in Python, with curl, with a browser, and beside the server of
//! Python's `http.server`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use socketserver_tests::build;

use super::{Answer, Client, MODES, Site};

/// Runs a program, and returns what it printed. Returns `None` if it is not installed.
fn output(command: &mut Command) -> Option<Vec<u8>> {
    let Ok(output) = command.output() else {
        println!("skipped: there is no {}", command.get_program().display());
        return None;
    };
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(output.stdout)
}

/// Bytes without a period that is a power of two.
fn data(length: usize) -> Vec<u8> {
    (0..=250_u8).cycle().take(length).collect()
}

#[test]
fn its_client_downloads_a_file_in_parts() {
    for mode in MODES {
        let site = Site::new(mode);
        std::fs::write(site.path("large"), data(1 << 20)).unwrap();
        let mut client = Command::new("python3");
        client.arg(build::root().join("guests/http-static/client.py"));
        client.arg(site.server.address().port().to_string()).arg("/large");
        let Some(printed) = output(&mut client) else { return };
        assert!(printed == data(1 << 20), "{} bytes", printed.len());
    }
}

#[test]
fn curl_accepts_it() {
    for mode in MODES {
        let mut site = Site::new(mode);
        let url = format!("http://{}", site.server.address());
        let curl = |arguments: &[&str], path: &str| {
            let mut command = Command::new("curl");
            command.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "60"]);
            command.args(arguments).arg(format!("{url}{path}"));
            Some(String::from_utf8_lossy(&output(&mut command)?).into_owned())
        };
        let Some(home) = curl(&[], "/") else { return };
        assert_eq!(home, "<p>home");
        let code = ["--output", "/dev/null", "--write-out", "%{http_code}"];
        let get = |arguments: &[&str], path: &str| curl(arguments, path).unwrap();
        assert_eq!(get(&code, "/none"), "404");
        assert_eq!(get(&[&code[..], &["--data", "x=y"]].concat(), "/"), "405");
        assert_eq!(get(&[&code[..], &["--path-as-is"]].concat(), "/../secret.txt"), "404");
        assert_eq!(get(&["--location"], "/folder"), "<p>folder");
        assert_eq!(get(&["--range", "7-"], "/hello.txt"), "world");
        assert_eq!(get(&["--range", "-5"], "/hello.txt"), "world");
        assert_eq!(get(&["--compressed", "--http1.0"], "/hello.txt"), "hello, world");
        let head = get(&["--head"], "/hello.txt");
        assert!(head.contains("Content-Length: 12\r\n"), "{head}");
        let unchanged = [&code[..], &["--time-cond", "Sun, 06 Nov 1994 08:49:37 GMT"]].concat();
        assert_eq!(get(&unchanged, "/hello.txt"), "304");
        // Two files over one connection.
        let twice = format!("{url}/folder/");
        let connects = ["--write-out", " %{num_connects} connections\n"];
        let printed = get(&[&connects[..], &[twice.as_str()]].concat(), "/hello.txt");
        assert_eq!(printed, "<p>folder 1 connections\nhello, world 0 connections\n");
        // A large file, from the place where an earlier download ended.
        let large = data((40 << 20) + 7);
        std::fs::write(site.path("large"), &large).unwrap();
        let copy = site.directory.path().join("copy");
        std::fs::write(&copy, &large[..12345]).unwrap();
        let resumed = ["--continue-at", "-", "--output", copy.to_str().unwrap()];
        assert_eq!(get(&resumed, "/large"), "");
        assert!(std::fs::read(&copy).unwrap() == large, "{mode:?}");
        assert!(site.server.stop().unwrap().success());
        assert!(!site.server.log().iter().any(|line| line.contains("Exception")), "{mode:?}");
    }
}

/// The page has a style, a script, and a part that the script loads.
#[test]
fn a_browser_shows_a_page() {
    let names = ["chromium", "chromium-browser", "chromium-headless-shell", "google-chrome"];
    let version = |name: &&&str| Command::new(name).arg("--version").output().is_ok();
    let Some(browser) = names.iter().find(version) else {
        println!("skipped: there is no browser");
        return;
    };
    let site = Site::new(&[]);
    for (name, content) in [
        (
            "index.html",
            "<!DOCTYPE html><link rel=stylesheet href=style.css><p id=text>no script\
             <script type=module src=script.mjs></script>",
        ),
        ("style.css", "#text { color: rgb(1, 2, 3) }"),
        (
            "script.mjs",
            "const one = await (await fetch('data.json')).json();
             const part = await fetch('data.json', { headers: { Range: 'bytes=1-7' } });
             const again = await fetch('data.json', { cache: 'no-cache' });
             const missing = await fetch('missing');
             const text = document.getElementById('text');
             const results = [getComputedStyle(text).color, one.answer, part.status,
                 await part.text(), again.status, missing.status, location.pathname];
             text.textContent = results.join(' ');",
        ),
        ("data.json", "{\"answer\": 42}"),
    ] {
        std::fs::write(site.path("folder").join(name), content).unwrap();
    }
    let profile = site.directory.path().join("profile");
    let mut command = Command::new(browser);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
    command.args(["--no-proxy-server", "--virtual-time-budget=20000", "--dump-dom"]);
    command.arg(format!("--user-data-dir={}", profile.display()));
    command.arg(format!("http://{}/folder", site.server.address()));
    let page = String::from_utf8(output(&mut command).unwrap()).unwrap();
    let expected = "rgb(1, 2, 3) 42 206 \"answer 200 404 /folder/";
    assert!(page.contains(expected), "{page}");
}

/// `python3 -m http.server`, killed when it is dropped.
struct Python(Child, String);

impl Python {
    /// Returns `None` if there is no Python.
    fn start(site: &Site) -> Option<Python> {
        let mut command = Command::new("python3");
        command.args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"]);
        command.arg(site.path("")).stdout(Stdio::piped()).stderr(Stdio::null());
        let Ok(mut server) = command.env("PYTHONIOENCODING", "utf-8").spawn() else {
            println!("skipped: there is no python3");
            return None;
        };
        let mut ready = String::new();
        BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
        let port = ready.split(' ').skip_while(|word| *word != "port").nth(1).unwrap().to_owned();
        Some(Python(server, port))
    }

    fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        let stream = std::net::TcpStream::connect(format!("127.0.0.1:{}", self.1)).unwrap();
        let mut client = Client(BufReader::new(stream));
        // Python's server speaks HTTP/1.0.
        client.send(&format!("{method} {path} HTTP/1.1\r\nHost: here\r\n{headers}\r\n"));
        client.answer(method == "HEAD")
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // The server may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Each request has the same status, length, type and content from CPython's `http.server`, or
/// the two statuses and the reason stand here.
#[test]
fn the_server_of_python_gives_the_same_answers() {
    let site = Site::new(&[]);
    let Some(python) = Python::start(&site) else { return };
    std::fs::write(site.path("archive.zip"), "zip").unwrap();
    std::fs::write(site.path("PICTURE.PNG"), "png").unwrap();
    for path in [
        "/",
        "/index.html",
        "/hello.txt",
        "/hello.txt?query",
        "/hello.txt#fragment",
        "/empty.txt",
        "/a%20b+c%25.css",
        "/a%20b+c%.css",
        "/gru%C3%9f.json",
        "/no-extension",
        "/PICTURE.PNG",
        "/.hidden",
        "/folder/",
        "/folder/index.html",
        "/alias/",
        "/none",
        "/folder/none",
        "/hello.txt/",
        "/../secret.txt",
        "/folder/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/%252e%252e/secret.txt",
        "/./folder/..//hello.txt",
        "/hello%2etxt",
        "/folder%2findex.html",
    ] {
        for method in ["GET", "HEAD"] {
            for headers in ["", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n"] {
                let here = site.connect().ask(method, path, headers);
                let there = python.ask(method, path, headers);
                assert_eq!(here.status, there.status, "{method} {path} {headers}");
                if here.status == 200 {
                    assert_eq!(here.body, there.body, "{method} {path}");
                    for name in ["Content-Length", "Content-Type", "Last-Modified"] {
                        assert_eq!(here.header(name), there.header(name), "{method} {path} {name}");
                    }
                }
            }
        }
    }
    for (method, path, headers, here, there, _reason) in [
        ("GET", "/bare/", "", 404, 200, "directories are not listed"),
        ("GET", "/link", "", 404, 200, "no link leads out of the directory"),
        ("GET", "/hello.txt", "Range: bytes=0-4\r\n", 206, 200, "Python has no ranges"),
        ("GET", "/hello.txt", "If-None-Match: *\r\n", 304, 200, "Python has no etags"),
        ("POST", "/", "", 405, 501, "RFC 9110: the method is known, and not allowed"),
        ("GET", "/%ff", "", 400, 404, "paths of WASI are text"),
        ("GET", "http://here/", "", 200, 404, "RFC 9112: servers accept a whole URL"),
    ] {
        assert_eq!(site.connect().ask(method, path, headers).status, here, "{method} {path}");
        assert_eq!(python.ask(method, path, headers).status, there, "{method} {path}");
    }
}
