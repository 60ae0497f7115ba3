//! Sends much data through one connection, in the sandbox and native.
//!
//! `cargo bench --workspace --bench bulk [-- [--mib N] [--rounds N] [--only GROUP]]`
//!
//! - `echo`: the client sends and receives 1 GiB at the same time. Both handlers receive up to
//!   64 KiB and send that back.
//! - `sendfile`: the client receives a file of 1 GiB, which the kernel sends. The native server
//!   is CPython's, whose `sendfile` is one call of the kernel for the whole file. The handlers are
//!   in Rust and in Python.
//!
//! The result is the median over the rounds of the ratio of the rates in the same round.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use socketserver_tests::bench::{
    ProcessorTime, is_test, median, number, option, progress, with_range,
};
use socketserver_tests::build;
use socketserver_tests::process::Server;
use socketserver_tests::procfs::cpu_time;

/// The number of bytes that the client sends at a time.
const PIECE: usize = 64 << 10;

/// A server that sends a file, by one call of the kernel.
const SENDFILE: &str = "
import socketserver, sys
class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        with open(sys.argv[1], 'rb') as file:
            self.request.sendfile(file)
server = socketserver.ThreadingTCPServer(('127.0.0.1', 0), Handler)
print('listening tcp://127.0.0.1:%d' % server.server_address[1], flush=True)
server.serve_forever()
";

/// The servers of a group, the native one first, and what the client does.
struct Group {
    name: &'static str,
    title: &'static str,
    servers: Vec<(&'static str, Server)>,
    client: fn(SocketAddr, u64) -> Result<()>,
}

fn main() -> Result<()> {
    if is_test() {
        return Ok(());
    }
    let mib = number("--mib")?.unwrap_or(1024).max(1);
    let rounds = number("--rounds")?.unwrap_or(7).max(1);
    let only = option("--only").unwrap_or_default();
    let directory = tempfile::tempdir()?;
    let groups = groups(directory.path(), mib << 20)?;
    let begun = ProcessorTime::now()?;
    println!("{mib} MiB through one connection; {rounds} rounds.");
    println!("Medians; ratios are within a round, with their range.\n");
    for group in groups.iter().filter(|group| group.name.contains(&only)) {
        measure(group, mib, rounds)?;
    }
    let stolen = ProcessorTime::now()?.stolen_since(begun);
    println!("Other machines on the same processors had {stolen:.1}% of their time.");
    Ok(())
}

fn groups(directory: &Path, bytes: u64) -> Result<[Group; 2]> {
    let host = build::install(directory, build::host()?, "host")?;
    let sandbox = |language: &str, guest: &str| -> Result<Command> {
        let mut command = Command::new(&host);
        command.arg("serve").arg(build::guest(language, guest)?);
        command.args(["--bind", "tcp://127.0.0.1:0"]);
        // A connection that lasts for minutes on a slow machine is not what is measured.
        command.args(["--wall-time", "1h", "--cpu-time", "1h"]);
        command.args(["--max-sent", "1TiB", "--max-received", "1TiB"]);
        Ok(command)
    };
    let native = build::install(directory, &build::example("echo")?, "native")?;
    let echo = Group {
        name: "echo",
        title: "echo, each way",
        servers: vec![
            ("native Rust", Server::start(Command::new(native).arg("tcp://127.0.0.1:0"), 1)?),
            ("sandbox: echo (Rust)", Server::start(&mut sandbox("rust", "echo")?, 1)?),
        ],
        client: echo,
    };
    let files = directory.join("files");
    fs::create_dir(&files)?;
    let file = files.join("file");
    fs::File::create(&file)?.set_len(bytes)?;
    let mut native = Command::new("python3");
    native.args(["-c", SENDFILE]).arg(&file);
    let sender = |language| -> Result<Server> {
        let mut sender = sandbox(language, "sender")?;
        sender.args(["--dir", &format!("{}::/files:ro", files.display())]);
        Server::start(&mut sender, 1)
    };
    let sendfile = Group {
        name: "sendfile",
        title: "sendfile",
        servers: vec![
            ("native: CPython", Server::start(&mut native, 1)?),
            ("sandbox: sender (Rust)", sender("rust")?),
            ("sandbox: sender (Python)", sender("python")?),
        ],
        client: receive,
    };
    Ok([echo, sendfile])
}

fn measure(group: &Group, mib: u64, rounds: u64) -> Result<()> {
    let mut runs = vec![Vec::new(); group.servers.len()];
    // The first run brings the file into memory.
    for round in 0..=rounds {
        for ((name, server), runs) in group.servers.iter().zip(&mut runs) {
            progress(&format!("{}: round {round} of {rounds}: {name}", group.name));
            let run = run(server, group.client, mib)?;
            runs.extend((round > 0).then_some(run));
        }
    }
    progress("");
    println!("{:<24} {:>8} {:>12} {:>21} {:>21}", group.title, "MiB/s", "CPU/MiB", "rate", "CPU");
    for ((name, _), own) in group.servers.iter().zip(&runs) {
        let ratio = |value: fn(&Run) -> f64| {
            let both = own.iter().zip(&runs[0]);
            with_range(both.map(|(own, native)| value(own) / value(native)).collect())
        };
        println!(
            "{name:<24} {:>8.0} {:>9.1} us {:>21} {:>21}",
            median(own.iter().map(|run| run.rate).collect()),
            median(own.iter().map(|run| run.cpu).collect()),
            ratio(|run| run.rate),
            ratio(|run| run.cpu),
        );
    }
    println!();
    Ok(())
}

/// The results of one server in one round.
#[derive(Clone)]
struct Run {
    /// MiB per second.
    rate: f64,
    /// CPU time of the server for a MiB, in microseconds.
    cpu: f64,
}

fn run(server: &Server, client: fn(SocketAddr, u64) -> Result<()>, mib: u64) -> Result<Run> {
    let cpu_before = cpu_time(server.pid())?;
    let begun = Instant::now();
    client(server.address(), mib << 20)?;
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
    read_all(&mut stream, bytes)?;
    sender.join().map_err(|_| anyhow!("the sender panicked"))??;
    Ok(())
}

/// Receives `bytes` bytes.
fn receive(address: SocketAddr, bytes: u64) -> Result<()> {
    read_all(&mut TcpStream::connect(address)?, bytes)
}

fn read_all(stream: &mut TcpStream, bytes: u64) -> Result<()> {
    let (mut buffer, mut received) = (vec![0; PIECE], 0);
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            count => received += count as u64,
        }
    }
    ensure!(received == bytes, "{received} bytes of {bytes} came");
    Ok(())
}
