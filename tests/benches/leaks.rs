//! Many requests through each of Python's twelve classes, and what is left of
//! them: descriptors, threads, children and memory of the host, before and
//! after.
//!
//! `cargo bench -p socketserver-tests --bench leaks [-- [--requests N] [--only CLASS]]`
//!
//! Ends with exit code 1 if something was left.

use std::io::IsTerminal;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use socketserver::ServerClass;
use socketserver_tests::build;
use socketserver_tests::load::{Client, Target};
use socketserver_tests::process::Server;
use socketserver_tests::usage::Usage;

const CLIENTS: u64 = 8;

/// What comes before the first look: caches fill, threads start.
const WARM_UP: u64 = 2000;

/// How much more memory than before is taken for noise of the allocator.
const NOISE: u64 = 2 << 20;

fn main() -> Result<ExitCode> {
    // Cargo adds `--bench`, and runs benches as tests too.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(ExitCode::SUCCESS);
    }
    let requests: u64 = option("--requests").map_or(Ok(100_000), |text| text.parse())?;
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
    println!("\n{}", if clean { "nothing was left behind" } else { "SOMETHING WAS LEFT BEHIND" });
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
    ask(class.name(), &target, WARM_UP)?;
    let before = settled(server.pid())?;
    let begun = Instant::now();
    ask(class.name(), &target, requests)?;
    #[allow(clippy::cast_precision_loss, reason = "it is shown without decimals")]
    let per_second = requests as f64 / begun.elapsed().as_secs_f64();
    let after = settled(server.pid())?;
    println!(
        "{:<28} {:>12} {:>10} {:>10} {:>20} {per_second:>12.0}",
        class.name(),
        format!("{} -> {}", before.descriptors, after.descriptors),
        format!("{} -> {}", before.threads, after.threads),
        format!("{} -> {}", before.children, after.children),
        format!("{} -> {}", before.memory >> 10, after.memory >> 10),
    );
    let log = server.log().to_vec();
    ensure!(log.is_empty(), "it logged {log:#?}");
    ensure!(server.stop()?.success(), "it did not end as it should");
    Ok(after.descriptors <= before.descriptors
        && after.threads <= before.threads
        && after.children <= before.children
        && after.memory <= before.memory + NOISE)
}

/// Several clients send that many requests in all.
fn ask(name: &str, target: &Target, requests: u64) -> Result<()> {
    let sent = AtomicU64::new(0);
    let client = || -> Result<()> {
        let mut client = Client::new(target)?;
        loop {
            let number = sent.fetch_add(1, Ordering::Relaxed);
            if number >= requests {
                return Ok(());
            }
            if number.is_multiple_of(1000) {
                progress(&format!("{name}: {number} of {requests}"));
            }
            client.ask()?;
        }
    };
    let results: Vec<Result<()>> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        let join = |client: thread::ScopedJoinHandle<'_, Result<()>>| {
            client.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a client panicked")))
        };
        clients.into_iter().map(join).collect()
    });
    progress("");
    results.into_iter().collect()
}

/// What a process holds when nothing changes any more. Threads that have nothing
/// to do are kept for ten seconds.
fn settled(pid: u32) -> Result<Usage> {
    let begun = Instant::now();
    let mut last = Usage::of(pid)?;
    loop {
        thread::sleep(Duration::from_secs(2));
        let now = Usage::of(pid)?;
        let waited = begun.elapsed() > Duration::from_secs(14);
        if (now == last && waited) || begun.elapsed() > Duration::from_mins(1) {
            return Ok(now);
        }
        last = now;
    }
}

fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

/// A line that is written over, on a terminal.
fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    }
}
