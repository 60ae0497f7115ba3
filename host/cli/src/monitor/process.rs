//! `monitor`: the hidden command that shows a server of `serve`. The server starts it in a
//! process of its own, which ends when the server has ended.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write, stdin};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use nix::unistd::dup2_stdin;
use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};
use signal_hook::flag::register;
use socketserver::{Endpoint, printable};
use socketserver_jail::{Descriptors, Jail, JailMode, Role};

use super::view::{HandlerView, Source, View, state_of};
use super::{Door, MonitorSettings, run};
use crate::options::MonitorOptions;
use crate::report::certificates::Certificate;
use crate::report::counters::{Counters, Phase, Totals};
use crate::values::owner::Identity;

/// The longest report of the process, in bytes.
const MAX_REPORT: u64 = 4 << 10;

/// The server that a monitor shows.
pub struct Shown<'a> {
    /// The name of the handler.
    pub handler: &'a str,
    /// The addresses of the server.
    pub endpoints: &'a [Endpoint],
    /// Its certificates.
    pub certificates: &'a [Certificate],
    /// The user of the monitor, if it is not that of this process.
    pub user: Option<Identity>,
    /// The file of the counters.
    pub counters: OwnedFd,
}

/// Starts the process, and waits until it listens.
///
/// # Errors
///
/// The process cannot be started, or cannot listen.
pub fn start(settings: &MonitorSettings, shown: Shown<'_>) -> Result<()> {
    let mut command = Command::new("/proc/self/exe");
    command.arg("monitor").arg(format!("--name={}", shown.handler));
    command.arg(format!("--server={}", std::process::id()));
    command.args(shown.endpoints.iter().map(|endpoint| format!("--bind={endpoint}")));
    command.args(shown.certificates.iter().map(|one| format!("--certificate={one}")));
    command.args(settings.metrics.iter().map(|endpoint| format!("--metrics={endpoint}")));
    command.args(settings.agent.iter().map(|endpoint| format!("--agent={endpoint}")));
    if let Some(Identity { user, group }) = shown.user {
        command.arg(format!("--user={user}:{group}"));
    }
    #[allow(clippy::zombie_processes, reason = "the monitor ends after this process")]
    let child = command.stdin(shown.counters).stdout(Stdio::piped()).spawn();
    let child = child.context("cannot start the monitor")?;
    let mut report = String::new();
    let output = child.stdout.context("the monitor has no output")?.take(MAX_REPORT);
    BufReader::new(output).read_line(&mut report).context("the monitor does not report")?;
    ensure!(report == READY, "the monitor: {}", printable(report.trim_end(), 400));
    Ok(())
}

/// The report of a monitor that listens.
const READY: &str = "listening\n";

/// Shows the server whose counters are in standard input.
///
/// # Errors
///
/// It cannot listen, or the jail cannot be entered.
pub fn monitor(options: MonitorOptions) -> Result<ExitCode> {
    // A terminal or a supervisor sends these to all processes of the server, whose requests may
    // go on after them.
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1] {
        register(signal, Arc::default()).context("cannot handle signals")?;
    }
    let counters = Counters::in_file(stdin().as_fd()).context("`serve` starts this command")?;
    dup2_stdin(File::open("/dev/null")?)?;
    let mut output = io::stdout();
    let settings = options.monitoring.settings();
    let doors = match settings.bind() {
        Ok(doors) => doors,
        Err(error) => {
            // The server prints it.
            output.write_all(format!("{error:#}").as_bytes())?;
            return Ok(ExitCode::FAILURE);
        }
    };
    // A signal at the end of the parent would not come: the jail of the server forbids it to send
    // any to this process.
    let server = i32::try_from(options.server).ok().and_then(Pid::from_raw);
    let server = server.context("the server has no number")?;
    let end = pidfd_open(server, PidfdFlags::empty()).context("the server has ended")?;
    ensure!(getppid() == Some(server), "the server has ended");
    let descriptors = doors.iter().map(Door::as_fd).chain([end.as_fd()]);
    let descriptors: Vec<_> = descriptors.map(|fd| fd.as_raw_fd()).collect();
    // Entering the jail closes a descriptor that this value would close again.
    let user = options.user.map(|Identity { user, group }| (user, group));
    let jail = Jail { user, ..Jail::new(JailMode::Try) };
    let jail = ManuallyDrop::new(jail.prepare(Role::Worker)?);
    jail.enter(None, &Descriptors::Only(&descriptors))?;
    output.write_all(READY.as_bytes())?;
    output.flush()?;
    let one = One { counters, options, started: Instant::now() };
    run(&doors, &one, Some(end.as_fd())).context("the monitor cannot go on")?;
    Ok(ExitCode::SUCCESS)
}

/// A server of `serve`.
struct One {
    counters: Counters,
    options: MonitorOptions,
    started: Instant,
}

impl Source for One {
    fn look(&self) -> View {
        let One { counters, options, started } = self;
        let phase = counters.phase();
        let mut handler = HandlerView {
            name: options.handler.clone(),
            state: state_of(phase).to_owned(),
            generation: None,
            pid: Some(options.server),
            seconds: started.elapsed().as_secs(),
            restarts: 0,
            last_failure: None,
            addresses: options.bind.clone(),
            certificates: options.certificate.clone(),
            capacity: counters.capacity(),
            totals: Totals::zero(),
            in_flight: Vec::new(),
            failures: Vec::new(),
        };
        handler.add(counters);
        View {
            version: env!("CARGO_PKG_VERSION"),
            ready: phase == Phase::Serving,
            draining: phase == Phase::Draining,
            handlers: vec![handler],
            supervisor: None,
        }
    }
}
