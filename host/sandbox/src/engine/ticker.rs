//! The thread that counts epochs.

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::Pid;
use rustix::thread::gettid;

use crate::error::EngineError;

/// The duration of an epoch: the grain of CPU time.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// The thread that counts epochs. It ends when this is dropped.
pub(crate) struct Ticker {
    /// Dropped to stop it.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<Pid>>,
}

impl Ticker {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub(crate) fn start(engine: wasmtime::Engine) -> Result<Ticker, EngineError> {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("epoch-ticker".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                    engine.increment_epoch();
                }
                gettid()
            })
            .map_err(|error| EngineError::Engine(format!("cannot start its ticker: {error}")))?;
        Ok(Ticker { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop = None;
        // The thread does not panic.
        if let Some(Ok(thread)) = self.thread.take().map(JoinHandle::join) {
            wait_until_gone(thread);
        }
    }
}

/// Waits until a thread that has ended is gone from `/proc`, which is a moment after it can
/// be joined. A fork counts the threads of the process there.
fn wait_until_gone(thread: Pid) {
    let task = format!("/proc/self/task/{}", thread.as_raw_nonzero());
    let begun = Instant::now();
    while Path::new(&task).exists() && begun.elapsed() < Duration::from_secs(1) {
        thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;

    fn tickers() -> usize {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
        let names = tasks.filter_map(|task| name(task.unwrap()));
        names.filter(|name| name.trim() == "epoch-ticker").count()
    }

    /// A thread sets its name a moment after it begins.
    fn wait_for_tickers(count: usize) {
        let begun = Instant::now();
        while tickers() != count {
            assert!(begun.elapsed() < Duration::from_secs(30), "{} tickers", tickers());
            thread::yield_now();
        }
    }

    #[test]
    fn one_ticker_runs_from_the_first_request_to_the_end_of_the_engine() {
        let engine = Engine::new(1, &crate::EngineSettings::default()).unwrap();
        assert_eq!(tickers(), 0);
        let temporary = engine.temporary_ticker().unwrap();
        wait_for_tickers(1);
        drop(temporary);
        assert_eq!(tickers(), 0);
        engine.start_ticking().unwrap();
        engine.start_ticking().unwrap();
        let same = engine.clone();
        drop(engine);
        same.start_ticking().unwrap();
        wait_for_tickers(1);
        drop(same);
        assert_eq!(tickers(), 0);
    }
}
