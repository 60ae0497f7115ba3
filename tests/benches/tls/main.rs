//! Measures the cost of TLS, beside a native server on rustls and beside CPython's `ssl`.
//!
//! `cargo bench --workspace --bench tls [-- [--rounds N] [--seconds N] [--mib N] [--only GROUP]]`
//!
//! - `requests`: eight clients. Each request is a connection of its own with a whole handshake,
//!   64 bytes each way and `close_notify` both ways. The host without TLS shows the part of TLS.
//! - `bulk`: one connection, on which the client receives 256 MiB.
//!
//! The servers of a group are measured in turn. The result is the median over the rounds of the
//! ratio to the native server in the same round, with its range. All have one certificate with a
//! key of P-256, and no session is resumed.

mod client;
mod native;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use socketserver_tests::bench::{
    ProcessorTime, is_test, median, number, option, progress, with_range,
};
use socketserver_tests::build;
use socketserver_tests::load::Target;
use socketserver_tests::measure::{CLIENTS, Measurement, measure, measure_clients};
use socketserver_tests::process::Server;
use socketserver_tests::procfs::cpu_time;

use client::Client;

/// The address of each server.
const BIND: &str = "tcp://127.0.0.1:0";

/// A server, and the results of each round: of a request, or of a MiB.
struct Measured {
    name: &'static str,
    server: Server,
    has_tls: bool,
    per_second: Vec<f64>,
    cpu: Vec<f64>,
}

impl Measured {
    fn start(name: &'static str, command: &mut Command) -> Result<Measured> {
        let server = Server::start(command, 1).with_context(|| name.to_owned())?;
        Ok(Measured { name, server, has_tls: true, per_second: Vec::new(), cpu: Vec::new() })
    }

    fn without_tls(self) -> Measured {
        Measured { has_tls: false, ..self }
    }

    fn measure_requests(&mut self, client: &Client, time: Duration) -> Result<()> {
        let (pid, address) = (self.server.pid(), self.server.address());
        let Measurement { per_second, cpu, .. } = if self.has_tls {
            measure_clients(pid, time, CLIENTS, || Ok(|| client.ask(address)))?
        } else {
            measure(&Target::Tcp(address), pid, time)?
        };
        self.per_second.push(per_second);
        self.cpu.push(cpu);
        Ok(())
    }

    fn measure_bulk(&mut self, client: &Client, mib: u32) -> Result<()> {
        let before = cpu_time(self.server.pid())?;
        let begun = Instant::now();
        client.receive(self.server.address(), mib)?;
        let elapsed = begun.elapsed();
        let cpu = cpu_time(self.server.pid())?.saturating_sub(before);
        self.per_second.push(f64::from(mib) / elapsed.as_secs_f64());
        self.cpu.push(cpu.as_secs_f64() * 1e6 / f64::from(mib));
        Ok(())
    }
}

fn main() -> Result<()> {
    if let Some(folder) = option("--native") {
        return native::serve(Path::new(&folder));
    }
    if is_test() {
        return Ok(());
    }
    let rounds = number("--rounds")?.unwrap_or(7).max(1);
    let time = Duration::from_secs(number("--seconds")?.unwrap_or(2).max(1));
    let mib = u32::try_from(number("--mib")?.unwrap_or(256).clamp(1, 1 << 20))?;
    let only = option("--only").unwrap_or_default();
    let directory = tempfile::tempdir()?;
    let folder = directory.path();
    make_certificate(folder)?;
    let client = Client::new(folder)?;
    println!("{CLIENTS} clients; {rounds} rounds of {} s or {mib} MiB.", time.as_secs());
    println!("Medians over the rounds; ratios are to the first server, within a round.");
    let begun = ProcessorTime::now()?;
    if "requests".contains(&only) {
        let mut servers = servers(folder, "upper")?;
        for round in 1..=rounds {
            for server in &mut servers {
                progress(&format!("requests: round {round} of {rounds}: {}", server.name));
                let name = server.name;
                server.measure_requests(&client, time).context(name)?;
            }
        }
        progress("");
        print(["requests", "requests/s", "CPU/request"], &servers);
    }
    if "bulk".contains(&only) {
        let mut servers = servers(folder, "source")?;
        servers.retain(|server| server.has_tls);
        for round in 1..=rounds {
            for server in &mut servers {
                progress(&format!("bulk: round {round} of {rounds}: {}", server.name));
                let name = server.name;
                server.measure_bulk(&client, mib).context(name)?;
            }
        }
        progress("");
        print(["bulk", "MiB/s", "CPU/MiB"], &servers);
    }
    let stolen = ProcessorTime::now()?.stolen_since(begun);
    println!("\nOther machines on the same processors had {stolen:.1}% of their time.");
    Ok(())
}

/// Makes `cert.pem` for `localhost`, which a client trusts as it is, and `key.pem`.
fn make_certificate(folder: &Path) -> Result<()> {
    std::fs::write(folder.join("config"), "[req]\ndistinguished_name=dn\n[dn]\n")?;
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    command.args(["-nodes", "-subj", "/CN=localhost", "-config", "config"]);
    command.args(["-addext", "subjectAltName=DNS:localhost"]);
    command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    command.args(["-keyout", "key.pem", "-out", "cert.pem"]).current_dir(folder);
    let output = command.output().context("install the package openssl")?;
    ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Starts the servers, the native one first. Each does the same as the sample of this name.
fn servers(folder: &Path, sample: &str) -> Result<Vec<Measured>> {
    let host = build::install(folder, build::host()?, "host")?;
    let guest = build::guest("rust", sample)?;
    let sandbox = |options: &[&str]| {
        let mut command = Command::new(&host);
        command.arg("serve").arg(&guest).args(["--bind", BIND]).args(options);
        // A connection that lasts for minutes on a slow machine is not what is measured.
        command.args(["--wall-time", "1h", "--cpu-time", "1h"]);
        command.args(["--max-sent", "1TiB", "--max-received", "1TiB"]);
        command
    };
    let file = |name: &str| folder.join(name).display().to_string();
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    let tls = ["--tls-cert", &cert, "--tls-key", &key];
    let mut native = Command::new(std::env::current_exe()?);
    native.arg("--native").arg(folder).arg(sample);
    let mut servers = vec![
        Measured::start("native rustls", &mut native)?,
        Measured::start("sandbox (Rust)", &mut sandbox(&tls))?,
        Measured::start(
            "sandbox (Rust), 2 workers",
            &mut sandbox(&[&tls[..], &["--workers", "2"]].concat()),
        )?,
        Measured::start("sandbox (Rust), no TLS", &mut sandbox(&[]))?.without_tls(),
    ];
    let script = build::root().join("tests/benches/tls/cpython.py");
    let mut cpython = Command::new("python3");
    cpython.arg(script).args([&cert, &key, sample]);
    match Measured::start("CPython ThreadingTCPServer", &mut cpython) {
        Ok(server) => servers.push(server),
        Err(error) => println!("left out: {error:#}"),
    }
    Ok(servers)
}

fn print([title, rate, cpu]: [&str; 3], servers: &[Measured]) {
    let [rates, cpus] = [rate, cpu].map(|name| format!("{name} (range)"));
    println!("\n{title:<28} {rate:>10} {cpu:>14} {rates:>24} {cpus:>24}");
    for server in servers {
        let ratio = |value: fn(&Measured) -> &Vec<f64>| {
            let both = value(server).iter().zip(value(&servers[0]));
            with_range(both.map(|(own, native)| own / native).collect())
        };
        println!(
            "{:<28} {:>10.0} {:>11.1} us {:>24} {:>24}",
            server.name,
            median(server.per_second.clone()),
            median(server.cpu.clone()),
            ratio(|it| &it.per_second),
            ratio(|it| &it.cpu),
        );
    }
}
