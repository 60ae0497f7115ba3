//! Measures one server for a given time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::load::{Client, Target};
use crate::procfs::cpu_time;
use anyhow::{Result, ensure};

/// The number of clients that send at the same time.
pub const CLIENTS: usize = 8;

/// The results of one server in one round.
pub struct Measurement {
    /// Requests per second.
    pub per_second: f64,
    /// The median of the times of a request.
    pub p50: Duration,
    /// The time that one in a hundred requests exceeds.
    pub p99: Duration,
    /// CPU time of the server for a request, in microseconds.
    pub cpu: f64,
}

/// Sends requests to the server with the process ID `pid` for `time`.
///
/// # Errors
///
/// A request has no answer or a wrong one, or the server has ended.
pub fn measure(target: &Target, pid: u32, time: Duration) -> Result<Measurement> {
    measure_with(target, pid, time, CLIENTS)
}

/// As [`measure`], with another number of clients than [`CLIENTS`].
///
/// # Errors
///
/// As for [`measure`].
pub fn measure_with(
    target: &Target,
    pid: u32,
    time: Duration,
    clients: usize,
) -> Result<Measurement> {
    measure_clients(pid, time, clients, || {
        let mut client = Client::new(target)?;
        Ok(move || client.ask())
    })
}

/// As [`measure`], with clients of another kind. Each is a function that sends one request and
/// reads its answer, and is made in a thread of its own.
///
/// # Errors
///
/// As for [`measure`].
pub fn measure_clients<C: FnMut() -> Result<()>>(
    pid: u32,
    time: Duration,
    clients: usize,
    new_client: impl Fn() -> Result<C> + Sync,
) -> Result<Measurement> {
    let stop = AtomicBool::new(false);
    let cpu_before = cpu_time(pid)?;
    let begun = Instant::now();
    let latencies: Result<Vec<Vec<Duration>>> = thread::scope(|scope| {
        let clients: Vec<_> =
            (0..clients).map(|_| scope.spawn(|| client(new_client()?, &stop))).collect();
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        clients
            .into_iter()
            .map(|client| client.join().map_err(|_| anyhow::anyhow!("a client panicked"))?)
            .collect()
    });
    let elapsed = begun.elapsed();
    let cpu = cpu_time(pid)?.saturating_sub(cpu_before);
    let mut latencies = latencies?.concat();
    ensure!(!latencies.is_empty(), "no request was answered");
    latencies.sort_unstable();
    let requests = f64::from(u32::try_from(latencies.len())?);
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
    Ok(Measurement {
        per_second: requests / elapsed.as_secs_f64(),
        cpu: cpu.as_secs_f64() * 1e6 / requests,
        p50: at(50),
        p99: at(99),
    })
}

fn client(mut ask: impl FnMut() -> Result<()>, stop: &AtomicBool) -> Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        ask()?;
        latencies.push(begun.elapsed());
    }
    Ok(latencies)
}
