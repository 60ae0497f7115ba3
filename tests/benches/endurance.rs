//! Sends a million requests to the sample over loopback, and compares the memory of the host
//! after the first hundred thousand with that at the end.
//!
//! Each request in flight has a thread and a memory, parts of which the host keeps for the next
//! request. The number of requests at once depends on the load of the machine: eight clients
//! have had up to fifteen, because a client sends the next request before the thread of its
//! last one has ended. So the bench first has as many requests in flight as there can be.
//!
//! `cargo bench --workspace --bench endurance [-- [--requests N]]`
//!
//! Ends with exit code 1 if memory has grown by more than 2%.

use std::io::{Read, Write};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use socketserver_tests::bench::{is_test, number, progress, send};
use socketserver_tests::build;
use socketserver_tests::load::Target;
use socketserver_tests::process::{Server, TIMEOUT};
use socketserver_tests::usage::Usage;

/// The growth of memory from the first tenth to the end that is allowed, in percent.
const MAX_GROWTH: u64 = 2;

/// The requests in flight at first: two for each client.
const AT_ONCE: usize = 16;

/// The number of times that memory is measured. The first is compared with the last.
const MEASUREMENTS: u64 = 10;

fn main() -> Result<ExitCode> {
    if is_test() {
        return Ok(ExitCode::SUCCESS);
    }
    let requests = number("--requests")?.unwrap_or(1_000_000);
    let mut command = Command::new(build::host()?);
    command.arg("serve").arg(build::guest("rust", "upper")?);
    let mut server = Server::start(command.args(["--bind", "tcp://127.0.0.1:0"]), 1)?;
    let target = Target::parse(&server.endpoints()[0])?;
    println!("{requests} requests, each a connection of its own\n");
    println!(
        "{:>10} {:>14} {:>13} {:>9} {:>12}",
        "requests", "memory (KiB)", "descriptors", "threads", "requests/s"
    );
    run_at_once(&server)?;
    let mut measurements = Vec::new();
    for measurement in 1..=MEASUREMENTS {
        let (sent, now) =
            (requests * (measurement - 1) / MEASUREMENTS, requests * measurement / MEASUREMENTS);
        let begun = Instant::now();
        send(&format!("{sent} are done"), &target, now - sent)?;
        let usage = Usage::of_process(server.pid())?;
        #[allow(clippy::cast_precision_loss, reason = "it is shown without decimals")]
        let per_second = (now - sent) as f64 / begun.elapsed().as_secs_f64();
        println!(
            "{now:>10} {:>14} {:>13} {:>9} {per_second:>12.0}",
            usage.memory >> 10,
            usage.descriptors,
            usage.threads
        );
        measurements.push(usage.memory);
    }
    progress("");
    let log = server.log().to_vec();
    ensure!(log.is_empty(), "the server logged {log:#?}");
    ensure!(server.stop()?.success(), "the server did not end with exit code 0");
    let (first, last) = (measurements[0], measurements[measurements.len() - 1]);
    #[allow(clippy::cast_precision_loss, reason = "it is shown with two decimals")]
    let change = 100.0 * (last as f64 / first as f64 - 1.0);
    let holds = last * 100 <= first * (100 + MAX_GROWTH);
    let verdict = if holds { "within" } else { "MORE THAN" };
    println!(
        "\nmemory changed by {change:+.2}% from the first tenth to the end: {verdict} {MAX_GROWTH}%"
    );
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Has [`AT_ONCE`] requests in flight at the same time, and then ends them.
fn run_at_once(server: &Server) -> Result<()> {
    let clients: Result<Vec<_>> = (0..AT_ONCE).map(|_| server.connect()).collect();
    let begun = Instant::now();
    // One more thread accepts connections.
    while Usage::of_process(server.pid())?.threads <= AT_ONCE {
        ensure!(begun.elapsed() < TIMEOUT, "the requests are not in flight");
        std::thread::sleep(Duration::from_millis(1));
    }
    for mut client in clients? {
        client.write_all(b"x")?;
        client.read_to_end(&mut Vec::new())?;
    }
    Ok(())
}
