//! `relay`: the hidden command that writes standard input to standard output. The server
//! starts it for an output that cannot be written without waiting. Its process serves no
//! request, and may wait.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Command, ExitCode, Stdio, exit};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::flag::register;

/// The time that it goes on writing after the server has ended.
const AFTER_END: Duration = Duration::from_secs(1);

/// Starts a process that writes to `to` what it reads from the returned pipe. Writing to the
/// pipe fails where it would wait. The process ends when no process has the pipe open.
///
/// # Errors
///
/// The process cannot be started.
pub fn start(to: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let (reads, writes) = pipe_with(PipeFlags::CLOEXEC)?;
    fcntl_setfl(&writes, OFlags::NONBLOCK)?;
    #[allow(clippy::zombie_processes, reason = "the relay ends after this process")]
    Command::new("/proc/self/exe")
        .arg("relay")
        .env_clear()
        .stdin(reads)
        .stdout(to.try_clone_to_owned()?)
        .stderr(Stdio::null())
        .spawn()?;
    Ok(writes)
}

/// Writes standard input to standard output.
pub fn relay() -> Result<ExitCode> {
    // A terminal or a supervisor sends these to all processes of the server, and the server
    // still logs after them.
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
        register(signal, Arc::default()).context("cannot handle signals")?;
    }
    let (stdin, stdout) = (io::stdin(), io::stdout());
    let input = stdin.as_fd().try_clone_to_owned()?;
    // `Stdin` and `Stdout` have buffers and locks.
    let mut from = File::from(stdin.as_fd().try_clone_to_owned()?);
    let mut to = File::from(stdout.as_fd().try_clone_to_owned()?);
    thread::Builder::new().name("end".to_owned()).spawn(move || {
        // Without any events, `poll` returns when the pipe has no writers.
        let mut fds = [PollFd::from_borrowed_fd(input.as_fd(), PollFlags::empty())];
        while poll(&mut fds, None) == Err(Errno::INTR) {}
        thread::sleep(AFTER_END);
        exit(1);
    })?;
    let mut data = vec![0; 64 << 10];
    loop {
        let count = match from.read(&mut data) {
            Ok(0) => return Ok(ExitCode::SUCCESS),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        // The reader may be gone, and a named pipe may get another one.
        let _ = to.write_all(&data[..count]);
    }
}
