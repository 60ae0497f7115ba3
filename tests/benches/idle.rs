//! Measures a request beside connections that are open and send nothing.
//!
//! `cargo bench --workspace --bench idle [-- [--idle N] [--rounds N] [--seconds N]]`
//!
//! Each idle connection has a thread and a live instance that waits in `recv`. A server with 10
//! of them and a server with 4,000 answer in turn, native and in the sandbox. The goal is a
//! ratio of at most 1.3.

use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socketserver_tests::bench::{ProcessorTime, is_test, median, number, progress};
use socketserver_tests::build;
use socketserver_tests::load::Target;
use socketserver_tests::measure::{CLIENTS, Measurement, measure};
use socketserver_tests::process::{Server, wait_until};
use socketserver_tests::procfs::status;

/// The number of idle connections beside which a request is compared with one beside many.
const FEW: usize = 10;

/// A server with idle connections.
struct Busy {
    name: String,
    server: Server,
    target: Target,
    _idle: Vec<TcpStream>,
    measurements: Vec<Measurement>,
}

impl Busy {
    fn start(name: &str, command: &mut Command, idle: usize) -> Result<Self> {
        let server = Server::start(command, 1)?;
        progress(&format!("{name}: {idle} connections"));
        let connect = |_| TcpStream::connect(server.address());
        let connections = (0..idle).map(connect).collect::<Result<_, _>>()?;
        let threads = || -> usize {
            status(server.pid(), "Threads").ok().and_then(|text| text.parse().ok()).unwrap_or(0)
        };
        wait_until("each connection has a thread", || threads() >= idle);
        Ok(Busy {
            name: format!("{name}, {idle} idle"),
            target: Target::Tcp(server.address()),
            server,
            _idle: connections,
            measurements: Vec::new(),
        })
    }
}

fn main() -> Result<()> {
    if is_test() {
        return Ok(());
    }
    let many = usize::try_from(number("--idle")?.unwrap_or(4000))?;
    let rounds = number("--rounds")?.unwrap_or(7).max(1);
    let time = Duration::from_secs(number("--seconds")?.unwrap_or(1).max(1));
    let limit = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit })?;

    let directory = tempfile::tempdir()?;
    let native = build::install(directory.path(), &build::example("upper")?, "native")?;
    let host = build::install(directory.path(), build::host()?, "host")?;
    let guest = build::guest("rust", "upper")?;
    let bind = "tcp://127.0.0.1:0";
    let mut servers = Vec::new();
    for idle in [FEW, many] {
        let native = &mut Command::new(&native);
        servers.push(Busy::start("native Rust", native.args([bind, "ThreadingTCPServer"]), idle)?);
        let sandbox = &mut Command::new(&host);
        sandbox.arg("serve").arg(&guest).args(["--bind", bind, "--idle-timeout", "1h"]);
        servers.push(Busy::start(
            "sandbox: upper (Rust)",
            sandbox.args(["--wall-time", "1h"]),
            idle,
        )?);
    }
    let begun = ProcessorTime::now()?;
    for round in 1..=rounds {
        for server in &mut servers {
            progress(&format!("round {round} of {rounds}: {}", server.name));
            server.measurements.push(measure(&server.target, server.server.pid(), time)?);
        }
    }
    progress("");
    println!(
        "64 bytes each way, {CLIENTS} clients; {rounds} rounds. Medians; ratios are within a round.\n"
    );
    println!(
        "{:<36} {:>12} {:>9} {:>12} {:>10}",
        "", "requests/s", "p50", "CPU/request", "to 10 idle"
    );
    for (index, server) in servers.iter().enumerate() {
        // Native and sandbox alternate, and those with few idle connections come first.
        let few = &servers[index % 2];
        let median_of = |value: fn(&Measurement) -> f64| {
            median(server.measurements.iter().map(value).collect())
        };
        let ratios = server.measurements.iter().zip(&few.measurements);
        println!(
            "{:<36} {:>12.0} {:>6.0} us {:>9.1} us {:>10.3}",
            server.name,
            median_of(|measurement| measurement.per_second),
            median_of(|measurement| measurement.p50.as_secs_f64() * 1e6),
            median_of(|measurement| measurement.cpu),
            median(ratios.map(|(many, few)| many.cpu / few.cpu).collect()),
        );
    }
    let stolen = ProcessorTime::now()?.stolen_since(begun);
    println!("\nOther machines on the same processors had {stolen:.1}% of their time.");
    Ok(())
}
