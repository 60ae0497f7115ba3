//! One generation of a handler: a process that serves.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use socketserver::printable;

use super::description::{Descriptors, ProcessState, Received, from_milliseconds, milliseconds};
use super::sockets::{self, Listening};
use crate::config::Handler;
use crate::generation;
use crate::report::certificates::{self, Certificate};
use crate::report::counters::Counters;
use crate::serve::service::CERTIFICATE;
use crate::values::endpoint::Bind;

/// The time that a process has until it reports, if it does not ask for more. Its handler may
/// have to be built first.
const LONGEST_START: Duration = Duration::from_mins(10);

/// The most time that a process can ask for.
const LONGEST_EXTENSION: Duration = Duration::from_hours(24);

/// The longest report, in bytes.
const MAX_REPORT: usize = 4 << 10;

/// The longest status that is kept, in bytes.
const MAX_STATUS: usize = 200;

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
    /// A child of this process. It is waited for by its number, because another program may have
    /// started it: the one that this program has taken over from.
    pid: Pid,
    /// Set when it has been waited for.
    ended: Option<ExitStatus>,
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
    /// The certificates that it has reported, before it served.
    pub certificates: Vec<Certificate>,
}

impl Process {
    /// Starts a process for a handler at these sockets.
    pub fn start<'a>(
        handler: &Handler,
        sockets: impl Iterator<Item = &'a Listening>,
        generation: u64,
        counted: bool,
    ) -> Result<Process> {
        let sockets: Vec<_> = sockets.collect();
        let fds: Vec<_> = sockets.iter().map(|socket| socket.as_fd()).collect();
        let arguments = arguments(handler, &sockets::have_tls(handler, &sockets)?)?;
        let file = counted.then(Counters::file).transpose().context("no room for counters")?;
        let file = file.as_ref().map(AsFd::as_fd);
        let counters = file.map(Counters::in_file).transpose().context("no room for counters")?;
        let counters = counters.map(Arc::new);
        let (mut command, door) = generation::command(handler, &arguments, &fds, file)?;
        // A terminal sends its signals to the supervisor only, which passes them on.
        command.arg(format!("--number={generation}"));
        let child = command.process_group(0).spawn().context("cannot start a process")?;
        Ok(Process { counters, ..Process::of_child(&child, door, generation)? })
    }

    /// Makes a process of a child that has the other side of this door.
    ///
    /// # Errors
    ///
    /// The child has no number.
    pub(super) fn of_child(child: &Child, door: UnixDatagram, generation: u64) -> Result<Process> {
        let pid = Pid::from_raw(child.id().cast_signed()).context("the process has no number")?;
        let started = Instant::now();
        Ok(Process {
            pid,
            ended: None,
            door,
            counters: None,
            generation,
            started,
            is_ready: false,
            deadline: Some(started + LONGEST_START),
            is_stopping: false,
            status: String::new(),
            certificates: Vec::new(),
        })
    }

    /// Describes the process to the program that takes over from this one.
    pub fn hand_over<'a>(&'a self, fds: &mut Descriptors<'a>) -> ProcessState {
        let now = Instant::now();
        ProcessState {
            pid: self.pid.as_raw_pid(),
            door: fds.add(self.door()),
            generation: self.generation,
            age: milliseconds(now.saturating_duration_since(self.started)),
            is_ready: self.is_ready,
            time_left: self
                .deadline
                .map(|deadline| milliseconds(deadline.saturating_duration_since(now))),
            is_stopping: self.is_stopping,
            status: self.status.clone(),
            certificates: self.certificates.clone(),
        }
    }

    /// Takes over a process that another program has started. Its counters are not taken over:
    /// their places in memory may be others in another program.
    ///
    /// # Errors
    ///
    /// The description is wrong.
    pub fn take_over(state: &ProcessState, fds: &mut Received) -> Result<Process> {
        let pid = Pid::from_raw(state.pid).filter(|pid| pid.as_raw_pid() > 1);
        let pid = pid.context("a process has no number")?;
        ensure!(Some(pid) != Pid::from_raw(std::process::id().cast_signed()), "it is no child");
        let now = Instant::now();
        let door = UnixDatagram::from(fds.take(state.door)?);
        door.set_nonblocking(true)?;
        let mut certificates = Vec::new();
        let shown = state.certificates.iter().cloned();
        shown.for_each(|certificate| certificates::add(&mut certificates, certificate));
        Ok(Process {
            pid,
            ended: None,
            door,
            counters: None,
            generation: state.generation,
            started: now.checked_sub(from_milliseconds(state.age)).unwrap_or(now),
            is_ready: state.is_ready,
            deadline: state.time_left.map(|left| now + from_milliseconds(left)),
            is_stopping: state.is_stopping,
            status: printable(&state.status, MAX_STATUS),
            certificates,
        })
    }

    pub fn pid(&self) -> u32 {
        self.pid.as_raw_pid().unsigned_abs()
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
            CERTIFICATE if !self.is_ready => {
                if let Ok(certificate) = value.parse() {
                    certificates::add(&mut self.certificates, certificate);
                }
            }
            "STOPPING" => self.is_stopping = true,
            "STATUS" => self.status = printable(value, MAX_STATUS),
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
        if self.ended.is_none() {
            self.ended = self.wait_for(WaitOptions::NOHANG);
        }
        self.ended
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

    /// Has the process print its counters. It serves, and so handles the signal.
    pub fn print_counters(&mut self) {
        if self.is_ready {
            self.signal(Signal::USR1);
        }
    }

    fn signal(&mut self, signal: Signal) {
        // The process has not been waited for, so its number is its own.
        if self.has_ended().is_none() {
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Waits for the end of the process, which was killed.
    pub fn wait(&mut self) {
        if self.ended.is_none() {
            self.ended = self.wait_for(WaitOptions::empty());
        }
    }

    fn wait_for(&self, options: WaitOptions) -> Option<ExitStatus> {
        loop {
            return match waitpid(Some(self.pid), options) {
                Ok(waited) => waited.map(|(_, status)| ExitStatus::from_raw(status.as_raw())),
                Err(Errno::INTR) => continue,
                // It is no child of this process, and must not be sent a signal.
                Err(_) => Some(ExitStatus::from_raw(0)),
            };
        }
    }
}

/// Returns the arguments of `serve` for a process that is passed its sockets, some of which may be
/// named as those with TLS.
fn arguments(handler: &Handler, have_tls: &[bool]) -> Result<Vec<String>> {
    let bind = |(at, has_tls): (usize, &bool)| {
        let bind = Bind::Passed { name: Some(at.to_string()), has_tls: *has_tls };
        format!("--bind={bind}")
    };
    let mut arguments: Vec<_> = have_tls.iter().enumerate().map(bind).collect();
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
