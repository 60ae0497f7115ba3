//! Hostile clients, of handlers that do what they should.

mod datagrams;
mod floods;
mod resets;
mod streams;
mod unix;
mod unix_datagrams;
mod unix_descriptors;

use std::net::TcpStream;
use std::path::PathBuf;

use socketserver_tests::build;
use socketserver_tests::bystander::Bystander;
use socketserver_tests::process::Server;
use tempfile::TempDir;

use super::{assert_reported, attack, is_idle, logged};
use crate::fixture::{Fixture, Served, host};

/// A server, the bystander of it, and what goes with them.
struct Scene {
    server: Server,
    bystander: Bystander,
    /// For the files of Unix sockets.
    directory: TempDir,
}

impl Scene {
    /// A sample in Rust. The bystander asks `question` and expects `answer`.
    fn sample(name: &str, scheme: &str, options: &[&str], question: &[u8], answer: &[u8]) -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let bind = place(scheme, &directory);
        let mut command = host();
        command.arg("serve").arg(build::guest("rust", name).unwrap()).args(["--bind", &bind]);
        let server = Server::start(command.args(options), 1).unwrap();
        let bystander = Bystander::new(&server.endpoints()[0], question, answer).unwrap();
        Scene { server, bystander, directory }
    }

    /// `upper`, over TCP.
    fn upper(options: &[&str]) -> Scene {
        Scene::sample("upper", "tcp", options, b"bystander", b"BYSTANDER")
    }

    /// `echo`, over TCP.
    fn echo(options: &[&str]) -> Scene {
        Scene::sample("echo", "tcp", options, b"bystander", b"bystander")
    }

    /// `source`, over TCP, which sends as many bytes as it is asked for.
    fn source(options: &[&str]) -> Scene {
        Scene::sample("source", "tcp", options, b"3\n", b"\0\x01\x02")
    }

    /// Lets `round` attack it.
    fn attacked(&mut self, mut round: impl FnMut(&mut Server, usize)) {
        attack(&mut self.server, &self.bystander, &mut round);
    }

    /// Where the server's Unix socket is, or another in the same directory.
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Nothing was worth a line.
    fn logged_nothing(mut self) {
        self.server.stop().unwrap();
        let log = self.server.log();
        let bad = |line: &&String| line.contains("WARN") || line.contains("ERROR");
        assert!(!log.iter().any(|line| bad(&line)), "{log:#?}");
    }

    /// Whatever went wrong, it was some client's fault, for one of these reasons.
    fn blamed_clients_only(mut self, reasons: &[&str]) {
        self.server.stop().unwrap();
        let log = self.server.log();
        let failed = log.iter().filter(|line| line.contains("WARN") || line.contains("ERROR"));
        // Those that were too many are counted in a line of their own.
        for line in failed.filter(|line| !line.contains("lines were not logged")) {
            assert!(line.contains("blame=\"client\""), "{line}");
            let known = |reason: &&str| line.contains(&format!("reason=\"{reason}\""));
            assert!(reasons.iter().any(known), "{line}");
        }
    }
}

/// A place for a server to listen at.
fn place(scheme: &str, directory: &TempDir) -> String {
    match scheme {
        "tcp" | "udp" => format!("{scheme}://127.0.0.1:0"),
        _ => format!("{scheme}://{}", directory.path().join("server").display()),
    }
}

/// A fixture at a place of that scheme, whose bystander sends `-`.
fn fixture(fixture: Fixture<'_>, scheme: &str, options: &[&str]) -> (Served, Bystander, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let served = fixture.serve_at(&[&place(scheme, &directory)], options);
    let bystander = Bystander::new(&served.server.endpoints()[0], b"-", b"ok").unwrap();
    (served, bystander, directory)
}

/// The report of the failure of the request of `client`.
fn report(server: &mut Server, client: &TcpStream) -> String {
    logged(server, &format!("from {}: ", client.local_addr().unwrap()))
}
