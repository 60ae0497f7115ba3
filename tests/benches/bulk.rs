//! Sends much data through one connection of an echo server, in the sandbox and native.
//!
//! `cargo bench --workspace --bench bulk [-- [--mib N] [--rounds N]]`
//!
//! The client sends and receives 1 GiB at the same time. Both handlers receive up to 64 KiB and
//! send that back. The result is the median over the rounds of the ratio of the rates in the
//! same round.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use socketserver_tests::bench::{ProcessorTime, is_test, median, number, progress};
use socketserver_tests::build;
use socketserver_tests::process::Server;
use socketserver_tests::procfs::cpu_time;

/// The number of bytes that the client sends at a time.
const PIECE: usize = 64 << 10;

fn main() -> Result<()> {
    if is_test() {
        return Ok(());
    }
    let mib = number("--mib")?.unwrap_or(1024).max(1);
    let rounds = number("--rounds")?.unwrap_or(7).max(1);
    let directory = tempfile::tempdir()?;
    let native = build::install(directory.path(), &build::example("echo")?, "native")?;
    let host = build::install(directory.path(), build::host()?, "host")?;
    let mut sandbox = Command::new(host);
    sandbox.arg("serve").arg(build::guest("rust", "echo")?).args(["--bind", "tcp://127.0.0.1:0"]);
    // A connection that lasts for minutes on a slow machine is not what is measured.
    sandbox.args(["--wall-time", "1h", "--cpu-time", "1h"]);
    let servers = [
        ("native Rust", Server::start(Command::new(native).arg("tcp://127.0.0.1:0"), 1)?),
        ("sandbox: echo (Rust)", Server::start(&mut sandbox, 1)?),
    ];
    let begun = ProcessorTime::now()?;
    let mut runs = [Vec::new(), Vec::new()];
    for round in 1..=rounds {
        for ((name, server), runs) in servers.iter().zip(&mut runs) {
            progress(&format!("round {round} of {rounds}: {name}"));
            runs.push(run(server, mib)?);
        }
    }
    progress("");
    println!(
        "{mib} MiB each way through one connection; {rounds} rounds. Medians; ratios are within a round.\n"
    );
    println!("{:<24} {:>8} {:>12} {:>10} {:>10}", "", "MiB/s", "CPU/MiB", "rate", "CPU");
    for ((name, _), own) in servers.iter().zip(&runs) {
        let ratio = |value: fn(&Run) -> f64| {
            median(
                own.iter().zip(&runs[0]).map(|(own, native)| value(own) / value(native)).collect(),
            )
        };
        println!(
            "{name:<24} {:>8.0} {:>9.1} us {:>10.3} {:>10.3}",
            median(own.iter().map(|run| run.rate).collect()),
            median(own.iter().map(|run| run.cpu).collect()),
            ratio(|run| run.rate),
            ratio(|run| run.cpu),
        );
    }
    let stolen = ProcessorTime::now()?.stolen_since(begun);
    println!("\nOther machines on the same processors had {stolen:.1}% of their time.");
    Ok(())
}

/// The results of one server in one round.
struct Run {
    /// MiB per second.
    rate: f64,
    /// CPU time of the server for a MiB, in microseconds.
    cpu: f64,
}

fn run(server: &Server, mib: u64) -> Result<Run> {
    let cpu_before = cpu_time(server.pid())?;
    let begun = Instant::now();
    echo(server.address(), mib << 20)?;
    let elapsed = begun.elapsed();
    let cpu = cpu_time(server.pid())?.saturating_sub(cpu_before);
    let mib = f64::from(u32::try_from(mib)?);
    Ok(Run { rate: mib / elapsed.as_secs_f64(), cpu: cpu.as_secs_f64() * 1e6 / mib })
}

/// Sends `bytes` bytes, and receives as many at the same time.
fn echo(address: SocketAddr, bytes: u64) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    let mut sending = stream.try_clone()?;
    let sender = thread::spawn(move || -> std::io::Result<()> {
        let piece = vec![b'x'; PIECE];
        let mut left = bytes;
        while left > 0 {
            let length = left.min(PIECE as u64);
            sending.write_all(&piece[..usize::try_from(length).unwrap_or(PIECE)])?;
            left -= length;
        }
        sending.shutdown(Shutdown::Write)
    });
    let (mut buffer, mut received) = (vec![0; PIECE], 0);
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            count => received += count as u64,
        }
    }
    sender.join().map_err(|_| anyhow!("the sender panicked"))??;
    ensure!(received == bytes, "{received} bytes of {bytes} came back");
    Ok(())
}
