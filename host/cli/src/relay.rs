//! `relay`: what this program does in the process that it starts to write where writing
//! cannot be told not to wait. That process serves no request, and waits. It is not for
//! people: `--help` does not show it.

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

/// How long it goes on writing when the server has ended.
const LAST: Duration = Duration::from_secs(1);

/// Starts a process that writes to `to`. What is written to the returned pipe, which
/// fails where it would wait, it writes there. It ends when no process has that open any
/// more.
///
/// Errors: it cannot be started.
pub fn start(to: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let (reads, writes) = pipe_with(PipeFlags::CLOEXEC)?;
    fcntl_setfl(&writes, OFlags::NONBLOCK)?;
    #[allow(clippy::zombie_processes, reason = "it ends after this process")]
    Command::new("/proc/self/exe")
        .arg("relay")
        .env_clear()
        .stdin(reads)
        .stdout(to.try_clone_to_owned()?)
        .stderr(Stdio::null())
        .spawn()?;
    Ok(writes)
}

/// Writes to standard output what comes on standard input.
pub fn relay() -> Result<ExitCode> {
    // A terminal or a supervisor sends them to all processes of the server, which has
    // something to say after them.
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
        register(signal, Arc::default()).context("cannot handle signals")?;
    }
    let (stdin, stdout) = (io::stdin(), io::stdout());
    let input = stdin.as_fd().try_clone_to_owned()?;
    // Not `Stdin` and `Stdout`: these have buffers and locks.
    let mut from = File::from(stdin.as_fd().try_clone_to_owned()?);
    let mut to = File::from(stdout.as_fd().try_clone_to_owned()?);
    thread::Builder::new().name("end".to_owned()).spawn(move || {
        // Without any events it returns when there are no writers any more.
        let mut fds = [PollFd::from_borrowed_fd(input.as_fd(), PollFlags::empty())];
        while poll(&mut fds, None) == Err(Errno::INTR) {}
        thread::sleep(LAST);
        exit(1);
    })?;
    let mut data = vec![0; 64 << 10];
    loop {
        let count = match from.read(&mut data) {
            Ok(0) => return Ok(ExitCode::SUCCESS),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        // The reader may have gone, and another may come, as there is for a named pipe.
        let _ = to.write_all(&data[..count]);
    }
}
