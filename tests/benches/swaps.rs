//! Sends a million requests to handlers of `up`, over TCP, UDP, and Unix sockets of both kinds,
//! while the handlers are replaced every second.
//!
//! Each answer must be whole, and of one version: no connection is refused or reset, and no
//! datagram is sent twice.
//!
//! `cargo bench --workspace --bench swaps [-- [--requests N]]`
//!
//! Ends with an error at the first request that is lost, refused, or answered by two versions.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use socketserver_tests::bench::{is_test, number, progress};
use socketserver_tests::build;
use socketserver_tests::load::Target;
use socketserver_tests::process::Server;
use socketserver_tests::swaps::{self, configuration, datagram_handler, stream_handler};

/// The time from one swap to the next.
const PERIOD: Duration = Duration::from_secs(1);

/// The clients of each socket.
const CLIENTS: u64 = 2;

/// The ways of running requests, as keys of the configuration.
const MODES: [&str; 2] = ["concurrency = \"threading\"", "workers = 2"];

/// The number of requests and swaps, and the numbers of answers of each version.
#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    answers: [AtomicU64; 2],
}

fn main() -> Result<ExitCode> {
    if is_test() {
        return Ok(ExitCode::SUCCESS);
    }
    let requests = number("--requests")?.unwrap_or(1_000_000);
    println!(
        "{:<26} {:>9} {:>6} {:>10} {:>10} {:>11}",
        "mode", "requests", "swaps", "by one", "by other", "requests/s"
    );
    for mode in MODES {
        run(mode, requests / MODES.len() as u64)?;
    }
    println!("\nnone was lost, refused, or answered by two versions");
    Ok(ExitCode::SUCCESS)
}

fn run(mode: &str, requests: u64) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    write(folder, 'a')?;
    fs::write(folder.join("c.toml"), configuration(folder, mode))?;
    let mut command = Command::new(build::host()?);
    let mut server = Server::start(command.arg("up").arg(folder.join("c.toml")), 4)?;
    server.wait_for_log("all 2 handlers serve")?;
    let targets: Result<Vec<_>> =
        server.endpoints().iter().map(|endpoint| Target::parse(endpoint)).collect();
    let (counts, end, begun) = (Counts::default(), AtomicBool::new(false), Instant::now());
    let swaps = thread::scope(|scope| {
        let swaps = scope.spawn(|| swap(folder, &end));
        let mut clients = Vec::new();
        for target in &targets? {
            for _ in 0..CLIENTS {
                let (target, counts) = (target.clone(), &counts);
                clients.push(scope.spawn(move || send(&target, requests, counts)));
            }
        }
        let results: Vec<_> = clients.into_iter().map(thread::ScopedJoinHandle::join).collect();
        end.store(true, Ordering::Relaxed);
        let swaps = swaps.join().map_err(|_| anyhow!("the swaps panicked"))?;
        results.into_iter().try_for_each(|one| one.map_err(|_| anyhow!("a client panicked"))?)?;
        swaps
    })?;
    progress("");
    let time = begun.elapsed().as_secs_f64();
    ensure!(server.stop()?.success(), "the server did not end with exit code 0");
    let [one, other] = counts.answers.map(AtomicU64::into_inner);
    #[allow(clippy::cast_precision_loss, reason = "it is shown without decimals")]
    let per_second = (one + other) as f64 / time;
    let all = one + other;
    println!("{mode:<26} {all:>9} {swaps:>6} {one:>10} {other:>10} {per_second:>11.0}");
    Ok(())
}

/// Writes the handlers of a version, in one step each.
fn write(folder: &Path, letter: char) -> Result<()> {
    for (name, text) in [("stream", stream_handler(letter)), ("datagram", datagram_handler(letter))]
    {
        let new = folder.join("new");
        fs::write(&new, text)?;
        fs::rename(&new, folder.join(name).with_extension("wat"))?;
    }
    Ok(())
}

/// Replaces the handlers until the end, and returns how often.
fn swap(folder: &Path, end: &AtomicBool) -> Result<u64> {
    let mut swaps = 0;
    while !end.load(Ordering::Relaxed) {
        let next = Instant::now() + PERIOD;
        write(folder, if swaps % 2 == 0 { 'b' } else { 'a' })?;
        let mut reload = Command::new(build::host()?);
        let output = reload.arg("reload").arg("--control").arg(folder.join("control")).output()?;
        ensure!(output.status.success(), "a reload failed: {output:?}");
        swaps += 1;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(swaps)
}

/// Sends requests to one socket until all clients together have sent enough.
fn send(target: &Target, requests: u64, counts: &Counts) -> Result<()> {
    let client = swaps::client(target)?;
    loop {
        let number = counts.sent.fetch_add(1, Ordering::Relaxed);
        if number >= requests {
            return Ok(());
        }
        if number.is_multiple_of(1000) {
            progress(&format!("{number} of {requests}"));
        }
        let letter = swaps::ask(&client).map_err(|error| {
            // The other clients end, too.
            counts.sent.store(requests, Ordering::Relaxed);
            error.context(format!("{target:?}, after {number} requests"))
        })?;
        ensure!(matches!(letter, 'a' | 'b'), "an answer of {letter:?}");
        counts.answers[usize::from(letter == 'b')].fetch_add(1, Ordering::Relaxed);
    }
}
