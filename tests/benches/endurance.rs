//! A million requests of the sample over loopback, and the memory of the host
//! after the first hundred thousand and at the end.
//!
//! Each request in flight has a thread and a memory, of which something is kept for the
//! next, and how many there are at once is up to the machine: the eight clients have
//! been seen with fifteen, for one comes again before the thread of its last request is
//! done. So it begins with as many at once as there can be, and what is compared is not
//! how busy the machine was.
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
use socketserver_tests::process::{PATIENCE, Server};
use socketserver_tests::usage::Usage;

/// How much more memory the end may have than the first tenth, in percent.
const MORE: u64 = 2;

/// Two for each client.
const AT_ONCE: usize = 16;

/// How many looks are taken at the memory, of which the first is compared with
/// the last.
const LOOKS: u64 = 10;

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
    at_once(&server)?;
    let mut looks = Vec::new();
    for look in 1..=LOOKS {
        let (sent, now) = (requests * (look - 1) / LOOKS, requests * look / LOOKS);
        let begun = Instant::now();
        send(&format!("{sent} are done"), &target, now - sent)?;
        let usage = Usage::of(server.pid())?;
        #[allow(clippy::cast_precision_loss, reason = "it is shown without decimals")]
        let per_second = (now - sent) as f64 / begun.elapsed().as_secs_f64();
        println!(
            "{now:>10} {:>14} {:>13} {:>9} {per_second:>12.0}",
            usage.memory >> 10,
            usage.descriptors,
            usage.threads
        );
        looks.push(usage.memory);
    }
    progress("");
    let log = server.log().to_vec();
    ensure!(log.is_empty(), "it logged {log:#?}");
    ensure!(server.stop()?.success(), "it did not end as it should");
    let (first, last) = (looks[0], looks[looks.len() - 1]);
    #[allow(clippy::cast_precision_loss, reason = "it is shown with two decimals")]
    let change = 100.0 * (last as f64 / first as f64 - 1.0);
    let holds = last * 100 <= first * (100 + MORE);
    let verdict = if holds { "within" } else { "MORE THAN" };
    println!(
        "\nmemory changed by {change:+.2}% from the first tenth to the end: {verdict} {MORE}%"
    );
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Has as many requests in flight at once, and then ends them.
fn at_once(server: &Server) -> Result<()> {
    let clients: Result<Vec<_>> = (0..AT_ONCE).map(|_| server.connect()).collect();
    let begun = Instant::now();
    // One thread is that which accepts.
    while Usage::of(server.pid())?.threads <= AT_ONCE {
        ensure!(begun.elapsed() < PATIENCE, "they are not in flight");
        std::thread::sleep(Duration::from_millis(1));
    }
    for mut client in clients? {
        client.write_all(b"x")?;
        client.read_to_end(&mut Vec::new())?;
    }
    Ok(())
}
