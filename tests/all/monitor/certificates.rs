//! The times at which certificates expire: in the metrics, as JSON, on a terminal and in the log.

use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};
use socketserver_tests::build;
use socketserver_tests::process::{Server, wait_until};

use super::{free, get, prometheus, sample};
use crate::configuration::Folder;
use crate::fixture::{MODES, host, serve};
use crate::tls::Certificates;

/// Returns the end of the validity of `NAME.pem` as OpenSSL has it, in seconds since 1970.
fn end(certificates: &Certificates, name: &str) -> u64 {
    let file = certificates.file(&format!("{name}.pem"));
    let mut openssl = Command::new("openssl");
    openssl.args(["x509", "-noout", "-enddate", "-dateopt", "iso_8601", "-in", &file]);
    let output = openssl.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let text = text.trim().strip_prefix("notAfter=").unwrap();
    date(text, "+%s").parse().unwrap()
}

/// Returns a time in another format.
fn date(time: &str, format: &str) -> String {
    let output = Command::new("date").args(["-u", "-d", time, format]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Returns the name of the sample of a certificate.
fn name(certificates: &Certificates, handler: &str, certificate: &str) -> String {
    let file = certificates.file(&format!("{certificate}.pem"));
    format!(
        "socketserver_tls_certificate_not_after_timestamp_seconds{{handler=\"{handler}\",certificate=\"{file}\"}}"
    )
}

#[allow(clippy::cast_precision_loss, reason = "Prometheus has floating-point numbers only")]
fn as_float(seconds: u64) -> f64 {
    seconds as f64
}

/// A certificate writes times before 2050 in another way than later ones.
#[test]
fn the_monitor_of_a_server_says_what_openssl_says() {
    let certificates = Certificates::new();
    certificates.issue_expired("late");
    certificates.issue_for_days("far", 2_900_000);
    let names = ["server", "late", "far"];
    let ends = names.map(|name| end(&certificates, name));
    for mode in [MODES[1], MODES[2]] {
        let address = free();
        let mut command = serve();
        command.arg(build::guest("rust", "upper").unwrap()).args(mode);
        command.args(["--metrics", &format!("tcp://{address}")]);
        command.args(names.map(|name| certificates.options(name)).concat());
        let _server = Server::start(&mut command, 1).unwrap();
        let metrics = get(address, "/metrics").1;
        let status: Value = serde_json::from_str(&get(address, "/status").1).unwrap();
        for (at, each) in names.into_iter().enumerate() {
            let shown = sample(&metrics, &name(&certificates, "upper", each));
            assert_eq!(shown, Some(as_float(ends[at])), "{mode:?} {each}: {metrics}");
            assert_eq!(
                status["handlers"][0]["certificates"][at],
                json!({"file": certificates.file(&format!("{each}.pem")), "not_after": ends[at]}),
                "{mode:?}: {status}"
            );
        }
        let families = prometheus::families(&metrics);
        assert!(families.contains("socketserver_tls_certificate_not_after_timestamp_seconds"));
    }
}

#[test]
fn a_reload_shows_the_new_certificate_and_a_terminal_shows_it_too() {
    let (folder, certificates) = (Folder::new(), Certificates::new());
    let (address, metrics) = (free(), free());
    folder.copy("upper", "h.wasm");
    certificates.issue_for_days("h", 1);
    let [pem, key] = ["h.pem", "h.key"].map(|name| certificates.file(name));
    folder.write(
        "c.toml",
        format!(
            "version = 1\n[server]\ncontrol = \"control\"\nmetrics = \"tcp://{metrics}\"\n\
             [handler.h]\nsource = \"h.wasm\"\nbind = \"tls://{address}\"\n\
             tls-cert = \"{pem}\"\ntls-key = \"{key}\"\n"
        ),
    );
    let ask = |word: &str| {
        let mut command = host();
        command.arg(word).arg("--control").arg(folder.path("control")).output().unwrap()
    };
    let shown = || sample(&get(metrics, "/metrics").1, &name(&certificates, "h", "h"));
    let mut server = Server::start(host().arg("up").arg(folder.path("c.toml")), 1).unwrap();
    wait_until("the handler serves", || get(metrics, "/readyz").0 == 200);
    let first = end(&certificates, "h");
    assert_eq!(shown(), Some(as_float(first)));
    let log = format!("the certificate `{pem}` expires at ");
    server.wait_for_log(&log).unwrap();
    let text = String::from_utf8(ask("status").stdout).unwrap();
    let time = date(&format!("@{first}"), "+%Y-%m-%dT%H:%M:%SZ");
    let line = format!("the certificate `{pem}` expires at {time}, in 2");
    assert!(text.contains(&line), "{line}\n{text}");
    // Another one takes its place.
    certificates.issue_for_days("new", 300);
    for kind in ["key", "pem"] {
        let [new, old] = ["new", "h"].map(|name| certificates.path(&format!("{name}.{kind}")));
        fs::rename(new, old).unwrap();
    }
    assert!(ask("reload").status.success());
    let second = end(&certificates, "h");
    wait_until("the new one is shown", || shown() == Some(as_float(second)));
    let text = String::from_utf8(ask("status").stdout).unwrap();
    assert!(text.contains(", in 299 days") || text.contains(", in 300 days"), "{text}");
}

#[test]
fn the_log_and_check_warn_of_certificates_that_end_soon_or_have_ended() {
    let (folder, certificates) = (Folder::new(), Certificates::new());
    folder.copy("upper", "h.wasm");
    for (days, warning) in [(0, Some("has expired at ")), (6, Some("expires at ")), (8, None)] {
        if days == 0 {
            certificates.issue_expired("h");
        } else {
            certificates.issue_for_days("h", days);
        }
        let [pem, key] = ["h.pem", "h.key"].map(|name| certificates.file(name));
        folder.write(
            "c.toml",
            format!(
                "version = 1\n[handler.h]\nsource = \"h.wasm\"\nbind = \"tls://:1\"\n\
                 tls-cert = \"{pem}\"\ntls-key = \"{key}\"\n"
            ),
        );
        let Output { status, stdout, stderr } =
            host().arg("check").arg(folder.path("c.toml")).output().unwrap();
        let said = String::from_utf8([stdout, stderr].concat()).unwrap();
        // It can be served.
        assert!(status.success(), "{days}: {said}");
        let text = format!("the certificate `{pem}` ");
        let expected = warning.map(|warning| format!("{text}{warning}"));
        assert_eq!(said.contains(&text), expected.is_some(), "{days}: {said}");
        assert!(expected.is_none_or(|expected| said.contains(&expected)), "{days}: {said}");
        let mut command = serve();
        command.arg(folder.path("h.wasm")).args(certificates.options("h"));
        let mut server = Server::start(&mut command, 1).unwrap();
        assert!(server.stop().unwrap().success());
        let said = server.log().join("\n");
        assert_eq!(said.contains(&text), warning.is_some(), "{days}: {said}");
    }
}
