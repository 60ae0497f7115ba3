//! `/metrics` as Prometheus reads it: the parsers of its official client library in Python.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::UdpSocket;
use std::process::{Command, Stdio};

use socketserver_tests::build::root;
use socketserver_tests::process::wait_until;

use super::up::Up;
use super::{HANDLER, free, get, sample};
use crate::client::{ask, connect_from, read_to_end};
use crate::fixture::{DATAGRAM, MODES};
use crate::python_packages::install;

/// Returns the names of the families, after the checks of `strict.py`.
pub fn families(metrics: &str) -> BTreeSet<String> {
    let packages = install("prometheus", "prometheus_client", &["prometheus-client==0.26.0"]);
    let mut python = Command::new("python3");
    python.arg(root().join("tests/all/monitor/strict.py")).env("PYTHONPATH", packages);
    python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut python = python.spawn().unwrap();
    python.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}\n{metrics}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Returns the names in the table of the page about metrics, and of these the ones that only
/// `up` has.
fn documented() -> (BTreeSet<String>, BTreeSet<String>) {
    let page = fs::read_to_string(root().join("docs/src/serving/metrics.md")).unwrap();
    let (_, section) = page.split_once("\n## Metrics\n").unwrap();
    let (table, _) = section.split_once("\n## ").unwrap();
    let (mut all, mut of_up) = (BTreeSet::new(), BTreeSet::new());
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let (names, content) = row.trim_start_matches("| ").split_once(" | ").unwrap();
        for name in names.split('`').skip(1).step_by(2) {
            let name = format!("socketserver_{name}");
            if content.starts_with("under `up`:") {
                of_up.insert(name.clone());
            }
            assert!(all.insert(name), "{row}");
        }
    }
    (all, of_up)
}

/// A request that succeeds, one that fails, and one that is refused.
#[test]
fn the_strict_parser_of_prometheus_reads_the_metrics_of_each_mode() {
    let (all, of_up) = documented();
    let expected: BTreeSet<_> = all.difference(&of_up).cloned().collect();
    for mode in MODES {
        let monitored = super::Monitored::start(&[&["--deny", "127.0.0.2"], mode].concat());
        assert_eq!(ask(&monitored.served.server, b"-"), b"ok");
        assert_eq!(ask(&monitored.served.server, b"xx"), b"ok");
        let mut refused = connect_from("127.0.0.2", monitored.served.server.address());
        assert_eq!(read_to_end(&mut refused), b"");
        let mut metrics = String::new();
        // What is measured of a request is written when it has ended, a moment after its answer.
        wait_until("the requests have ended", || {
            metrics = monitored.get("/metrics").1;
            [
                (r#"request_duration_seconds_count{handler="fixture"}"#, 2.0),
                (r#"requests_in_flight{handler="fixture"}"#, 0.0),
                (r#"refused_total{handler="fixture",rule="deny"}"#, 1.0),
            ]
            .iter()
            .all(|(name, value)| sample(&metrics, &format!("socketserver_{name}")) == Some(*value))
        });
        assert_eq!(families(&metrics), expected, "{mode:?}\n{metrics}");
    }
}

/// A datagram that is refused, and one that is served.
#[test]
fn the_strict_parser_of_prometheus_reads_the_metrics_of_a_handler_of_datagrams() {
    let metrics_at = free();
    let url = format!("tcp://{metrics_at}");
    let options = ["--metrics", &url, "--deny", "127.0.0.2"];
    let served = DATAGRAM.serve_at(&["udp://127.0.0.1:0"], &options);
    let endpoint = served.server.endpoints()[0].strip_prefix("udp://").unwrap().to_owned();
    for source in ["127.0.0.2:0", "127.0.0.1:0"] {
        UdpSocket::bind(source).unwrap().send_to(b"-", &endpoint).unwrap();
    }
    let mut metrics = String::new();
    wait_until("the datagram was a request", || {
        metrics = get(metrics_at, "/metrics").1;
        let count = r#"socketserver_request_duration_seconds_count{handler="fixture"}"#;
        sample(&metrics, count) > Some(0.0)
    });
    let refused = r#"socketserver_refused_total{handler="fixture",rule="deny"}"#;
    assert_eq!(sample(&metrics, refused), Some(1.0));
    assert!(families(&metrics).contains("socketserver_datagrams_dropped_total"), "{metrics}");
}

/// Two handlers, with requests of each, and reloads of which one fails.
#[test]
fn the_strict_parser_of_prometheus_reads_the_metrics_of_up() {
    let up = Up::start();
    up.ask(0);
    up.ask(1);
    up.folder.write("h.wat", HANDLER.text() + " ");
    up.reload();
    up.ask(0);
    up.folder.write("h.wat", "no");
    up.reload();
    let mut metrics = String::new();
    wait_until("all was counted", || {
        metrics = get(up.metrics, "/metrics").1;
        [
            (r#"request_duration_seconds_count{handler="one"}"#, 2.0),
            (r#"request_duration_seconds_count{handler="two"}"#, 1.0),
            ("reloads_failed_total", 1.0),
            ("processes_ending", 0.0),
        ]
        .iter()
        .all(|(name, value)| sample(&metrics, &format!("socketserver_{name}")) == Some(*value))
    });
    assert_eq!(families(&metrics), documented().0, "{metrics}");
}
