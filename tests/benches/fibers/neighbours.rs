//! The time that a request takes in a thread of fibers in which other guests are busy.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use socketserver_tests::bench::progress;
use socketserver_tests::process::{Server, TIMEOUT};

use crate::Programs;

/// A handler that answers `ok` to a byte. To an `x` and another byte it answers that too, and then
/// is busy until its connection is lost.
const HANDLER: &str = include_str!("../../fixtures/handler.wat");
const BUSY: &str = "(call $recv (i32.const 1))
    (call $sendall (i32.const 100) (i32.const 2))
    (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 97))
      (then (loop $for_ever (br $for_ever))))
    (loop $again (drop (call $host_fileno (global.get $request))) (br $again))";

/// The other guests, by the bytes that begin them.
const NEIGHBOURS: [(&str, &[&[u8]]); 4] = [
    ("alone", &[]),
    ("beside two guests that loop", &[b"xa", b"xa"]),
    ("beside two guests that call the host", &[b"xb", b"xb"]),
    ("beside two of each", &[b"xa", b"xa", b"xb", b"xb"]),
];

/// Prints the times of requests in one thread of fibers, for each kind of neighbours.
pub fn print(programs: &Programs<'_>, time: Duration) -> Result<()> {
    let fields = ["setup", "finish", "realloc", "post_return", "fields", "component", "imports"];
    let text = HANDLER.replace("{{handle}}", BUSY).replace("{{memory}}", "1");
    let text = fields
        .iter()
        .chain(&["provides"])
        .fold(text, |text, field| text.replace(&format!("{{{{{field}}}}}"), ""));
    let directory = tempfile::tempdir()?;
    let guest = directory.path().join("busy.wat");
    std::fs::write(&guest, text)?;
    let programs = Programs { guest: &guest, ..*programs };
    println!("\n{:<44} {:>8} {:>9} {:>9} {:>9}", "", "requests", "p50", "p99", "longest");
    for (name, neighbours) in NEIGHBOURS {
        progress(name);
        let options = ["--concurrency", "fibers", "--cpu-time", "1h"];
        let server = with_one_processor(|| programs.start(&options))?;
        let busy = neighbours.iter().map(|data| ask(server.address(), data));
        let busy = busy.collect::<Result<Vec<TcpStream>>>()?;
        let (begun, mut times) = (Instant::now(), Vec::new());
        while begun.elapsed() < time {
            let asked = Instant::now();
            ask(server.address(), b"-")?;
            times.push(asked.elapsed());
        }
        drop(busy);
        times.sort_unstable();
        let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
        progress("");
        println!(
            "{name:<44} {:>8} {:>6.1} ms {:>6.1} ms {:>6.1} ms",
            times.len(),
            at(50),
            at(99),
            at(100)
        );
    }
    Ok(())
}

/// Begins a request, and waits for its answer.
fn ask(server: SocketAddr, data: &[u8]) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(data)?;
    let mut answer = [0; 2];
    stream.read_exact(&mut answer)?;
    ensure!(answer == *b"ok", "a wrong answer");
    Ok(stream)
}

/// Calls `start` with one processor, for which a server starts one thread of fibers.
fn with_one_processor(start: impl FnOnce() -> Result<Server> + Send) -> Result<Server> {
    thread::scope(|scope| {
        let start = || {
            let all = sched_getaffinity(None)?;
            let mut one = CpuSet::new();
            let first = (0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu));
            one.set(first.context("no processor")?);
            sched_setaffinity(None, &one)?;
            start()
        };
        scope.spawn(start).join().map_err(|_| anyhow::anyhow!("a start panicked"))?
    })
}
