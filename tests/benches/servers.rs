//! Servers side by side, in one run on one machine.
//!
//! Each request is a connection of its own: connect, send 64 bytes, read the
//! answer to its end. Eight clients send them one after the other. The servers
//! take turns, several times, so that a slow moment of the machine does not
//! hit one of them alone; what counts is the ratio to the native server of the
//! same turn, and of that the median.
//!
//! `cargo bench -p socketserver-tests [-- [--rounds N] [--seconds N]]`

use std::io::{IsTerminal, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use socketserver_sandbox::{Cache, Component, ComponentHandler, Engine, Policy};
use socketserver_tests::build;
use socketserver_tests::process::Server;

/// The class of CPython that does as the host does.
const THREADING: &str = "ThreadingTCPServer";
const CLIENTS: usize = 8;
const QUESTION: [u8; 64] = [b'q'; 64];
const ANSWER: [u8; 64] = [b'Q'; 64];

fn main() -> Result<()> {
    // Cargo adds `--bench`, and runs benches as tests too.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let rounds = option("--rounds")?.unwrap_or(7).max(1);
    let seconds = option("--seconds")?.unwrap_or(2).max(1);
    let mut contestants = contestants()?;
    for round in 1..=rounds {
        for contestant in &mut contestants {
            progress(&format!("round {round} of {rounds}: {}", contestant.name));
            let turn = measure(contestant.server.address(), Duration::from_secs(seconds))
                .with_context(|| contestant.name.clone())?;
            contestant.turns.push(turn);
        }
    }
    progress("");
    println!(
        "A connection per request, {} bytes, {CLIENTS} clients; {rounds} rounds of {seconds} s.",
        QUESTION.len()
    );
    println!("Medians over the rounds; ratios are within a round.\n");
    print_servers(&contestants);
    drop(contestants);
    println!("\nAn instance of each sample:\n");
    print_instances()
}

struct Contestant {
    name: String,
    server: Server,
    turns: Vec<Turn>,
}

/// What one server did in one round.
struct Turn {
    per_second: f64,
    p50: Duration,
    p99: Duration,
}

/// The native server first: the others are compared with it.
fn contestants() -> Result<Vec<Contestant>> {
    let mut contestants = Vec::new();
    let mut add = |name: &str, command: &mut Command| -> Result<()> {
        let server = Server::start(command, 1).with_context(|| name.to_owned())?;
        contestants.push(Contestant { name: name.to_owned(), server, turns: Vec::new() });
        Ok(())
    };
    add("native Rust, threading", Command::new(build::native_upper()?).arg("tcp://127.0.0.1:0"))?;
    let serve = |guest: Option<&std::path::Path>| -> Result<Command> {
        let mut command = Command::new(build::host()?);
        command.arg("serve").args(guest).args(["--bind", "tcp://127.0.0.1:0"]);
        Ok(command)
    };
    add("sandbox, threading: upper (Rust)", &mut serve(Some(&build::guest("rust", "upper")?))?)?;
    add("sandbox, threading: upper (WAT, embedded)", &mut serve(None)?)?;
    // As they are shipped, and once with a backlog like the host's: up to 3.14
    // it is 5, and clients that do not fit wait for a second.
    let cpython = [
        ("TCPServer", None),
        (THREADING, None),
        (THREADING, Some("4096")),
        ("ForkingTCPServer", None),
    ];
    for (class, backlog) in cpython {
        let script = build::root().join("tests/benches/cpython.py");
        let name = format!("CPython {class}{}", backlog.map_or("", |_| ", backlog 4096"));
        let started = add(&name, Command::new("python3").arg(script).arg(class).args(backlog));
        if let Err(error) = started {
            println!("left out: {error:#}");
        }
    }
    Ok(contestants)
}

fn measure(address: SocketAddr, time: Duration) -> Result<Turn> {
    let stop = AtomicBool::new(false);
    let begun = Instant::now();
    let latencies: Result<Vec<Vec<Duration>>> = thread::scope(|scope| {
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| scope.spawn(|| client(address, &stop))).collect();
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        clients
            .into_iter()
            .map(|client| client.join().map_err(|_| anyhow::anyhow!("a client panicked"))?)
            .collect()
    });
    let elapsed = begun.elapsed();
    let mut latencies = latencies?.concat();
    ensure!(!latencies.is_empty(), "no request was answered");
    latencies.sort_unstable();
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
    Ok(Turn {
        per_second: f64::from(u32::try_from(latencies.len())?) / elapsed.as_secs_f64(),
        p50: at(50),
        p99: at(99),
    })
}

fn client(address: SocketAddr, stop: &AtomicBool) -> Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    let mut answer = Vec::with_capacity(ANSWER.len());
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(&QUESTION)?;
        answer.clear();
        stream.read_to_end(&mut answer)?;
        ensure!(answer == ANSWER, "a wrong answer: {answer:?}");
        latencies.push(begun.elapsed());
    }
    Ok(latencies)
}

fn print_servers(contestants: &[Contestant]) {
    let threading = contestants.iter().find(|contestant| contestant.name.ends_with(THREADING));
    println!(
        "{:<44} {:>10} {:>9} {:>9}  {:>25} {:>22}",
        "server", "requests/s", "p50", "p99", "ratio to native (range)", "to ThreadingTCPServer"
    );
    for contestant in contestants {
        let of = |value: fn(&Turn) -> f64| median(contestant.turns.iter().map(value).collect());
        let native = Ratios::of(contestant, &contestants[0]);
        let threads = threading.map(|threading| Ratios::of(contestant, threading));
        println!(
            "{:<44} {:>10.0} {:>6.0} us {:>6.0} us  {:>25} {:>22}",
            contestant.name,
            of(|turn| turn.per_second),
            of(|turn| turn.p50.as_secs_f64() * 1e6),
            of(|turn| turn.p99.as_secs_f64() * 1e6),
            format!("{:.3} ({:.3}-{:.3})", native.median, native.lowest, native.highest),
            threads.map_or_else(String::new, |ratios| format!("{:.2}", ratios.median)),
        );
    }
}

/// How a server compares with another, round by round.
struct Ratios {
    lowest: f64,
    median: f64,
    highest: f64,
}

impl Ratios {
    fn of(contestant: &Contestant, with: &Contestant) -> Ratios {
        let turns = contestant.turns.iter().zip(&with.turns);
        let mut ratios: Vec<f64> =
            turns.map(|(turn, other)| turn.per_second / other.per_second).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        Ratios {
            lowest: ratios[0],
            median: ratios[ratios.len() / 2],
            highest: ratios[ratios.len() - 1],
        }
    }
}

fn print_instances() -> Result<()> {
    let engine = Engine::new(100)?;
    println!("{:<44} {:>10} {:>9}", "sample", "make", "drop");
    let mut paths = vec![build::root().join("guests/upper/upper.wat")];
    for (language, name) in [
        ("rust", "upper"),
        ("rust", "echo"),
        ("c", "upper"),
        ("javascript", "upper"),
        ("python", "upper"),
    ] {
        match build::guest(language, name) {
            Ok(path) => paths.push(path),
            Err(error) => println!("left out: {error}"),
        }
    }
    for path in paths {
        let component = Component::load(&engine, &path, &Cache::of_user()?)?;
        let times =
            ComponentHandler::new(&engine, &component, Policy::default())?.time_instances(1000)?;
        let short = path.strip_prefix(build::root()).unwrap_or(&path);
        println!(
            "{:<44} {:>7.1} us {:>6.1} us",
            short.display(),
            times.create.as_secs_f64() * 1e6,
            times.drop.as_secs_f64() * 1e6
        );
    }
    Ok(())
}

/// The middle one.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn option(name: &str) -> Result<Option<u64>> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    let Some(_) = arguments.next() else { return Ok(None) };
    let value = arguments.next().with_context(|| format!("{name} needs a number"))?;
    Ok(Some(value.parse().with_context(|| format!("{name} needs a number, not `{value}`"))?))
}

/// A line that is written over, on a terminal.
fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    }
}
