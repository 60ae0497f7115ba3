//! Compares servers in one run on one machine.
//!
//! Each request of a stream is a connection of its own: the client connects, sends 64 bytes and
//! reads the answer to its end. Each datagram is answered by one datagram. Eight clients send
//! one request after another. The servers of a group are measured in turn, in several rounds, so
//! that a slow moment of the machine does not affect only one of them. The result is the median
//! over the rounds of the ratio to another server in the same round.
//!
//! `cargo bench --workspace --bench servers [-- [--rounds N] [--seconds N] [--only TITLE] [--beside BINARY]]`
//!
//! `--beside` names another build of the host, which is measured beside this one and shows the
//! cost of a change.

mod groups;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use socketserver_sandbox::{
    Cache, Component, ComponentHandler, Engine, EngineSettings, Loader, Policy,
};
use socketserver_tests::bench::{ProcessorTime, is_test, median, number, option, progress};
use socketserver_tests::build;
use socketserver_tests::measure::{CLIENTS, Measurement, measure};

use crate::groups::{Group, MeasuredServer, groups};

fn main() -> Result<()> {
    if is_test() {
        return Ok(());
    }
    let rounds = number("--rounds")?.unwrap_or(7).max(1);
    let seconds = number("--seconds")?.unwrap_or(2).max(1);
    let only = option("--only").unwrap_or_default();
    let directory = tempfile::tempdir()?;
    let beside = option("--beside").map(PathBuf::from);
    let mut groups = groups(directory.path(), beside.as_deref())?;
    groups.retain(|group| group.title.contains(&only));
    println!("64 bytes each way, {CLIENTS} clients; {rounds} rounds of {seconds} s.");
    println!("Medians over the rounds; ratios are within a round.");
    let begun = ProcessorTime::now()?;
    for group in &mut groups {
        for round in 1..=rounds {
            for server in &mut group.servers {
                progress(&format!("round {round} of {rounds}: {}, {}", group.title, server.name));
                let time = Duration::from_secs(seconds);
                let measurement = measure(&server.target, server.process.pid(), time)
                    .with_context(|| server.name.clone())?;
                server.measurements.push(measurement);
            }
        }
        progress("");
        print_group(group);
    }
    drop(groups);
    let stolen = ProcessorTime::now()?.stolen_since(begun);
    println!("\nOther machines on the same processors had {stolen:.1}% of their time.");
    println!("\nAn instance of each sample:\n");
    print_instances()
}

fn print_group(group: &Group) {
    let cpython = group.servers.iter().find(|server| server.name == group.cpython);
    println!(
        "\n{:<36} {:>10} {:>9} {:>9} {:>11} {:>9}  {:>25} {:>21}",
        group.title,
        "requests/s",
        "p50",
        "p99",
        "CPU/request",
        "to native",
        "to native (range)",
        "to CPython (range)"
    );
    for server in &group.servers {
        let median_of = |value: fn(&Measurement) -> f64| {
            median(server.measurements.iter().map(value).collect())
        };
        let native = Ratios::between(server, &group.servers[0]);
        let cpython = cpython.map(|cpython| Ratios::between(server, cpython));
        println!(
            "{:<36} {:>10.0} {:>6.0} us {:>6.0} us {:>8.1} us {:>9.3}  {:>25} {:>21}",
            server.name,
            median_of(|measurement| measurement.per_second),
            median_of(|measurement| measurement.p50.as_secs_f64() * 1e6),
            median_of(|measurement| measurement.p99.as_secs_f64() * 1e6),
            median_of(|measurement| measurement.cpu),
            cpu_ratio(server, &group.servers[0]),
            format!("{:.3} ({:.3}-{:.3})", native.median, native.lowest, native.highest),
            cpython.map_or_else(String::new, |ratios| {
                format!("{:.2} ({:.2}-{:.2})", ratios.median, ratios.lowest, ratios.highest)
            }),
        );
    }
}

/// Returns the median over the rounds of the CPU time for each request, as a ratio to
/// that of another server in the same round.
fn cpu_ratio(server: &MeasuredServer, other: &MeasuredServer) -> f64 {
    let measurements = server.measurements.iter().zip(&other.measurements);
    median(measurements.map(|(measurement, other)| measurement.cpu / other.cpu).collect())
}

/// The ratios of the requests per second of two servers over the rounds.
struct Ratios {
    lowest: f64,
    median: f64,
    highest: f64,
}

impl Ratios {
    fn between(server: &MeasuredServer, other: &MeasuredServer) -> Ratios {
        let measurements = server.measurements.iter().zip(&other.measurements);
        let mut ratios: Vec<f64> = measurements
            .map(|(measurement, other)| measurement.per_second / other.per_second)
            .collect();
        ratios.sort_unstable_by(f64::total_cmp);
        Ratios {
            lowest: ratios[0],
            median: ratios[ratios.len() / 2],
            highest: ratios[ratios.len() - 1],
        }
    }
}

fn print_instances() -> Result<()> {
    let engine = Engine::new(100, &EngineSettings::default())?;
    println!("{:<44} {:>10} {:>9}", "sample", "make", "drop");
    let mut paths = vec![build::root().join("guests/upper/upper.wat")];
    for (language, name) in [
        ("rust", "upper"),
        ("rust", "dupper"),
        ("c", "upper"),
        ("javascript", "upper"),
        ("python", "upper"),
    ] {
        match build::guest(language, name) {
            Ok(path) => paths.push(path),
            Err(error) => println!("left out: {error}"),
        }
    }
    for path in paths {
        let component = Component::load(&engine, &path, &Loader::in_process(Cache::open_user()?))?;
        let times =
            ComponentHandler::new(&engine, &component, Policy::default())?.time_instances(1000)?;
        let short = path.strip_prefix(build::root()).unwrap_or(&path);
        println!(
            "{:<44} {:>7.1} us {:>6.1} us",
            short.display(),
            times.create.as_secs_f64() * 1e6,
            times.drop.as_secs_f64() * 1e6
        );
    }
    Ok(())
}
