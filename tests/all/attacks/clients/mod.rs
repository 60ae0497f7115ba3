//! Hostile clients of well-behaved handlers.

mod datagrams;
mod floods;
#[path = "../../../../host/socketserver/tests/common/passing.rs"]
mod passing;
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

use super::{assert_reported, attack, in_modes, logged, wait_until_idle};
use crate::fixture::{Fixture, Served, host};

/// A server, its bystander, and the directory of their Unix sockets.
struct Scene {
    server: Server,
    bystander: Bystander,
    directory: TempDir,
}

impl Scene {
    /// Serves a sample in Rust in this mode. The bystander sends `question` and expects `answer`.
    fn sample(
        mode: &[&str],
        name: &str,
        scheme: &str,
        options: &[&str],
        (question, answer): (&[u8], &[u8]),
    ) -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let bind = endpoint(scheme, &directory);
        let mut command = host();
        command.arg("serve").arg(build::guest("rust", name).unwrap()).args(["--bind", &bind]);
        let server = Server::start(command.args(options).args(mode), 1).unwrap();
        let bystander = Bystander::new(&server.endpoints()[0], question, answer).unwrap();
        Scene { server, bystander, directory }
    }

    /// Serves `upper` over TCP.
    fn upper(mode: &[&str], options: &[&str]) -> Scene {
        Scene::sample(mode, "upper", "tcp", options, (b"bystander", b"BYSTANDER"))
    }

    /// Serves `echo` over TCP.
    fn echo(mode: &[&str], options: &[&str]) -> Scene {
        Scene::sample(mode, "echo", "tcp", options, (b"bystander", b"bystander"))
    }

    /// Serves `source` over TCP, which sends as many bytes as its client asks for.
    fn source(mode: &[&str], options: &[&str]) -> Scene {
        Scene::sample(mode, "source", "tcp", options, (b"3\n", b"\0\x01\x02"))
    }

    /// Runs `round` against the server as [`attack`] does.
    fn attack(&mut self, mut round: impl FnMut(&mut Server, usize)) {
        attack(&mut self.server, &self.bystander, &mut round);
    }

    /// Returns the path of the server's Unix socket, `server`, or of another socket beside it.
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Stops the server, and checks that it logged no warning and no error.
    fn assert_nothing_logged(mut self) {
        self.server.stop().unwrap();
        let log = self.server.log();
        let bad = |line: &&String| line.contains("WARN") || line.contains("ERROR");
        assert!(!log.iter().any(|line| bad(&line)), "{log:#?}");
    }

    /// Stops the server, and checks that each failure is blamed on a client, for one of these
    /// reasons.
    fn assert_only_clients_blamed(mut self, reasons: &[&str]) {
        self.server.stop().unwrap();
        let log = self.server.log();
        let failed = log.iter().filter(|line| line.contains("WARN") || line.contains("ERROR"));
        // One line counts the lines that were dropped.
        for line in failed.filter(|line| !line.contains("lines were not logged")) {
            assert!(line.contains("blame=\"client\""), "{line}");
            let known = |reason: &&str| line.contains(&format!("reason=\"{reason}\""));
            assert!(reasons.iter().any(known), "{line}");
        }
    }
}

/// Returns an endpoint for a server, whose Unix socket would be in `directory`.
fn endpoint(scheme: &str, directory: &TempDir) -> String {
    match scheme {
        "tcp" | "udp" => format!("{scheme}://127.0.0.1:0"),
        _ => format!("{scheme}://{}", directory.path().join("server").display()),
    }
}

/// Serves a fixture at an endpoint of this scheme. The bystander sends `-`.
fn serve_fixture(
    fixture: Fixture<'_>,
    scheme: &str,
    options: &[&str],
) -> (Served, Bystander, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let served = fixture.serve_at(&[&endpoint(scheme, &directory)], options);
    let bystander = Bystander::new(&served.server.endpoints()[0], b"-", b"ok").unwrap();
    (served, bystander, directory)
}

/// Returns the line of the log that reports the failed request of `client`.
fn report(server: &mut Server, client: &TcpStream) -> String {
    logged(server, &format!("from {}: ", client.local_addr().unwrap()))
}
