//! The end of the server: the time that clients have to be served, the second signal, and
//! the counters.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use socketserver::Server;

use super::service::ServiceManager;
use super::signals::SecondSignal;
use crate::report::LogFormat;
use crate::report::counters::Counters;
use crate::report::log;
use crate::settings::{Drain, ShutdownSettings};

/// The end of a server.
#[derive(Clone)]
pub struct Shutdown {
    /// The time to wait, and what to wait for.
    pub settings: ShutdownSettings,
    /// The signal that ends the waiting.
    pub second_signal: SecondSignal,
    /// The counters, if the operator wants to see them at the end.
    pub final_counters: Option<FinalCounters>,
    /// The service manager, which is told that the server ends.
    pub manager: Arc<ServiceManager>,
    /// The counters, which show that the server ends.
    pub counters: Arc<Counters>,
}

/// The counters that are printed at the end.
#[derive(Clone)]
pub struct FinalCounters {
    /// The counters.
    pub counters: Arc<Counters>,
    /// The format of the log.
    pub format: LogFormat,
}

impl Shutdown {
    /// Makes the second signal end the process after the final counters, if there are any,
    /// and not at once.
    pub fn defer_second_signal(&self) {
        if self.final_counters.is_some() {
            self.second_signal.defer();
        }
    }

    /// Starts a thread that ends the process when the grace time after the first signal is
    /// over, whatever still runs. A server that runs its requests in the thread that serves
    /// needs it. `signalled` becomes readable at the signal.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn exit_after_grace(&self, signalled: OwnedFd, server: Arc<Server>) -> io::Result<()> {
        let shutdown = self.clone();
        thread::Builder::new().name("grace".to_owned()).spawn(move || {
            let mut fds = [PollFd::from_borrowed_fd(signalled.as_fd(), PollFlags::IN)];
            while poll(&mut fds, None) == Err(Errno::INTR) {}
            let drain = shutdown.settings.drain;
            if drain == Drain::InFlightAndQueued {
                server.stop_listening();
            }
            shutdown.log_begin();
            if drain != Drain::Nothing {
                shutdown.wait(true, |left| {
                    thread::sleep(left);
                    false
                });
                shutdown.log_overdue();
            }
            shutdown.print_counters();
            process::exit(0);
        })?;
        Ok(())
    }

    /// Logs that a signal has come, and how long the server waits, and tells the service
    /// manager.
    pub fn log_begin(&self) {
        self.counters.drains();
        self.manager.stopping(self.settings.grace);
        log_grace(self.waits().then_some(self.settings.grace));
    }

    /// Waits for requests in flight within the grace time, prints the counters and ends the
    /// process.
    pub fn finish(&self, server: &Server) -> ! {
        let mut in_flight = 0;
        self.wait(self.waits(), |left| {
            in_flight = server.server_close_within(left);
            in_flight == 0
        });
        if in_flight > 0 && self.waits() {
            self.log_overdue();
        }
        // The kernel kills a child when its parent ends, but not one that was stopped before
        // it could ask the kernel for that.
        server.kill_children();
        self.print_counters();
        log::log_dropped_lines(true);
        // Requests that still run in threads end with the process.
        process::exit(0)
    }

    /// Waits for the grace time, or until `is_done`. If `interruptible`, a second signal ends
    /// the process after the final counters; without final counters it ends it at once in any
    /// case.
    fn wait(&self, interruptible: bool, is_done: impl FnMut(Duration) -> bool) {
        let print = || self.print_counters();
        let before_exit = (interruptible && self.final_counters.is_some()).then_some(&print);
        let before_exit = before_exit.map(|print| print as &dyn Fn());
        self.second_signal.wait(self.settings.grace, before_exit, is_done);
    }

    /// Returns true if clients are still served.
    fn waits(&self) -> bool {
        self.settings.drain != Drain::Nothing
    }

    fn print_counters(&self) {
        if let Some(FinalCounters { counters, format }) = &self.final_counters {
            counters.print(*format);
        }
    }

    fn log_overdue(&self) {
        let grace = self.settings.grace;
        tracing::warn!(
            "clients were still being served, or waiting, after {grace:?}; they are cut off"
        );
    }
}

fn log_grace(grace: Option<Duration>) {
    if let Some(grace) = grace {
        tracing::info!(
            "ending: clients that have come have {grace:?} to be served; another signal ends it now"
        );
    } else {
        tracing::info!("ending: requests in flight are not waited for");
    }
}
