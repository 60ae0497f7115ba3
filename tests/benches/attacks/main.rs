//! Measures how long a bystander waits for its answers while others attack the server, and
//! while there is no attack.
//!
//! The handler is hostile to some clients and answers others. One bystander sends one request
//! after another, first without the attack and then during it, in several rounds. The result is
//! the median over the rounds of the ratio within a round. The attackers run on the same machine
//! with the lowest priority: on another machine they would have processors of their own, here
//! they take only the time that is left.
//!
//! `cargo bench --workspace --bench attacks [-- [--rounds N] [--seconds N] [--only NAME] [--json] [--options OPTIONS]]`
//!
//! OPTIONS are more options of `serve`, such as `--profile hostile`.

mod attack;

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::setpriority_process;
use socketserver_tests::bench::{ProcessorTime, is_test, number, option, progress};
use socketserver_tests::build;
use socketserver_tests::bystander::Bystander;
use socketserver_tests::process::Server;
use socketserver_tests::usage::Usage;

use crate::attack::{ATTACKS, Attack};

/// The goal: during an attack a bystander waits at most this many times as long.
const GOAL: f64 = 3.0;

/// The pause between two requests of the bystander. Without it the bystander would run out of
/// ports, and the bench would measure the kernel.
const PAUSE: Duration = Duration::from_millis(5);

/// The lowest priority (`setpriority(2)`).
const LOWEST: i32 = 19;

/// The two measurements of a round.
struct Round {
    without: Measurement,
    during: Measurement,
}

/// The rate and the waits of a bystander.
struct Measurement {
    per_second: f64,
    p50: Duration,
    p99: Duration,
}

fn main() -> Result<()> {
    if is_test() {
        return Ok(());
    }
    let rounds = number("--rounds")?.unwrap_or(5).max(1);
    let time = Duration::from_secs(number("--seconds")?.unwrap_or(2).max(1));
    let only = option("--only").unwrap_or_default();
    let json = std::env::args().any(|argument| argument == "--json");
    let directory = tempfile::tempdir()?;
    if !json {
        println!(
            "One bystander; {rounds} rounds of {time:?} without the attack and {time:?} during it."
        );
        println!("Medians over the rounds; ratios are within a round.\n");
        println!(
            "{:<34} {:>21} {:>21} {:>21} {:>20}",
            "attack", "requests/s", "p50", "p99", "p99 ratio (range)"
        );
    }
    let begun = ProcessorTime::now()?;
    let (mut within, mut all) = (0, 0);
    for attack in ATTACKS.iter().filter(|attack| attack.name.contains(&only)) {
        let measured = measure(attack, directory.path(), rounds, time);
        let measured = measured.with_context(|| attack.name)?;
        let ratio = print(attack, &measured, json);
        all += 1;
        within += usize::from(ratio <= GOAL);
    }
    if !json {
        println!("\nwithin {GOAL} times: {within} of {all}");
        let stolen = ProcessorTime::now()?.stolen_since(begun);
        println!("Other machines on the same processors had {stolen:.1}% of their time.");
    }
    Ok(())
}

fn measure(attack: &Attack, directory: &Path, rounds: u64, time: Duration) -> Result<Vec<Round>> {
    let path = directory.join("hostile.wat");
    std::fs::write(&path, text(attack))?;
    let mut command = Command::new(build::host()?);
    command.arg("serve").arg(&path).args(["--bind", "tcp://127.0.0.1:0"]);
    let more = option("--options").unwrap_or_default();
    command.args(attack.options).args(more.split_whitespace());
    let mut server = Server::start(&mut command, 1)?;
    let bystander = Bystander::new(&server.endpoints()[0], b"-", b"ok")?;
    let address = server.address();
    let quiet = Usage::of_process(server.pid())?.descriptors;
    let mut measured = Vec::new();
    for round in 1..=rounds {
        progress(&format!("{}: round {round} of {rounds}", attack.name));
        // The requests of the attack before end by their limits.
        while Usage::of_process(server.pid())?.descriptors > quiet {
            thread::sleep(Duration::from_millis(10));
        }
        let without = ask(&bystander, time)?;
        let stop = AtomicBool::new(false);
        let during = thread::scope(|scope| {
            scope.spawn(|| {
                // The priority also holds for threads that this thread starts.
                let _ = setpriority_process(None, LOWEST);
                attack.clients.attack(address, &stop);
            });
            let during = ask(&bystander, time);
            stop.store(true, Ordering::Relaxed);
            during
        })?;
        measured.push(Round { without, during });
    }
    progress("");
    let harmed = server.log().iter().find(|line| Bystander::is_named_in(line));
    ensure!(harmed.is_none(), "a bystander was harmed: {harmed:?}");
    Ok(measured)
}

/// Returns the text of the handler of an attack.
fn text(attack: &Attack) -> String {
    let mut text = include_str!("../../fixtures/handler.wat").to_owned();
    if attack.opens_sockets {
        text = text
            .replace("{{component}}", include_str!("../../fixtures/network/component.wat"))
            .replace("{{imports}}", include_str!("../../fixtures/network/imports.wat"))
            .replace("{{provides}}", include_str!("../../fixtures/network/provides.wat"))
            .replace("{{fields}}", include_str!("../../fixtures/network/functions.wat"));
    }
    let text = text
        .replace("{{handle}}", attack.handle)
        .replace("{{fields}}", attack.fields)
        .replace("{{memory}}", "1");
    // The other names in braces are replaced by nothing.
    let mut parts = text.split("{{");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once("}}").map_or(part, |(_, rest)| rest))
}

fn ask(bystander: &Bystander, time: Duration) -> Result<Measurement> {
    let (begun, mut waits) = (Instant::now(), Vec::new());
    while begun.elapsed() < time {
        let asked = Instant::now();
        bystander.ask()?;
        waits.push(asked.elapsed());
        thread::sleep(PAUSE);
    }
    let elapsed = begun.elapsed();
    waits.sort_unstable();
    let at = |percent: usize| waits[(waits.len() - 1) * percent / 100];
    let per_second = f64::from(u32::try_from(waits.len())?) / elapsed.as_secs_f64();
    Ok(Measurement { per_second, p50: at(50), p99: at(99) })
}

fn print(attack: &Attack, rounds: &[Round], json: bool) -> f64 {
    let sorted = |value: &dyn Fn(&Round) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(value).collect();
        values.sort_unstable_by(f64::total_cmp);
        values
    };
    let median = |value: &dyn Fn(&Round) -> f64| sorted(value)[rounds.len() / 2];
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let per_second =
        (median(&|round| round.without.per_second), median(&|round| round.during.per_second));
    let p50 =
        (median(&|round| micros(round.without.p50)), median(&|round| micros(round.during.p50)));
    let p99 =
        (median(&|round| micros(round.without.p99)), median(&|round| micros(round.during.p99)));
    let ratios = sorted(&|round| micros(round.during.p99) / micros(round.without.p99));
    let (lowest, ratio, highest) = (ratios[0], ratios[ratios.len() / 2], ratios[ratios.len() - 1]);
    if json {
        let line = serde_json::json!({
            "attack": attack.name,
            "requests_per_second": [per_second.0, per_second.1],
            "p50_us": [p50.0, p50.1],
            "p99_us": [p99.0, p99.1],
            "p99_ratio": { "median": ratio, "lowest": lowest, "highest": highest },
        });
        println!("{line}");
    } else {
        println!(
            "{:<34} {:>21} {:>21} {:>21} {:>20}",
            attack.name,
            format!("{:.0} -> {:.0}", per_second.0, per_second.1),
            format!("{:.0} -> {:.0} us", p50.0, p50.1),
            format!("{:.0} -> {:.0} us", p99.0, p99.1),
            format!("{ratio:.2} ({lowest:.2}-{highest:.2})"),
        );
    }
    ratio
}
