//! The page in a real browser.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use super::{Monitored, connect};
use crate::client::{ask, read_to_end};
use crate::fixture::Fixture;
use crate::tls::Certificates;

/// An error of a handler that is HTML. The page must show it as it stands.
const HTML: &str = "<img src=x onerror=document.title='broken'><b>bold</b>";

fn browser() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "chromium-headless-shell", "google-chrome"];
    let found = names.into_iter().find(|name| Command::new(name).arg("--version").output().is_ok());
    if found.is_none() {
        println!("skipped: there is no browser");
    }
    found
}

fn command(browser: &str, profile: &Path) -> Command {
    let mut command = Command::new(browser);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
    command.args(["--no-proxy-server", "--disable-background-networking", "--disable-sync"]);
    command.args(["--disable-component-update", "--no-first-run", "--virtual-time-budget=4000"]);
    command.arg(format!("--user-data-dir={}", profile.display()));
    command
}

#[test]
fn the_page_shows_the_server_and_runs_nothing_of_a_handler() {
    let Some(browser) = browser() else { return };
    let address = super::free();
    let data = format!("(data (i32.const 4096) \"{HTML}\")");
    let fails = Fixture {
        handle: &format!(
            "(call $sendall (i32.const 100) (i32.const 2)) (call $recv (i32.const 1))
             (return (call $error (i32.const 4096) (i32.const {})))",
            HTML.len()
        ),
        fields: &data,
        ..super::HANDLER
    };
    let certificates = Certificates::new();
    certificates.issue_expired("late");
    let metrics = ["--metrics".to_owned(), format!("tcp://{address}")];
    let tls = ["server", "late"].map(|name| certificates.options(name));
    let options = [&metrics[..], &tls.concat()].concat();
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    let served = fails.serve_at(&["tcp://127.0.0.1:0", "tls://127.0.0.1:0"], &options);
    let monitored = Monitored { served, address };
    for _ in 0..20 {
        assert_eq!(ask(&monitored.served.server, b"-"), b"ok");
    }
    let mut failing = monitored.client();
    failing.write_all(b"x").unwrap();
    assert_eq!(read_to_end(&mut failing), b"");
    let waiting = monitored.client();
    let peer = waiting.local_addr().unwrap().to_string();
    let profile = tempfile::tempdir().unwrap();
    let url = format!("http://{address}/");
    let output = command(browser, profile.path()).arg("--dump-dom").arg(&url).output().unwrap();
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    for shown in [
        "<h2>fixture</h2>",
        "20 done, 1 error",
        &*peer,
        "Requests per second",
        "<polyline",
        ">29 days</span>",
        ">expired</span>",
    ] {
        assert!(page.contains(shown), "{shown}\n{page}");
    }
    assert!(page.contains("&lt;img src=x onerror"), "{page}");
    assert!(!page.contains("<img") && !page.contains("<title>broken"), "{page}");
    if let Some(path) = std::env::var_os("SCREENSHOT") {
        let mut command = command(browser, profile.path());
        command.arg(format!("--screenshot={}", path.display())).arg("--window-size=1100,640");
        assert!(command.arg(&url).output().unwrap().status.success());
    }
    drop(connect(address));
}
