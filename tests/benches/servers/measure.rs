//! What one server does in a given time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use socketserver_tests::load::{Client, Target};

pub const CLIENTS: usize = 8;

/// What one server did in one round.
pub struct Turn {
    pub per_second: f64,
    pub p50: Duration,
    pub p99: Duration,
}

/// Keeps a server busy for that long.
pub fn measure(target: &Target, time: Duration) -> Result<Turn> {
    let stop = AtomicBool::new(false);
    let begun = Instant::now();
    let latencies: Result<Vec<Vec<Duration>>> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| client(target, &stop))).collect();
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

fn client(target: &Target, stop: &AtomicBool) -> Result<Vec<Duration>> {
    let mut client = Client::new(target)?;
    let mut latencies = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        client.ask()?;
        latencies.push(begun.elapsed());
    }
    Ok(latencies)
}
