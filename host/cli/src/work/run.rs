//! Running a program: its output, its failure, and signals meanwhile.

use std::fmt;
use std::io::{ErrorKind, PipeReader, Read, pipe};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, kill_process_group};

use super::kept::Kept;
use super::progress::Progress;

/// The time between two looks at the program.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// The longest output that is read for its content, in bytes.
const MAX_OUTPUT: usize = 32 << 20;

/// The signals that end a build.
const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// The error of a build that a signal ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted {
    /// The number of the signal.
    pub signal: u8,
}

impl fmt::Display for Interrupted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the build was interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Runs a program to its end.
///
/// # Errors
///
/// The program is not installed, or fails: the error has its output. A signal ended the build:
/// the error is [`Interrupted`], and the program and all that it had started are killed.
pub fn run(command: &mut Command, progress: &mut Progress) -> Result<()> {
    let (output, writer) = pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    watch(command, &output, None, progress)?;
    Ok(())
}

/// Runs a program to its end, as [`run()`] does, and returns its standard output, which an error
/// does not have.
///
/// # Errors
///
/// As for [`run()`], and if the program prints more than 32 MiB.
pub fn run_for_output(command: &mut Command, progress: &mut Progress) -> Result<Vec<u8>> {
    let (errors, errors_writer) = pipe()?;
    let (output, output_writer) = pipe()?;
    command.stdout(output_writer).stderr(errors_writer);
    watch(command, &errors, Some(&output), progress)
}

fn watch(
    command: &mut Command,
    errors: &PipeReader,
    output: Option<&PipeReader>,
    progress: &mut Progress,
) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let signals = BlockedSignals::block()?;
    // A group of its own: at a signal the programs that it has started are killed with it.
    let child = command.stdin(Stdio::null()).process_group(0).spawn();
    let mut child = child.map_err(|error| match error.kind() {
        ErrorKind::NotFound => anyhow::anyhow!("`{name}` is not installed"),
        _ => anyhow::Error::new(error).context(format!("cannot run `{name}`")),
    })?;
    let ended = read_until_end(&mut child, errors, output, &signals, progress);
    if !matches!(ended, Ok((Some(_), ..))) {
        kill(&mut child);
    }
    let (status, printed, content) = ended?;
    match status {
        Some(status) if status.success() => Ok(content),
        Some(status) => bail!("`{name}` failed ({status}):\n{}", printed.text()),
        None => bail!("`{name}` prints too much"),
    }
}

/// Returns the status of the program, and what it printed. Without a status it printed too much.
fn read_until_end(
    child: &mut Child,
    errors: &PipeReader,
    output: Option<&PipeReader>,
    signals: &BlockedSignals,
    progress: &Progress,
) -> Result<(Option<ExitStatus>, Kept, Vec<u8>)> {
    let (mut printed, mut content) = (Kept::default(), Vec::new());
    ioctl_fionbio(errors, true)?;
    if let Some(output) = output {
        ioctl_fionbio(output, true)?;
    }
    loop {
        progress.show();
        // Before the output is read, so that all of it is.
        let status = child.try_wait().context("cannot wait for it")?;
        printed.read(errors)?;
        if let Some(output) = output {
            read_content(output, &mut content)?;
            if content.len() > MAX_OUTPUT {
                return Ok((None, printed, content));
            }
        }
        if status.is_some() {
            return Ok((status, printed, content));
        }
        let mut sources = vec![errors.as_fd(), signals.descriptor.as_fd()];
        sources.extend(output.map(AsFd::as_fd));
        let mut sources: Vec<_> =
            sources.iter().map(|source| PollFd::new(source, PollFlags::IN)).collect();
        match poll(&mut sources, Some(&TICK)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(signal) = signals.take()? {
            return Err(Interrupted { signal }.into());
        }
    }
}

/// Reads what there is, and at most a little more than is allowed.
fn read_content(mut from: &PipeReader, content: &mut Vec<u8>) -> Result<()> {
    let mut buffer = [0; 16 << 10];
    while content.len() <= MAX_OUTPUT {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => content.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Kills a program and its group, and waits for it.
fn kill(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.wait();
}

/// The signals of [`ENDING`], which this process reads while a program runs.
struct BlockedSignals {
    before: SigSet,
    descriptor: SignalFd,
}

impl BlockedSignals {
    fn block() -> Result<Self> {
        let mut all = SigSet::empty();
        for signal in ENDING {
            all.add(signal);
        }
        let before = all.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        match SignalFd::with_flags(&all, flags) {
            Ok(descriptor) => Ok(BlockedSignals { before, descriptor }),
            Err(error) => {
                before.thread_set_mask()?;
                Err(error.into())
            }
        }
    }

    /// Takes a signal that has come.
    fn take(&self) -> Result<Option<u8>> {
        let signal = self.descriptor.read_signal()?;
        Ok(signal.and_then(|info| u8::try_from(info.ssi_signo).ok()))
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        let _ = self.before.thread_set_mask();
    }
}
