//! Handlers in Python and JavaScript: what they get of the host is the host's decision.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use socketserver_tests::build;
use socketserver_tests::process::Server;

use crate::client::ask;
use crate::fixture::{MODES, serve};

/// Serves the handler `probe` of a language.
fn probe(language: &str, options: &[&str]) -> Server {
    let handler = build::guest(language, "probe").unwrap();
    Server::start(serve().arg(handler).args(options), 1).unwrap()
}

fn answer(server: &Server, word: &str) -> String {
    String::from_utf8(ask(server, word.as_bytes())).unwrap()
}

#[test]
fn the_handler_of_python_s_documentation_prints_to_the_log() {
    let handler = build::guest("python", "documented").unwrap();
    for mode in MODES {
        let mut server = Server::start(serve().arg(&handler).args(mode), 1).unwrap();
        assert_eq!(ask(&server, b"hello world\n"), b"HELLO WORLD\n", "{mode:?}");
        server.wait_for_log("INFO guest: \"Received from 127.0.0.1:\"").unwrap();
        server.wait_for_log("INFO guest: \"hello world\"").unwrap();
        assert!(server.stop().unwrap().success());
        let failed = server.log().iter().any(|line| line.contains("Exception"));
        assert!(!failed, "{:#?}", server.log());
    }
}

#[test]
fn random_numbers_differ_between_requests_and_restarts() {
    for language in ["python", "javascript"] {
        for mode in MODES {
            let mut seen = Vec::new();
            for _ in 0..2 {
                let server = probe(language, mode);
                for _ in 0..3 {
                    seen.extend(answer(&server, "random").split(' ').map(str::to_owned));
                }
            }
            let count = seen.len();
            seen.sort();
            seen.dedup();
            assert_eq!(seen.len(), count, "{language} {mode:?}: {seen:?}");
        }
    }
}

#[test]
fn scripts_know_the_time() {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    for (language, second) in [("python", 1.0), ("javascript", 1000.0)] {
        let server = probe(language, &[]);
        let before = now();
        let said = answer(&server, "time");
        let (time, slept) = said.split_once(' ').unwrap_or((&said, "0.01"));
        let time = time.parse::<f64>().unwrap() / second;
        // JavaScript's clock has milliseconds.
        assert!(before - 0.001 <= time && time <= now(), "{language}: {said}");
        assert!(slept.parse::<f64>().unwrap() >= 0.01, "{language}: {said}");
    }
}

#[test]
fn python_sees_the_environment_that_is_granted_and_no_other() {
    assert_eq!(answer(&probe("python", &[]), "environ"), "[]");
    assert_eq!(answer(&probe("python", &[]), "argv"), "[]");
    let granted = probe("python", &["--env", "A=b"]);
    assert_eq!(answer(&granted, "environ"), "[('A', 'b')]");
}

#[test]
fn python_opens_files_of_granted_directories_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("note"), "of the host").unwrap();
    let granted = format!("{}::/data", folder.path().display());
    let server = probe("python", &["--dir", &granted]);
    assert_eq!(answer(&server, "read /data/note"), "of the host");
    assert_eq!(answer(&server, "list /data"), "['note']");
    assert_eq!(answer(&server, "write /data/new"), "7");
    assert_eq!(fs::read_to_string(folder.path().join("new")).unwrap(), "written");
    assert_eq!(answer(&server, "read /data/none"), "FileNotFoundError");
    assert_eq!(answer(&server, "read /etc/passwd"), "FileNotFoundError");
    assert_eq!(answer(&server, "read /data/../etc/passwd"), "PermissionError");
    // Without a grant there is no directory at all, and nothing of the machine that built it.
    let server = probe("python", &[]);
    for path in ["/data/note", "/etc/passwd", "/python/os.py", "/0/probe.py", "note"] {
        assert_eq!(answer(&server, &format!("read {path}")), "FileNotFoundError", "{path}");
    }
    let server = probe("python", &["--dir", &format!("{granted}:ro")]);
    assert_eq!(answer(&server, "read /data/note"), "of the host");
    assert_ne!(answer(&server, "write /data/note"), "7");
    assert_eq!(fs::read_to_string(folder.path().join("note")).unwrap(), "of the host");
}

#[test]
fn python_opens_no_socket() {
    let server = probe("python", &[]);
    let port = server.address().port();
    assert_eq!(answer(&server, &format!("connect {port}")), "PermissionError");
}

#[test]
fn python_knows_its_client_as_python_does() {
    let server = probe("python", &[]);
    let mut stream = server.connect().unwrap();
    let address = stream.local_addr().unwrap().to_string();
    std::io::Write::write_all(&mut stream, b"client").unwrap();
    assert_eq!(crate::client::read_to_end(&mut stream), address.as_bytes());
}

#[test]
fn python_exits_and_logs_exceptions_as_python_does() {
    let mut server = probe("python", &[]);
    assert_eq!(answer(&server, "exit"), "");
    assert_eq!(answer(&server, "log"), "done");
    server.wait_for_log("WARN guest: \"WARNING:root:logged\"").unwrap();
    server.wait_for_log("INFO guest: \"printed\"").unwrap();
    let failed = server.log().iter().any(|line| line.contains("Exception occurred"));
    assert!(!failed, "{:#?}", server.log());
    assert_eq!(answer(&server, "fail"), "");
    server.wait_for_log("WARN guest: \"Traceback (most recent call last):\"").unwrap();
    let line = server.wait_for_log("Exception occurred").unwrap();
    assert!(line.contains("ValueError: as asked") && line.contains("reason=\"error\""), "{line}");
}

#[test]
fn the_console_of_javascript_is_the_log() {
    let mut server = probe("javascript", &[]);
    assert_eq!(answer(&server, "log"), "done");
    server.wait_for_log("INFO guest: \"printed {\\\"a\\\":[1]}\"").unwrap();
    server.wait_for_log("ERROR guest: \"an error\"").unwrap();
}
