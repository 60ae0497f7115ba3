//! The time that a request takes in a thread of fibers in which other guests are busy.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use socketserver_tests::bench::progress;
use socketserver_tests::process::{TIMEOUT, with_one_processor};
use socketserver_tests::slow_file::{SlowFile, StopAt};

use crate::Programs;

/// A handler that answers `ok` to a byte. To an `x` and another byte it answers that too, and then
/// is busy until its connection is lost.
const HANDLER: &str = include_str!("../../fixtures/handler.wat");
const BUSY: &str = "(call $recv (i32.const 1))
    (call $sendall (i32.const 100) (i32.const 2))
    (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 97))
      (then (loop $for_ever (br $for_ever))))
    (loop $again (drop (call $host_fileno (global.get $request))) (br $again))";

/// A handler that uses WASI: to `p` it answers the names of its directories and `k`, for `z` it
/// sleeps, and for `r` it reads a file.
const WASI: &str = include_str!("../../fixtures/wasi.wat");
const SLEEP: &[u8] = b"z\xff\xff\xff\xff\xff\x00\x00\x00";

/// A server, and the guests that are busy in it.
struct Row {
    name: &'static str,
    guest: Guest,
    /// The bytes that begin the other guests.
    others: &'static [&'static [u8]],
    /// The number of calls on the slow file in which a guest has been stopped.
    stops: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guest {
    Busy,
    Wasi,
}

const fn row(name: &'static str, guest: Guest, others: &'static [&'static [u8]]) -> Row {
    Row { name, guest, others, stops: 0 }
}

const ROWS: [Row; 7] = [
    row("alone", Guest::Busy, &[]),
    row("beside two guests that loop", Guest::Busy, &[b"xa", b"xa"]),
    row("beside two guests that call the host", Guest::Busy, &[b"xb", b"xb"]),
    row("beside two of each", Guest::Busy, &[b"xa", b"xa", b"xb", b"xb"]),
    row("beside two guests that sleep", Guest::Wasi, &[SLEEP, SLEEP]),
    Row { stops: 1, ..row("beside a guest that opens a slow file", Guest::Wasi, &[b"rfile"]) },
    Row { stops: 2, ..row("beside a guest that reads a slow file", Guest::Wasi, &[b"rfile"]) },
];

/// Prints the times of requests in one thread of fibers, for each kind of neighbours.
pub fn print(programs: &Programs<'_>, time: Duration) -> Result<()> {
    println!("\n{:<44} {:>8} {:>9} {:>9} {:>9}", "", "requests", "p50", "p99", "longest");
    for row in &ROWS {
        progress(row.name);
        match measure(programs, row, time) {
            Ok(times) => print_times(row.name, times),
            Err(error) if error.is::<NotHere>() => println!("{:<44} {error:#}", row.name),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The machine does not let this process make a file slow.
#[derive(Debug)]
struct NotHere;

impl std::fmt::Display for NotHere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not measured: only root can make a file slow")
    }
}

impl std::error::Error for NotHere {}

/// Returns the times of requests beside the guests of a row.
fn measure(programs: &Programs<'_>, row: &Row, time: Duration) -> Result<Vec<Duration>> {
    let directory = tempfile::tempdir()?;
    let guest = directory.path().join("guest.wat");
    std::fs::write(&guest, row.guest.text())?;
    let programs = Programs { guest: &guest, ..*programs };
    let file = match row.stops {
        0 => None,
        _ => Some(SlowFile::new(StopAt::OpenAndRead).map_err(|_| NotHere)?),
    };
    let granted = file.as_ref().map(|file| format!("{}::/", file.directory().display()));
    let mut options = vec!["--concurrency", "fibers", "--cpu-time", "1h"];
    options.extend(granted.iter().flat_map(|granted| ["--dir", granted]));
    let server = with_one_processor(|| programs.start(&options))?;
    let others = row.others.iter().map(|data| begin(server.address(), data));
    let mut others = others.collect::<Result<Vec<TcpStream>>>()?;
    if row.guest == Guest::Busy {
        others.iter_mut().try_for_each(|other| expect(other, b"ok"))?;
    }
    let mut stopped = None;
    if let Some(file) = &file {
        for _ in 0..row.stops {
            if let Some(stopped) = &stopped {
                file.go_on(stopped)?;
            }
            stopped = Some(file.stop()?);
        }
    }
    let answer: &[u8] = match (row.guest, &file) {
        (Guest::Busy, _) => b"ok",
        (Guest::Wasi, None) => b"k",
        (Guest::Wasi, Some(_)) => b"/\nk",
    };
    let (begun, mut times) = (Instant::now(), Vec::new());
    while begun.elapsed() < time {
        let asked = Instant::now();
        expect(&mut begin(server.address(), b"p")?, answer)?;
        times.push(asked.elapsed());
    }
    if let (Some(file), Some(stopped)) = (&file, stopped) {
        file.go_on(&stopped)?;
    }
    // Without it, no call is stopped any longer, and the server can end.
    drop(file);
    Ok(times)
}

impl Guest {
    /// Returns the component as text.
    fn text(self) -> String {
        let (text, handle) = match self {
            Guest::Busy => (HANDLER, BUSY),
            Guest::Wasi => (WASI, ""),
        };
        let text = text.replace("{{handle}}", handle).replace("{{memory}}", "1");
        let fields =
            ["setup", "finish", "realloc", "post_return", "fields", "component", "imports"];
        fields
            .iter()
            .chain(&["provides"])
            .fold(text, |text, field| text.replace(&format!("{{{{{field}}}}}"), ""))
    }
}

fn print_times(name: &str, mut times: Vec<Duration>) {
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

/// Begins a request.
fn begin(server: SocketAddr, data: &[u8]) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(data)?;
    stream.shutdown(Shutdown::Write)?;
    Ok(stream)
}

/// Waits for an answer.
fn expect(stream: &mut TcpStream, expected: &[u8]) -> Result<()> {
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer)?;
    ensure!(answer == expected, "a wrong answer");
    Ok(())
}
