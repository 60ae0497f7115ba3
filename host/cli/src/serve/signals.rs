//! SIGINT, SIGTERM and SIGUSR1, without a thread: a process that forks has only one.
//!
//! The actions of each signal are registered with `signal-hook`, which runs them in their
//! order:
//!
//! | signal | while the server starts | while the server serves | in a forked child |
//! |---|---|---|---|
//! | SIGINT, SIGTERM | end the process at once | the first ends the loop, the second the process | are blocked |
//! | SIGUSR1 | has the counters printed when the server serves | has the counters printed | is blocked |

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use rustix::net::{RecvFlags, recv};
use rustix::process::{Pid, getpid, getppid, set_parent_process_death_signal};
use signal_hook::SigId;
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::flag::{register, register_conditional_shutdown, register_usize};
use signal_hook::low_level::{pipe, unregister};

/// The interval at which a deferred second signal is noticed.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// The signals that forked children leave to their parent, because a terminal or a supervisor
/// sends them to all processes. In a child their handlers would also write to descriptors
/// whose numbers may be those of connections.
pub const FOR_PARENT: [i32; 3] = [SIGINT, SIGTERM, SIGUSR1];

/// The signal handlers of this process, as far as forked children must know them.
pub struct SignalHandlers {
    /// The process that installed the handlers.
    process: Option<Pid>,
    /// The descriptors of the handlers and of the [`SignalEvents`].
    descriptors: Vec<RawFd>,
}

/// The events that the signal handlers report.
pub struct SignalEvents {
    /// Becomes readable at SIGINT and SIGTERM, and stays readable.
    pub shutdown: OwnedFd,
    /// Becomes readable at SIGUSR1, until the request to print is taken.
    pub wake: OwnedFd,
    /// The requests to print the counters.
    pub print_requests: PrintRequests,
    /// The second SIGINT or SIGTERM.
    pub second_signal: SecondSignal,
}

/// The requests to print the counters: SIGUSR1.
pub struct PrintRequests {
    /// Set at each signal. So the loop can look in each round without a system call.
    is_pending: Arc<AtomicBool>,
    /// Has a byte for each signal that has not been taken.
    received: UnixStream,
}

impl PrintRequests {
    /// Takes the pending requests. Returns whether there were any.
    pub fn take(&self) -> bool {
        if !self.is_pending.load(Ordering::Relaxed) {
            return false;
        }
        // A signal that comes after this sets the flag again, even if its byte is read below.
        self.is_pending.store(false, Ordering::SeqCst);
        let flags = RecvFlags::DONTWAIT;
        while recv(&self.received, &mut [0; 64], flags).is_ok_and(|(_, count)| count > 0) {}
        true
    }
}

/// The second SIGINT or SIGTERM. It ends the process: at once or, if it is deferred, during
/// [`wait`](SecondSignal::wait).
#[derive(Clone)]
pub struct SecondSignal {
    /// The registered actions that end the process at once.
    exit_actions: [SigId; 2],
    /// True if the next signal ends the process.
    exits: Arc<AtomicBool>,
    /// Has a byte for each signal. The bytes are never read.
    received: Arc<UnixStream>,
    /// The number of the last signal.
    number: Arc<AtomicUsize>,
}

impl SecondSignal {
    /// Lets the first signal end the loop from now on. Until then it ends the process, because
    /// compiling a handler may take long.
    pub fn make_first_graceful(&self) {
        self.exits.store(false, Ordering::SeqCst);
    }

    /// Defers the end at the second signal: only [`wait`](Self::wait) ends the process.
    pub fn defer(&self) {
        for action in self.exit_actions {
            unregister(action);
        }
    }

    /// Returns whether two signals have come.
    fn has_come(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        matches!(recv(&*self.received, &mut [0; 2], flags), Ok((2, _)))
    }

    /// Waits for `grace`, or until `is_done`, which may itself wait for the time that it is
    /// given. With `before_exit`, a second signal that has come or comes meanwhile ends the
    /// process after that was called.
    pub fn wait(
        &self,
        grace: Duration,
        before_exit: Option<&dyn Fn()>,
        mut is_done: impl FnMut(Duration) -> bool,
    ) {
        let Some(before_exit) = before_exit else {
            is_done(grace);
            return;
        };
        let start = Instant::now();
        loop {
            let left = grace.saturating_sub(start.elapsed());
            if is_done(left.min(CHECK_INTERVAL)) || left.is_zero() {
                return;
            }
            if self.has_come() {
                before_exit();
                let signal = self.number.load(Ordering::SeqCst);
                process::exit(i32::try_from(128 + signal).unwrap_or(1));
            }
        }
    }
}

/// Makes signals harmless that this process may have inherited in another state.
///
/// It unblocks all signals, if that is wanted at once. A trap of a guest is a signal of a fault,
/// and would end a process that blocks it; a forked process that blocks the signal of its timer
/// would not count CPU time.
///
/// It handles two signals by doing nothing. SIGXFSZ: writing to a file that may not grow
/// (`ulimit -f`) is then an error, as in CPython, and does not end the process; guests write
/// files and log lines. SIGCHLD: a process that ignores it, as some parents make their
/// children do, does not learn how its children ended.
pub fn reset_inherited(unblocks: bool) -> io::Result<()> {
    if unblocks {
        unblock()?;
    }
    for signal in [SIGXFSZ, SIGCHLD] {
        register(signal, Arc::default())?;
    }
    Ok(())
}

/// Unblocks all signals.
pub fn unblock() -> io::Result<()> {
    Ok(SigSet::empty().thread_set_mask()?)
}

/// Installs the signal handlers. From now on SIGINT and SIGTERM end the process with the exit
/// code that a shell gives to a signal, until
/// [`make_first_graceful`](SecondSignal::make_first_graceful).
pub fn install() -> io::Result<(SignalHandlers, SignalEvents)> {
    let (shutdown, shutdown_writer) = UnixStream::pair()?;
    let (wake, wake_writer) = UnixStream::pair()?;
    let (received, print_received) = (shutdown.try_clone()?, wake.try_clone()?);
    let mut descriptors: Vec<RawFd> =
        [&shutdown, &received, &wake, &print_received, &wake_writer].map(AsRawFd::as_raw_fd).into();

    // The byte comes before the flag: a flag that is taken without its byte would leave the
    // descriptor readable for ever.
    let is_pending = Arc::new(AtomicBool::new(false));
    pipe::register(SIGUSR1, wake_writer)?;
    register(SIGUSR1, Arc::clone(&is_pending))?;

    let exits = Arc::new(AtomicBool::new(true));
    let number = Arc::new(AtomicUsize::new(0));
    let mut install_for = |signal| {
        // The action that exits comes before the one that sets its flag, so that the first
        // signal does not exit.
        let exit = register_conditional_shutdown(signal, 128 + signal, Arc::clone(&exits))?;
        register_usize(signal, Arc::clone(&number), signal.unsigned_abs() as usize)?;
        register(signal, Arc::clone(&exits))?;
        let writer = shutdown_writer.try_clone()?;
        descriptors.push(writer.as_raw_fd());
        pipe::register(signal, writer)?;
        io::Result::Ok(exit)
    };
    let exit_actions = [install_for(SIGINT)?, install_for(SIGTERM)?];

    let events = SignalEvents {
        shutdown: shutdown.into(),
        wake: wake.into(),
        print_requests: PrintRequests { is_pending, received: print_received },
        second_signal: SecondSignal { exit_actions, exits, received: received.into(), number },
    };
    Ok((SignalHandlers { process: Some(getpid()), descriptors }, events))
}

impl SignalHandlers {
    /// Makes a forked child leave the signals in [`FOR_PARENT`] to its parent, and the kernel
    /// kill it when the parent ends. A child of the server has these signals blocked from its
    /// beginning.
    ///
    /// # Errors
    ///
    /// The parent has ended.
    pub fn apply_to_child(&self) -> io::Result<()> {
        let mut for_parent = SigSet::empty();
        for signal in FOR_PARENT {
            for_parent.add(Signal::try_from(signal)?);
        }
        for_parent.thread_block()?;
        set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        if getppid() == self.process {
            Ok(())
        } else {
            Err(io::Error::other("the parent process is gone"))
        }
    }

    /// Returns the descriptors that forked children do not need.
    pub fn descriptors(&self) -> &[RawFd] {
        &self.descriptors
    }
}
