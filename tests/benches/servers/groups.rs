//! The servers that are compared.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use socketserver_tests::build;
use socketserver_tests::load::Target;
use socketserver_tests::process::Server;

use socketserver_tests::measure::Measurement;

/// Servers that are compared with each other. The first is native, and one is the class of
/// CPython that does the same.
pub struct Group {
    pub title: &'static str,
    /// The name of the server with which the ratios to CPython are computed.
    pub cpython: &'static str,
    pub servers: Vec<MeasuredServer>,
}

/// A running server and its measurements, one for each round.
pub struct MeasuredServer {
    pub name: String,
    pub target: Target,
    pub measurements: Vec<Measurement>,
    /// The running server. Dropping it kills the process.
    pub process: Server,
}

impl Group {
    fn new(title: &'static str, cpython: &'static str) -> Self {
        Group { title, cpython, servers: Vec::new() }
    }

    /// Adds the host with a handler and, if there is one, another build of the host with the
    /// same handler.
    fn add_sandbox(
        &mut self,
        name: &str,
        (host, beside): (&Path, Option<&Path>),
        [guest, bind, other_bind]: [&str; 3],
        options: &[&str],
    ) -> Result<()> {
        self.add(&format!("sandbox: {name}"), &mut serve(host, guest, bind, options))?;
        let Some(beside) = beside else { return Ok(()) };
        self.add(&format!("beside: {name}"), &mut serve(beside, guest, other_bind, options))
    }

    fn add(&mut self, name: &str, command: &mut Command) -> Result<()> {
        let process = Server::start(command, 1).with_context(|| name.to_owned())?;
        let target = Target::parse(&process.endpoints()[0])?;
        let server =
            MeasuredServer { name: name.to_owned(), target, measurements: Vec::new(), process };
        self.servers.push(server);
        Ok(())
    }

    /// Adds a server of CPython, or prints that it is left out if it does not start.
    fn add_cpython(&mut self, name: &str, arguments: &[&str]) {
        let script = build::root().join("tests/benches/servers/cpython.py");
        if let Err(error) = self.add(name, Command::new("python3").arg(script).args(arguments)) {
            println!("left out: {error:#}");
        }
    }
}

fn serve(host: &Path, guest: &str, bind: &str, options: &[&str]) -> Command {
    let mut command = Command::new(host);
    command.args(["serve", guest, "--bind", bind]).args(options);
    command
}

/// Starts all servers. `directory` is for the files of Unix sockets and for the programs,
/// `beside` is another build of the host.
pub fn groups(directory: &Path, beside: Option<&Path>) -> Result<Vec<Group>> {
    const TCP: &str = "tcp://127.0.0.1:0";
    const UDP: &str = "udp://127.0.0.1:0";
    let guest =
        |name: &str| -> Result<String> { Ok(build::guest("rust", name)?.display().to_string()) };
    let (upper, dupper) = (guest("upper")?, guest("dupper")?);
    let text = build::root().join("guests/upper/upper.wat").display().to_string();
    let [upper_tcp, text_tcp, dupper_udp] =
        [[&upper[..], TCP, TCP], [&text, TCP, TCP], [&dupper, UDP, UDP]];
    let native = build::install(directory, &build::example("upper")?, "native")?;
    let native_udp = build::install(directory, &build::example("udp")?, "native-udp")?;
    let host = build::install(directory, build::host()?, "host")?;
    let beside =
        beside.map(|beside| build::install(directory, beside, "other-host")).transpose()?;
    let alone = (&*host, None);
    let pair = (&*host, beside.as_deref());
    let path = |name: &str| directory.join(name).display().to_string();
    let unix = |name: &str| format!("unix://{}", path(name));

    let mut threading = Group::new("TCP, threads", "CPython ThreadingTCPServer");
    threading.add("native Rust", Command::new(&native).args([TCP, "ThreadingTCPServer"]))?;
    threading.add_sandbox("upper (Rust)", pair, upper_tcp, &[])?;
    let hostile = &["--profile", "hostile"];
    threading.add_sandbox("upper (Rust), hostile", alone, upper_tcp, hostile)?;
    // Rules that admit all clients, each of which the host evaluates.
    let rules = "--allow 127.0.0.0/8 --deny 192.0.2.0/24 --access-times 00:00-24:00 \
                 --max-load 10000 --source-rate 1000000 --max-per-source 1000 --cps 1000000";
    let rules: Vec<&str> = rules.split_whitespace().collect();
    threading.add_sandbox("upper (Rust), all rules", alone, upper_tcp, &rules)?;
    threading.add_sandbox("upper (WAT)", pair, text_tcp, &[])?;
    threading.add_sandbox("upper (Rust), 2 workers", pair, upper_tcp, &["--workers", "2"])?;
    // CPython with its own backlog, which is 5 up to 3.14, so that clients which do not fit wait
    // for a second, and with the backlog of the host.
    threading.add_cpython("CPython ThreadingTCPServer", &["ThreadingTCPServer"]);
    threading.add_cpython("CPython, backlog 4096", &["ThreadingTCPServer", "4096"]);

    let mut sync = Group::new("TCP, one at a time", "CPython TCPServer");
    sync.add("native Rust", Command::new(&native).args([TCP, "TCPServer"]))?;
    sync.add_sandbox("upper (Rust)", pair, upper_tcp, &["--server", "TCPServer"])?;
    sync.add_cpython("CPython TCPServer", &["TCPServer"]);

    let mut forking = Group::new("TCP, a process for each request", "CPython ForkingTCPServer");
    forking.add("native Rust", Command::new(&native).args([TCP, "ForkingTCPServer"]))?;
    forking.add_sandbox("upper (Rust)", pair, upper_tcp, &["--server", "ForkingTCPServer"])?;
    let free = &["--server", "ForkingTCPServer", "--jail", "off"];
    forking.add_sandbox("upper (Rust), no jail", alone, upper_tcp, free)?;
    if rustix::process::geteuid().is_root() {
        let user = &["--server", "ForkingTCPServer", "--user", "65534:65534"];
        forking.add_sandbox("upper (Rust), --user", alone, upper_tcp, user)?;
    }
    forking.add_cpython("CPython ForkingTCPServer", &["ForkingTCPServer"]);

    let mut udp = Group::new("UDP, threads", "CPython ThreadingUDPServer");
    udp.add("native Rust", Command::new(&native_udp).args([UDP, "ThreadingUDPServer"]))?;
    udp.add_sandbox("dupper (Rust)", pair, dupper_udp, &[])?;
    udp.add_cpython("CPython ThreadingUDPServer", &["ThreadingUDPServer"]);

    let mut streams = Group::new("Unix streams, threads", "CPython ThreadingUnixStreamServer");
    let class = "ThreadingUnixStreamServer";
    streams.add("native Rust", Command::new(&native).args([&unix("native.sock"), class]))?;
    streams.add_sandbox(
        "upper (Rust)",
        pair,
        [&upper, &unix("host.sock"), &unix("other-host.sock")],
        &[],
    )?;
    streams.add_cpython("CPython ThreadingUnixStreamServer", &[class, "5", &path("cpython.sock")]);

    Ok(vec![threading, sync, forking, udp, streams])
}
