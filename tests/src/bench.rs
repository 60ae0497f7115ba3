//! Code that the benches share: their options, a line of progress, and load.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, Result};

use crate::load::{Client, Target};

/// The number of clients of [`send`].
const CLIENTS: u64 = 8;

/// Returns whether `cargo test` runs the bench, which then does nothing.
pub fn is_test() -> bool {
    std::env::args().any(|argument| argument == "--test")
}

/// Returns the value of the option `name` of the command line.
pub fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

/// Returns the value of the option `name` of the command line as a number.
///
/// # Errors
///
/// The value is not a number.
pub fn number(name: &str) -> Result<Option<u64>> {
    let Some(value) = option(name) else { return Ok(None) };
    Ok(Some(value.parse().with_context(|| format!("{name} needs a number, not `{value}`"))?))
}

/// Returns the median of `values`.
///
/// # Panics
///
/// There are no values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Returns the median of ratios, with the lowest and the highest one.
///
/// # Panics
///
/// There are no ratios.
pub fn with_range(mut ratios: Vec<f64>) -> String {
    ratios.sort_unstable_by(f64::total_cmp);
    let (lowest, highest) = (ratios[0], ratios[ratios.len() - 1]);
    format!("{:.3} ({lowest:.3}-{highest:.3})", median(ratios))
}

/// Writes a line of progress over the last one, if standard error is a terminal.
pub fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    }
}

/// The time of all processors since the start of the machine, in ticks, and the part of it
/// that went to other guests of the same hypervisor (`steal` in `proc_stat(5)`).
#[derive(Debug, Clone, Copy)]
pub struct ProcessorTime {
    all: u64,
    stolen: u64,
}

impl ProcessorTime {
    /// Returns the time until now.
    ///
    /// # Errors
    ///
    /// There is no `/proc/stat`.
    pub fn now() -> Result<Self> {
        let stat = std::fs::read_to_string("/proc/stat")?;
        let line = stat.lines().next().context("/proc/stat is empty")?;
        // The first two numbers include the time of guests of this machine.
        let ticks = line.split_whitespace().skip(1).take(8);
        let ticks: Vec<u64> = ticks.map(str::parse).collect::<Result<_, _>>()?;
        Ok(ProcessorTime { all: ticks.iter().sum(), stolen: ticks.last().copied().unwrap_or(0) })
    }

    /// Returns the part of the time since `earlier` that other machines had, in percent.
    /// The larger it is, the less the results of a bench mean.
    #[allow(clippy::cast_precision_loss, reason = "ticks of a run are few")]
    pub fn stolen_since(self, earlier: ProcessorTime) -> f64 {
        let all = self.all.saturating_sub(earlier.all).max(1);
        self.stolen.saturating_sub(earlier.stolen) as f64 / all as f64 * 100.0
    }
}

/// Sends `requests` requests to a server of `upper`, from eight clients at the same time.
/// The line of progress begins with `name`.
///
/// # Errors
///
/// A request has no answer or a wrong one.
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
