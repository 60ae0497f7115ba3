//! Sends many requests to a server of each of Python's twelve classes, and compares the
//! descriptors, threads, children and memory of the host before and after.
//!
//! `cargo bench --workspace --bench leaks [-- [--requests N] [--only CLASS]]`
//!
//! Ends with exit code 1 if resources stay in use.

use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use socketserver::ServerClass;
use socketserver_tests::bench::{is_test, number, option, send};
use socketserver_tests::build;
use socketserver_tests::load::Target;
use socketserver_tests::process::Server;
use socketserver_tests::usage::Usage;

/// The number of requests before the first measurement, which fill caches and start threads.
const WARM_UP: u64 = 2000;

/// The growth of memory that is taken for noise of the allocator.
const NOISE: u64 = 2 << 20;

fn main() -> Result<ExitCode> {
    if is_test() {
        return Ok(ExitCode::SUCCESS);
    }
    let requests = number("--requests")?.unwrap_or(100_000);
    let only = option("--only");
    println!(
        "{requests} requests to each; before -> after\n\n{:<28} {:>12} {:>10} {:>10} {:>20} {:>12}",
        "class", "descriptors", "threads", "children", "memory (KiB)", "requests/s"
    );
    let mut clean = true;
    for class in ServerClass::ALL {
        if only.as_ref().is_none_or(|only| class.name() == only) {
            clean &= run(class, requests).with_context(|| class.name())?;
        }
    }
    println!("\n{}", if clean { "no resource stays in use" } else { "RESOURCES STAY IN USE" });
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run(class: ServerClass, requests: u64) -> Result<bool> {
    let directory = tempfile::tempdir()?;
    let (bind, sample) = match class.scheme() {
        scheme @ "tcp" => (format!("{scheme}://127.0.0.1:0"), "upper"),
        scheme @ "udp" => (format!("{scheme}://127.0.0.1:0"), "dupper"),
        scheme @ "unix" => (format!("{scheme}://{}/socket", directory.path().display()), "upper"),
        scheme => (format!("{scheme}://{}/socket", directory.path().display()), "dupper"),
    };
    let mut command = Command::new(build::host()?);
    command.arg("serve").arg(build::guest("rust", sample)?).args(["--bind", &bind]);
    let mut server = Server::start(command.args(["--server", class.name()]), 1)?;
    let target = Target::parse(&server.endpoints()[0])?;
    send(class.name(), &target, WARM_UP)?;
    let before = usage_at_rest(server.pid())?;
    let begun = Instant::now();
    send(class.name(), &target, requests)?;
    #[allow(clippy::cast_precision_loss, reason = "it is shown without decimals")]
    let per_second = requests as f64 / begun.elapsed().as_secs_f64();
    let after = usage_at_rest(server.pid())?;
    println!(
        "{:<28} {:>12} {:>10} {:>10} {:>20} {per_second:>12.0}",
        class.name(),
        format!("{} -> {}", before.descriptors, after.descriptors),
        format!("{} -> {}", before.threads, after.threads),
        format!("{} -> {}", before.children, after.children),
        format!("{} -> {}", before.memory >> 10, after.memory >> 10),
    );
    let log = server.log().to_vec();
    ensure!(log.is_empty(), "the server logged {log:#?}");
    ensure!(server.stop()?.success(), "the server did not end with exit code 0");
    Ok(after.descriptors <= before.descriptors
        && after.threads <= before.threads
        && after.children <= before.children
        && after.memory <= before.memory + NOISE)
}

/// Waits until the resources of a process are stable, and returns them. The server keeps idle
/// threads for ten seconds.
fn usage_at_rest(pid: u32) -> Result<Usage> {
    let begun = Instant::now();
    let mut last = Usage::of_process(pid)?;
    loop {
        thread::sleep(Duration::from_secs(2));
        let now = Usage::of_process(pid)?;
        let waited = begun.elapsed() > Duration::from_secs(14);
        if (now == last && waited) || begun.elapsed() > Duration::from_mins(1) {
            return Ok(now);
        }
        last = now;
    }
}
