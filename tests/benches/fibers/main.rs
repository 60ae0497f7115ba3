//! Measures requests that run as fibers, and connections that wait.
//!
//! `cargo bench --workspace --bench fibers [-- [--rounds N] [--seconds N] [--crowd N] [--idle N]]`
//!
//! - Requests with 8, 64 and 512 clients, in threads and in fibers.
//! - Requests beside 10 and beside 10,000 connections with a live instance each. The goal is a
//!   ratio of at most 1.3.
//! - The longest time of a request in a thread in which other guests loop. The goal is 50 ms.
//! - The memory of a crowd: 15,000 connections to one process and 50,000 to several, with a live
//!   instance each, and 50,000 silent ones with `--defer-accept`. The goals are 40 KiB and 1 KiB
//!   each, page tables included, without the kernel's sockets. In the end all are answered.

mod crowd;
mod neighbours;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socketserver_tests::bench::{ProcessorTime, is_test, median, number, option, progress};
use socketserver_tests::build;
use socketserver_tests::load::Target;
use socketserver_tests::measure::{CLIENTS, Measurement, measure_with};
use socketserver_tests::process::Server;

use crate::crowd::Crowd;

/// The largest number of connections to one process: `vm.max_map_count` is 65,530, and a fiber takes
/// four mappings.
const IN_PROCESS: usize = 15_000;

/// A server with the requests that it answers.
struct Measured {
    name: String,
    server: Server,
    clients: usize,
    measurements: Vec<Measurement>,
}

impl Measured {
    fn new(name: &str, server: Server, clients: usize) -> Self {
        Measured { name: name.to_owned(), server, clients, measurements: Vec::new() }
    }
}

/// The program, its handler, and the options of every server.
struct Programs<'a> {
    host: &'a Path,
    guest: &'a Path,
}

impl Programs<'_> {
    fn start(&self, options: &[&str]) -> Result<Server> {
        let mut command = Command::new(self.host);
        command.arg("serve").arg(self.guest).args(["--bind", "tcp://127.0.0.1:0?backlog=4096"]);
        command.args(["--idle-timeout", "1h", "--wall-time", "1h"]).args(options);
        Server::start(&mut command, 1)
    }
}

fn main() -> Result<()> {
    if is_test() {
        return Ok(());
    }
    let limit = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit })?;
    if let Some(server) = option("--hold") {
        let value = |name| anyhow::Ok(usize::try_from(number(name)?.context(name)?)?);
        return crowd::hold(server.parse()?, value("--count")?, value("--process")?);
    }
    let rounds = number("--rounds")?.unwrap_or(7).max(1);
    let time = Duration::from_secs(number("--seconds")?.unwrap_or(2).max(1));
    let crowd = usize::try_from(number("--crowd")?.unwrap_or(50_000))?;
    let idle = usize::try_from(number("--idle")?.unwrap_or(10_000))?;
    let only = option("--only").unwrap_or_default();

    let directory = tempfile::tempdir()?;
    let host = build::install(directory.path(), build::host()?, "host")?;
    let guest = build::guest("rust", "upper")?;
    let programs = Programs { host: &host, guest: &guest };
    let begun = ProcessorTime::now()?;
    if "requests".contains(&only) {
        requests(&programs, rounds, time)?;
    }
    if "idle".contains(&only) {
        beside_idle(&programs, idle, rounds, time)?;
    }
    if "neighbours".contains(&only) {
        neighbours::print(&programs, time * 3)?;
    }
    if "crowd".contains(&only) {
        let fibers = ["--concurrency", "fibers"];
        let workers = crowd.div_ceil(IN_PROCESS).to_string();
        let in_workers = ["--workers", &workers];
        let one = IN_PROCESS.min(crowd);
        println!("\n{:<44} {:>12} {:>14} {:>10}", "", "connections", "bytes each", "answered");
        memory(&programs, "fibers in one process", one, &fibers)?;
        let name = format!("fibers in {workers} workers");
        memory(&programs, &name, crowd, &[&fibers[..], &in_workers].concat())?;
        let name = format!("--defer-accept in {workers} workers");
        memory(&programs, &name, crowd, &[&["--defer-accept"], &in_workers[..]].concat())?;
    }
    let stolen = ProcessorTime::now()?.stolen_since(begun);
    println!("\nOther machines on the same processors had {stolen:.1}% of their time.");
    Ok(())
}

/// Compares threads and fibers, with few and with many clients.
fn requests(programs: &Programs<'_>, rounds: u64, time: Duration) -> Result<()> {
    println!("64 bytes each way; {rounds} rounds. Medians; ratios are within a round.\n");
    println!(
        "{:<32} {:>8} {:>12} {:>9} {:>12} {:>11} {:>8}",
        "", "clients", "requests/s", "p50", "CPU/request", "requests/s", "CPU"
    );
    for clients in [CLIENTS, 64, 512] {
        let mut servers = Vec::new();
        // The second server in threads shows the noise of the machine.
        for (name, how) in
            [("threads", "threading"), ("threads", "threading"), ("fibers", "fibers")]
        {
            let server = programs.start(&["--concurrency", how])?;
            servers.push(Measured::new(name, server, clients));
        }
        measure_in_turn(&mut servers, rounds, time)?;
        for server in &servers {
            print(server, &servers[0]);
        }
    }
    Ok(())
}

/// Compares a request beside few connections with one beside many.
fn beside_idle(programs: &Programs<'_>, idle: usize, rounds: u64, time: Duration) -> Result<()> {
    println!();
    let (mut servers, mut crowds) = (Vec::new(), Vec::new());
    for idle in [10, 10, idle] {
        let server = programs.start(&["--concurrency", "fibers"])?;
        crowds.push(Crowd::connect(&server, idle)?);
        servers.push(Measured::new(&format!("fibers beside {idle} idle"), server, CLIENTS));
    }
    measure_in_turn(&mut servers, rounds, time)?;
    for server in &servers {
        print(server, &servers[0]);
    }
    Ok(())
}

fn measure_in_turn(servers: &mut [Measured], rounds: u64, time: Duration) -> Result<()> {
    for round in 1..=rounds {
        for Measured { name, server, clients, measurements } in &mut *servers {
            progress(&format!("round {round} of {rounds}: {name}, {clients} clients"));
            let target = Target::Tcp(server.address());
            measurements.push(measure_with(&target, server.pid(), time, *clients)?);
        }
    }
    progress("");
    Ok(())
}

fn print(server: &Measured, other: &Measured) {
    let median_of =
        |value: fn(&Measurement) -> f64| median(server.measurements.iter().map(value).collect());
    let ratio = |value: fn(&Measurement) -> f64| {
        let pairs = server.measurements.iter().zip(&other.measurements);
        median(pairs.map(|(one, other)| value(one) / value(other)).collect())
    };
    println!(
        "{:<32} {:>8} {:>12.0} {:>6.0} us {:>9.1} us {:>11.3} {:>8.3}",
        server.name,
        server.clients,
        median_of(|measurement| measurement.per_second),
        median_of(|measurement| measurement.p50.as_secs_f64() * 1e6),
        median_of(|measurement| measurement.cpu),
        ratio(|measurement| measurement.per_second),
        ratio(|measurement| measurement.cpu),
    );
}

/// Prints the memory of `count` connections that wait.
fn memory(programs: &Programs<'_>, name: &str, count: usize, options: &[&str]) -> Result<()> {
    let server = programs.start(options)?;
    // Each process has served requests before its memory is read.
    measure_with(&Target::Tcp(server.address()), server.pid(), Duration::from_secs(1), CLIENTS)?;
    let before = crowd::memory_of(&server)?;
    let mut crowd = Crowd::connect(&server, count)?;
    let grown = crowd::memory_of(&server)?.saturating_sub(before);
    let asked = Instant::now();
    progress(&format!("{name}: asking"));
    crowd.ask()?;
    let answered = asked.elapsed().as_secs_f64();
    progress("");
    println!("{name:<44} {count:>12} {:>14} {answered:>8.1} s", grown / count as u64);
    Ok(())
}
