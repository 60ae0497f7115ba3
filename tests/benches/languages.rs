//! Compares the languages of the sample `upper`, beside CPython's `ThreadingTCPServer`.
//!
//! | column | content |
//! |---|---|
//! | size | of the component |
//! | build | after an edit, with the compiler and its libraries at hand |
//! | first load | from the start of `serve` to `listening`, with an empty cache: the handler is compiled |
//! | cached load | the same with the compiled handler in the cache |
//! | memory | that an instance begins with |
//! | instance | the time to make one |
//! | requests/s, CPU | of 64 bytes each way, a connection each, in threads |
//!
//! The servers are measured in turn, in several rounds; figures are medians over the rounds, and
//! the ratio is within a round. The output is the table of `docs/src/benchmarks.md`.
//!
//! `cargo bench --workspace --bench languages [-- [--rounds N] [--seconds N] [--only LANGUAGE]]`

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use socketserver_tests::bench::{ProcessorTime, is_test, median, number, option, progress};
use socketserver_tests::build::{self, LANGUAGES};
use socketserver_tests::load::Target;
use socketserver_tests::measure::{CLIENTS, Measurement, measure};
use socketserver_tests::process::Server;

/// The languages whose compilers compile libraries at the first build.
const WARMED: [&str; 4] = ["rust", "c", "cpp", "go"];

const BIND: [&str; 2] = ["--bind", "tcp://127.0.0.1:0"];

/// A row of the table.
struct Row {
    name: String,
    /// The columns before those about requests.
    facts: [String; 6],
    server: Server,
    measurements: Vec<Measurement>,
}

/// The host, and a folder for its cache and for copies of sources.
struct Bench {
    host: PathBuf,
    folder: PathBuf,
    rounds: usize,
}

fn main() -> Result<()> {
    if is_test() {
        return Ok(());
    }
    let rounds = number("--rounds")?.unwrap_or(5).max(1);
    let seconds = number("--seconds")?.unwrap_or(2).max(1);
    let only = option("--only");
    let directory = tempfile::tempdir()?;
    let folder = directory.path().to_owned();
    let host = build::install(&folder, build::host()?, "host")?;
    let bench = Bench { host, folder, rounds: usize::try_from(rounds)? };
    let begun = ProcessorTime::now()?;
    let mut rows = Vec::new();
    let text = build::root().join("guests/upper/upper.wat");
    if only.is_none() {
        rows.push(bench.row("WAT", &text, None)?);
    }
    for (language, extension) in LANGUAGES {
        if only.as_ref().is_some_and(|only| only != language) {
            continue;
        }
        let source = text.with_extension(extension);
        rows.push(bench.row(language, &build::guest(language, "upper")?, Some(&source))?);
    }
    rows.push(bench.cpython()?);
    for round in 1..=rounds {
        for row in &mut rows {
            progress(&format!("round {round} of {rounds}: {}", row.name));
            let target = Target::parse(&row.server.endpoints()[0])?;
            let measured = measure(&target, row.server.pid(), Duration::from_secs(seconds));
            row.measurements.push(measured.with_context(|| row.name.clone())?);
        }
    }
    progress("");
    let stolen = ProcessorTime::now()?.stolen_since(begun);
    print(&rows);
    println!(
        "\n{CLIENTS} clients; {rounds} rounds of {seconds} s. Other machines on the same processors had {stolen:.1}% of their time."
    );
    Ok(())
}

fn print(rows: &[Row]) {
    println!(
        "| handler | size | build | first load | cached load | memory | instance | requests/s | CPU | to CPython (range) |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    let Some(cpython) = rows.last() else { return };
    for Row { name, facts, measurements, .. } in rows {
        let median_of =
            |value: fn(&Measurement) -> f64| median(measurements.iter().map(value).collect());
        let mut ratios: Vec<f64> = measurements
            .iter()
            .zip(&cpython.measurements)
            .map(|(one, other)| one.per_second / other.per_second)
            .collect();
        ratios.sort_unstable_by(f64::total_cmp);
        println!(
            "| {name} | {} | {:.0} | {:.0} us | {:.2} ({:.2}-{:.2}) |",
            facts.join(" | "),
            median_of(|measurement| measurement.per_second),
            median_of(|measurement| measurement.cpu),
            ratios[ratios.len() / 2],
            ratios[0],
            ratios[ratios.len() - 1],
        );
    }
}

impl Bench {
    /// Measures all of a handler but its requests, and starts its server.
    fn row(&self, name: &str, component: &Path, source: Option<&Path>) -> Result<Row> {
        progress(name);
        let build = match source {
            Some(source) => self.build_time(name, source)?,
            None => None,
        };
        let serve = || {
            let mut command = self.command(&["serve"]);
            command.arg(component).args(BIND);
            command
        };
        let start = || start_time(&mut serve());
        let (first, _) = start()?;
        let cached: Result<Vec<f64>> = (0..self.rounds).map(|_| Ok(start()?.0)).collect();
        let (_, server) = start()?;
        let inspected = self.command(&["inspect", "--json"]).arg(component).output()?;
        let report: Value = serde_json::from_slice(&inspected.stdout)
            .with_context(|| String::from_utf8_lossy(&inspected.stderr).into_owned())?;
        let fact = |key: &str| report[key].as_f64().with_context(|| format!("no `{key}`"));
        let facts = [
            kib(fact("size")?),
            build.map_or_else(|| "-".to_owned(), seconds),
            seconds(first),
            seconds(median(cached?)),
            kib(fact("initial_memory")?),
            format!("{:.0} us", fact("instance_create_us")?),
        ];
        Ok(Row { name: name.to_owned(), facts, server, measurements: Vec::new() })
    }

    /// Starts CPython's server.
    fn cpython(&self) -> Result<Row> {
        let script = build::root().join("tests/benches/servers/cpython.py");
        let start = || start_time(Command::new("python3").arg(&script).arg("ThreadingTCPServer"));
        let times: Result<Vec<f64>> = (0..self.rounds).map(|_| Ok(start()?.0)).collect();
        let (_, server) = start()?;
        let none = || "-".to_owned();
        let facts = [none(), none(), none(), seconds(median(times?)), none(), none()];
        let name = "CPython `ThreadingTCPServer`".to_owned();
        Ok(Row { name, facts, server, measurements: Vec::new() })
    }

    /// Returns the time of a build in seconds, or `None` if it fails, as it does where Rust has no
    /// target for WebAssembly but that of Debian's packages.
    fn build_time(&self, language: &str, source: &Path) -> Result<Option<f64>> {
        let folder = self.folder.join(language);
        fs::create_dir_all(&folder)?;
        let file = folder.join(source.file_name().unwrap_or_default());
        fs::copy(source, &file)?;
        let build = || -> Result<Option<f64>> {
            let mut command = self.command(&["build"]);
            command.arg(&file).arg("-o").arg(folder.join("built.wasm"));
            let begun = Instant::now();
            let output = command.output()?;
            if !output.status.success() {
                println!("left out: {}", String::from_utf8_lossy(&output.stderr).trim());
                return Ok(None);
            }
            Ok(Some(begun.elapsed().as_secs_f64()))
        };
        if WARMED.contains(&language) && build()?.is_none() {
            return Ok(None);
        }
        let text = fs::read_to_string(&file)?;
        fs::write(&file, format!("{text}\n"))?;
        build()
    }

    /// Returns a command of the host, with the tools of `cargo guests` and a cache of its own.
    fn command(&self, arguments: &[&str]) -> Command {
        let guests = build::guest_folder();
        let tools = ["venv/bin", "node/node_modules/.bin"].map(|folder| guests.join(folder));
        let mut path = env::join_paths(tools).unwrap_or_default();
        path.push(":");
        path.push(env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new(&self.host);
        command.args(arguments).env("PATH", path).env("XDG_CACHE_HOME", self.folder.join("cache"));
        // The compiled libraries of the languages.
        command.env("CARGO_TARGET_DIR", guests.join("languages"));
        command.env("GOCACHE", guests.join("gocache"));
        for variable in ["ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"] {
            command.env(variable, guests.join("zig"));
        }
        command
    }
}

/// Starts a server, and returns the time until it listens, in seconds.
fn start_time(command: &mut Command) -> Result<(f64, Server)> {
    let begun = Instant::now();
    let server = Server::start(command, 1)?;
    ensure!(!server.endpoints().is_empty(), "the server does not listen");
    Ok((begun.elapsed().as_secs_f64(), server))
}

fn seconds(time: f64) -> String {
    if time < 1.0 { format!("{:.0} ms", time * 1e3) } else { format!("{time:.1} s") }
}

/// Returns a size, in KiB or MiB.
fn kib(bytes: f64) -> String {
    let kib = bytes / 1024.0;
    if kib < 1024.0 { format!("{kib:.0} KiB") } else { format!("{:.1} MiB", kib / 1024.0) }
}
