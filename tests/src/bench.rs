//! What benches have in common: their options, a line of progress, and load.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, Result};

use crate::load::{Client, Target};

/// How many clients [`send`] has.
const CLIENTS: u64 = 8;

/// Whether this is a run of `cargo test`, which runs benches as well.
pub fn is_test() -> bool {
    std::env::args().any(|argument| argument == "--test")
}

/// What stands behind the option `name` on the command line.
pub fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

/// The same, as a number.
///
/// Errors: it is none.
pub fn number(name: &str) -> Result<Option<u64>> {
    let Some(value) = option(name) else { return Ok(None) };
    Ok(Some(value.parse().with_context(|| format!("{name} needs a number, not `{value}`"))?))
}

/// A line that is written over, on a terminal.
pub fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    }
}

/// The time of the processors so far, in ticks: how much there was, and how much
/// of it went to other guests of the same hypervisor (`steal` in `proc_stat(5)`).
#[derive(Debug, Clone, Copy)]
pub struct ProcessorTime {
    all: u64,
    stolen: u64,
}

impl ProcessorTime {
    /// Until now.
    ///
    /// Errors: there is no `/proc/stat`.
    pub fn now() -> Result<Self> {
        let stat = std::fs::read_to_string("/proc/stat")?;
        let line = stat.lines().next().context("/proc/stat is empty")?;
        // What guests of this machine used is in the first two already.
        let ticks = line.split_whitespace().skip(1).take(8);
        let ticks: Vec<u64> = ticks.map(str::parse).collect::<Result<_, _>>()?;
        Ok(ProcessorTime { all: ticks.iter().sum(), stolen: ticks.last().copied().unwrap_or(0) })
    }

    /// Which part of the time since `earlier` others had, in percent. What a bench
    /// says is worth less, the more that is: waits are theirs, too.
    #[allow(clippy::cast_precision_loss, reason = "ticks of a run are few")]
    pub fn stolen_since(self, earlier: ProcessorTime) -> f64 {
        let all = self.all.saturating_sub(earlier.all).max(1);
        self.stolen.saturating_sub(earlier.stolen) as f64 / all as f64 * 100.0
    }
}

/// Eight clients of `upper` send that many requests in all; `name` is for the line
/// of progress.
///
/// Errors: one is not answered as it should be.
pub fn send(name: &str, target: &Target, requests: u64) -> Result<()> {
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
