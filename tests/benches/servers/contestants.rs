//! The servers that are compared.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use socketserver_tests::build;
use socketserver_tests::load::Target;
use socketserver_tests::process::Server;

use crate::measure::Turn;

/// Servers that are compared with each other: the first is native, and one is
/// CPython's class that does the same.
pub struct Group {
    pub title: &'static str,
    /// The name of CPython's.
    pub cpython: &'static str,
    pub contestants: Vec<Contestant>,
}

pub struct Contestant {
    pub name: String,
    pub target: Target,
    pub turns: Vec<Turn>,
    /// It runs for as long as this is here.
    _server: Server,
}

impl Group {
    fn new(title: &'static str, cpython: &'static str) -> Self {
        Group { title, cpython, contestants: Vec::new() }
    }

    fn add(&mut self, name: &str, command: &mut Command) -> Result<()> {
        let server = Server::start(command, 1).with_context(|| name.to_owned())?;
        let target = Target::parse(&server.endpoints()[0])?;
        let contestant =
            Contestant { name: name.to_owned(), target, turns: Vec::new(), _server: server };
        self.contestants.push(contestant);
        Ok(())
    }

    /// As `add`, of a server that may be left out.
    fn add_cpython(&mut self, name: &str, arguments: &[&str]) {
        let script = build::root().join("tests/benches/servers/cpython.py");
        if let Err(error) = self.add(name, Command::new("python3").arg(script).args(arguments)) {
            println!("left out: {error:#}");
        }
    }
}

fn serve(guest: Option<&Path>, bind: &str, options: &[&str]) -> Result<Command> {
    let mut command = Command::new(build::host()?);
    command.arg("serve").args(guest).args(["--bind", bind]).args(options);
    Ok(command)
}

/// All of them, listening. `directory` is for the files of Unix sockets.
pub fn groups(directory: &Path) -> Result<Vec<Group>> {
    const TCP: &str = "tcp://127.0.0.1:0";
    const UDP: &str = "udp://127.0.0.1:0";
    let upper = build::guest("rust", "upper")?;
    let dupper = build::guest("rust", "dupper")?;
    let (native, native_udp) = (build::example("upper")?, build::example("udp")?);
    let path = |name: &str| directory.join(name).display().to_string();
    let unix = |name: &str| format!("unix://{}", path(name));

    let mut threading = Group::new("TCP, threads", "CPython ThreadingTCPServer");
    threading.add("native Rust", Command::new(&native).args([TCP, "ThreadingTCPServer"]))?;
    threading.add("sandbox: upper (Rust)", &mut serve(Some(&upper), TCP, &[])?)?;
    threading.add("sandbox: upper (WAT, embedded)", &mut serve(None, TCP, &[])?)?;
    let workers = &mut serve(Some(&upper), TCP, &["--workers", "2"])?;
    threading.add("sandbox: upper (Rust), 2 workers", workers)?;
    // As it is shipped, and once with a backlog like the host's: up to 3.14 it
    // is 5, and clients that do not fit wait for a second.
    threading.add_cpython("CPython ThreadingTCPServer", &["ThreadingTCPServer"]);
    threading.add_cpython("CPython, backlog 4096", &["ThreadingTCPServer", "4096"]);

    let mut sync = Group::new("TCP, one at a time", "CPython TCPServer");
    sync.add("native Rust", Command::new(&native).args([TCP, "TCPServer"]))?;
    let one = &mut serve(Some(&upper), TCP, &["--server", "TCPServer"])?;
    sync.add("sandbox: upper (Rust)", one)?;
    sync.add_cpython("CPython TCPServer", &["TCPServer"]);

    let mut forking = Group::new("TCP, a process for each request", "CPython ForkingTCPServer");
    forking.add("native Rust", Command::new(&native).args([TCP, "ForkingTCPServer"]))?;
    let forks = &mut serve(Some(&upper), TCP, &["--server", "ForkingTCPServer"])?;
    forking.add("sandbox: upper (Rust)", forks)?;
    forking.add_cpython("CPython ForkingTCPServer", &["ForkingTCPServer"]);

    let mut udp = Group::new("UDP, threads", "CPython ThreadingUDPServer");
    udp.add("native Rust", Command::new(&native_udp).args([UDP, "ThreadingUDPServer"]))?;
    udp.add("sandbox: dupper (Rust)", &mut serve(Some(&dupper), UDP, &[])?)?;
    udp.add_cpython("CPython ThreadingUDPServer", &["ThreadingUDPServer"]);

    let mut streams = Group::new("Unix streams, threads", "CPython ThreadingUnixStreamServer");
    let class = "ThreadingUnixStreamServer";
    streams.add("native Rust", Command::new(&native).args([&unix("native"), class]))?;
    streams.add("sandbox: upper (Rust)", &mut serve(Some(&upper), &unix("ours"), &[])?)?;
    streams.add_cpython("CPython ThreadingUnixStreamServer", &[class, "5", &path("cpython")]);

    Ok(vec![threading, sync, forking, udp, streams])
}
