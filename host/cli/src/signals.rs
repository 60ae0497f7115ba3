//! SIGINT, SIGTERM and SIGUSR1, without a thread: a process that forks has only
//! one.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, getpid, getppid, set_parent_process_death_signal};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::flag::{register, register_conditional_shutdown};
use signal_hook::low_level::pipe;

/// What this process does when a signal comes.
pub struct Signals {
    /// Set in a process that was forked.
    is_child: Arc<AtomicBool>,
    process: Option<Pid>,
}

/// From now on the descriptor that is returned becomes readable at the first
/// signal. A second one ends the process at once, with the exit code that a
/// shell gives to a signal.
pub fn watch() -> io::Result<(Signals, OwnedFd)> {
    let (read, write) = UnixStream::pair()?;
    let is_child = Arc::new(AtomicBool::new(false));
    let seen = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: a child does not tell its parent, and the first signal
        // does not find itself seen.
        register_conditional_shutdown(signal, 128 + signal, Arc::clone(&is_child))?;
        register_conditional_shutdown(signal, 128 + signal, Arc::clone(&seen))?;
        register(signal, Arc::clone(&seen))?;
        pipe::register(signal, write.try_clone()?)?;
    }
    Ok((Signals { is_child, process: Some(getpid()) }, read.into()))
}

/// From now on the descriptor that is returned becomes readable at each SIGUSR1.
/// Reading from it does not block.
pub fn user_signal() -> io::Result<OwnedFd> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    pipe::register(SIGUSR1, write)?;
    Ok(read.into())
}

impl Signals {
    /// What a forked process does with signals: SIGTERM ends it, SIGINT, which a
    /// terminal sends to all of them, is left to the parent, and it does not
    /// outlive that.
    ///
    /// Errors: the parent is gone.
    pub fn in_child(&self) -> io::Result<()> {
        self.is_child.store(true, Ordering::SeqCst);
        let mut interrupt = SigSet::empty();
        interrupt.add(Signal::SIGINT);
        interrupt.thread_block()?;
        set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        if getppid() == self.process {
            Ok(())
        } else {
            Err(io::Error::other("the parent process is gone"))
        }
    }
}

/// Ends the process when `grace` is over after the first signal, whatever still
/// runs, after `last_words`: for a server that runs its requests in the thread
/// that serves.
pub fn cut_off(
    signalled: &OwnedFd,
    grace: Duration,
    last_words: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let signalled = signalled.try_clone()?;
    thread::Builder::new().name("grace".to_owned()).spawn(move || {
        let mut fds = [PollFd::from_borrowed_fd(signalled.as_fd(), PollFlags::IN)];
        while poll(&mut fds, None) == Err(Errno::INTR) {}
        ending(grace);
        thread::sleep(grace);
        still_in_flight(grace);
        last_words();
        process::exit(0);
    })?;
    Ok(())
}

/// Says that a signal has come.
pub fn ending(grace: Duration) {
    tracing::info!(
        "ending: requests in flight have {grace:?} to finish; another signal ends them now"
    );
}

/// Says that time was not enough.
pub fn still_in_flight(grace: Duration) {
    tracing::warn!("requests were still in flight after {grace:?}; they are cut off");
}
