//! Measures the cost of `--metrics`.
//!
//! `cargo bench --workspace --bench metrics [-- [--rounds N] [--seconds N] [--only MODE]]`
//!
//! Three servers of the same handler are measured in turn for each way of running requests: one
//! without metrics; one with metrics, of which `/metrics` is read once in a second; and a second
//! one without, whose ratio to the first is the noise. Each round begins with the next server, so
//! that none is always first. The goal is that the range of the server with metrics has no values
//! beyond those of the noise.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use socketserver_tests::bench::{
    ProcessorTime, is_test, median, number, option, progress, with_range,
};
use socketserver_tests::build;
use socketserver_tests::load::Target;
use socketserver_tests::measure::{CLIENTS, Measurement, measure};
use socketserver_tests::process::{Server, TIMEOUT};

/// The time between two scrapes.
const SCRAPE: Duration = Duration::from_secs(1);

/// The ways of running requests.
const MODES: [(&str, &[&str]); 4] = [
    ("threads", &["--concurrency", "threading"]),
    ("one at a time", &["--concurrency", "sync"]),
    ("a process for each request", &["--concurrency", "forking"]),
    ("2 workers", &["--workers", "2"]),
];

/// A running server, and its measurements, one for each round.
struct Measured {
    name: &'static str,
    server: Server,
    target: Target,
    metrics: Option<SocketAddr>,
    measurements: Vec<Measurement>,
}

impl Measured {
    fn start(
        host: &Path,
        options: &[&str],
        name: &'static str,
        has_metrics: bool,
    ) -> Result<Measured> {
        let handler = build::guest("rust", "upper")?;
        let mut command = Command::new(host);
        command.arg("serve").arg(handler).args(["--bind", "tcp://127.0.0.1:0"]).args(options);
        let mut metrics = None;
        if has_metrics {
            let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
            command.arg("--metrics").arg(format!("tcp://{free}"));
            metrics = Some(free);
        }
        let server = Server::start(&mut command, 1).with_context(|| name)?;
        let target = Target::parse(&server.endpoints()[0])?;
        Ok(Measured { name, server, target, metrics, measurements: Vec::new() })
    }

    /// Measures the server, while its metrics are read.
    fn measure(&mut self, time: Duration) -> Result<()> {
        let (target, pid, metrics) = (&self.target, self.server.pid(), self.metrics);
        let measurement = thread::scope(|scope| -> Result<Measurement> {
            let (measuring, end) = channel::<()>();
            let scraper = metrics.map(|address| scope.spawn(move || scrapes(address, &end)));
            let measurement = measure(target, pid, time);
            drop(measuring);
            if let Some(scraper) = scraper {
                scraper.join().map_err(|_| anyhow::anyhow!("the scraper panicked"))??;
            }
            measurement
        })?;
        self.measurements.push(measurement);
        Ok(())
    }
}

/// Reads the metrics at once, and once in a second until the other end is dropped.
fn scrapes(address: SocketAddr, end: &Receiver<()>) -> Result<()> {
    loop {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        ensure!(text.contains("\nsocketserver_requests_total{"), "no metrics: {text}");
        if end.recv_timeout(SCRAPE) == Err(RecvTimeoutError::Disconnected) {
            return Ok(());
        }
    }
}

fn main() -> Result<()> {
    if is_test() {
        return Ok(());
    }
    let rounds = usize::try_from(number("--rounds")?.unwrap_or(9).max(1))?;
    let time = Duration::from_secs(number("--seconds")?.unwrap_or(2).max(1));
    let only = option("--only").unwrap_or_default();
    let directory = tempfile::tempdir()?;
    let host = build::install(directory.path(), build::host()?, "host")?;
    println!("64 bytes each way, {CLIENTS} clients; {rounds} rounds of {} s.", time.as_secs());
    println!("Medians over the rounds; ratios are to the first server, within a round.");
    let begun = ProcessorTime::now()?;
    for (mode, options) in MODES.iter().filter(|(mode, _)| mode.contains(&only)) {
        let start = |name, has_metrics| Measured::start(&host, options, name, has_metrics);
        let mut servers = [
            start("without metrics", false)?,
            start("with metrics", true)?,
            start("without metrics, again", false)?,
        ];
        for round in 0..rounds {
            for place in 0..servers.len() {
                let server = &mut servers[(round + place) % 3];
                progress(&format!("round {} of {rounds}: {mode}, {}", round + 1, server.name));
                server.measure(time)?;
            }
        }
        progress("");
        print(mode, &servers);
    }
    let stolen = ProcessorTime::now()?.stolen_since(begun);
    println!("\nOther machines on the same processors had {stolen:.1}% of their time.");
    Ok(())
}

fn print(mode: &str, servers: &[Measured]) {
    println!(
        "\n{mode:<28} {:>10} {:>11} {:>22} {:>22}",
        "requests/s", "CPU/request", "requests/s (range)", "CPU (range)"
    );
    for server in servers {
        let median_of = |value: fn(&Measurement) -> f64| {
            median(server.measurements.iter().map(value).collect())
        };
        println!(
            "{:<28} {:>10.0} {:>8.1} us {:>22} {:>22}",
            server.name,
            median_of(|it| it.per_second),
            median_of(|it| it.cpu),
            ratio(server, &servers[0], |it| it.per_second),
            ratio(server, &servers[0], |it| it.cpu),
        );
    }
}

/// Returns the median and the range of a ratio to another server over the rounds.
fn ratio(server: &Measured, other: &Measured, value: fn(&Measurement) -> f64) -> String {
    let measurements = server.measurements.iter().zip(&other.measurements);
    with_range(measurements.map(|(one, other)| value(one) / value(other)).collect())
}
