//! One generation of a handler: a process that serves.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use socketserver::printable;

use super::sockets::Listening;
use crate::config::Handler;
use crate::generation;
use crate::report::counters::Counters;

/// The time that a process has until it reports, if it does not ask for more. Its handler may
/// have to be built first.
const LONGEST_START: Duration = Duration::from_mins(10);

/// The most time that a process can ask for.
const LONGEST_EXTENSION: Duration = Duration::from_hours(24);

/// The longest report, in bytes.
const MAX_REPORT: usize = 4 << 10;

/// The most reports that are read at once.
const MAX_REPORTS: usize = 64;

/// The options of sockets, which the supervisor has bound.
const OF_SOCKETS: [&str; 8] = [
    "bind",
    "server",
    "socket-mode",
    "socket-owner",
    "remove-stale-socket",
    "request-queue-size",
    "allow-reuse-address",
    "allow-reuse-port",
];

/// A process that serves a handler, or will do so.
pub struct Process {
    child: Child,
    door: UnixDatagram,
    /// The counters of the process, if someone looks at them.
    pub counters: Option<Arc<Counters>>,
    /// The number of the generation.
    pub generation: u64,
    /// The time of the start.
    pub started: Instant,
    /// True from its first report on that it serves.
    pub is_ready: bool,
    /// The time at which the process is killed.
    pub deadline: Option<Instant>,
    /// True from its report on that it ends.
    is_stopping: bool,
    /// The last status that the process has reported.
    pub status: String,
}

impl Process {
    /// Starts a process for a handler at these sockets.
    pub fn start<'a>(
        handler: &Handler,
        sockets: impl Iterator<Item = &'a Listening>,
        generation: u64,
        counted: bool,
    ) -> Result<Process> {
        let fds: Vec<_> = sockets.map(Listening::as_fd).collect();
        let arguments = arguments(handler, fds.len())?;
        let file = counted.then(Counters::file).transpose().context("no room for counters")?;
        let file = file.as_ref().map(AsFd::as_fd);
        let counters = file.map(Counters::in_file).transpose().context("no room for counters")?;
        let counters = counters.map(Arc::new);
        let (mut command, door) = generation::command(handler, &arguments, &fds, file)?;
        // A terminal sends its signals to the supervisor only, which passes them on.
        command.arg(format!("--number={generation}"));
        let child = command.process_group(0).spawn().context("cannot start a process")?;
        let started = Instant::now();
        let deadline = Some(started + LONGEST_START);
        let (is_ready, is_stopping, status) = (false, false, String::new());
        Ok(Process {
            child,
            door,
            counters,
            generation,
            started,
            is_ready,
            deadline,
            is_stopping,
            status,
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn door(&self) -> BorrowedFd<'_> {
        self.door.as_fd()
    }

    /// Reads the reports that have come.
    pub fn hear(&mut self) {
        for _ in 0..MAX_REPORTS {
            let mut report = [0; MAX_REPORT];
            let Ok(length) = self.door.recv(&mut report) else { return };
            let report = String::from_utf8_lossy(&report[..length]).into_owned();
            for (name, value) in report.lines().filter_map(|line| line.split_once('=')) {
                self.heard(name, value);
            }
        }
    }

    fn heard(&mut self, name: &str, value: &str) {
        match name {
            "READY" if value == "1" && !self.is_ready => {
                self.is_ready = true;
                self.deadline = None;
            }
            "STOPPING" => self.is_stopping = true,
            "STATUS" => self.status = printable(value, 200),
            "EXTEND_TIMEOUT_USEC" if !self.is_ready => {
                let time = value.parse().map(Duration::from_micros).unwrap_or_default();
                let until = Instant::now() + time.min(LONGEST_EXTENSION);
                self.deadline = self.deadline.map(|deadline| deadline.max(until));
            }
            _ => {}
        }
    }

    /// Returns how the process has ended, if it has.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Makes the process finish its requests, and kills it after `time`.
    pub fn end(&mut self, time: Duration) {
        self.hear();
        // Another signal would end it at once. Someone may have sent one to all processes.
        if !self.is_stopping {
            self.signal(Signal::TERM);
        }
        self.deadline = Some(Instant::now() + time);
    }

    /// Kills the process if its time is over. Returns true then.
    pub fn kill_if_late(&mut self, now: Instant) -> bool {
        let is_late = self.deadline.is_some_and(|deadline| deadline <= now);
        if is_late {
            self.kill();
        }
        is_late
    }

    /// Kills the process.
    pub fn kill(&mut self) {
        self.deadline = None;
        self.signal(Signal::KILL);
    }

    fn signal(&mut self, signal: Signal) {
        // The process has not been waited for, so its number is its own.
        if matches!(self.child.try_wait(), Ok(None))
            && let Some(pid) = Pid::from_raw(self.child.id().cast_signed())
        {
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits for the end of the process, which was killed.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }
}

/// Returns the arguments of `serve` for a process that is passed its sockets.
fn arguments(handler: &Handler, sockets: usize) -> Result<Vec<String>> {
    let mut arguments: Vec<_> = (0..sockets).map(|at| format!("--bind=systemd://{at}")).collect();
    let server = &handler.options.server;
    if server.python.server.is_some() && server.running.workers.is_none() {
        // The class names an address, too.
        let kind = handler.options.clone().settings()?.concurrency.kind();
        arguments.push(format!("--concurrency={}", kind.as_str()));
    }
    let mut is_option = true;
    for argument in &handler.arguments {
        is_option &= argument.starts_with("--") && argument != "--";
        let name = argument.trim_start_matches("--").split('=').next().unwrap_or_default();
        if !(is_option && OF_SOCKETS.contains(&name)) {
            arguments.push(argument.clone());
        }
    }
    Ok(arguments)
}
