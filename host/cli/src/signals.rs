//! SIGINT, SIGTERM and SIGUSR1, without a thread: a process that forks has only
//! one.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use rustix::process::{Pid, getpid, getppid, set_parent_process_death_signal};
use signal_hook::SigId;
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::flag::{register, register_conditional_shutdown, register_usize};
use signal_hook::low_level::{pipe, unregister};

/// What this process does when a signal comes.
pub struct Signals {
    /// Set in a process that was forked.
    is_child: Arc<AtomicBool>,
    process: Option<Pid>,
    /// Those that this process is told by, and that it tells itself by.
    descriptors: Vec<RawFd>,
}

/// The descriptors that tell of signals by becoming readable.
pub struct Told {
    /// SIGINT or SIGTERM has come, and stays so.
    pub end: OwnedFd,
    /// SIGUSR1 has come, and nobody has taken notice.
    pub attention: OwnedFd,
    /// Who takes notice of it.
    pub print: Asked,
    /// What a second SIGINT or SIGTERM does.
    pub second: Second,
}

/// Whether SIGUSR1 has come.
pub struct Asked {
    /// So that looking for it in each round of the loop is no system call.
    has_come: Arc<AtomicBool>,
    /// Has a byte for each time that it came, from before it was seen.
    told: UnixStream,
}

impl Asked {
    /// Whether it has come since this was last called.
    pub fn take(&self) -> bool {
        if !self.has_come.load(Ordering::Relaxed) {
            return false;
        }
        // One that comes from here on is seen the next time, whatever is read of it.
        self.has_come.store(false, Ordering::SeqCst);
        let flags = RecvFlags::DONTWAIT;
        while recv(&self.told, &mut [0; 64], flags).is_ok_and(|(_, count)| count > 0) {}
        true
    }
}

/// How often to look whether a second signal has come.
const LOOK: Duration = Duration::from_millis(50);

/// What a second SIGINT or SIGTERM does: it ends the process, at once or, where
/// there is something to say before that, as soon as somebody looks.
#[derive(Clone)]
pub struct Second {
    /// What ends the process at once.
    at_once: [SigId; 2],
    /// Whether the next signal is one after which it does.
    seen: Arc<AtomicBool>,
    /// Has a byte for each signal that came.
    told: Arc<UnixStream>,
    /// The number of the last one.
    last: Arc<AtomicUsize>,
}

impl Second {
    /// From now on there may be something to finish after a first signal. Until then
    /// that one ends the process at once, for a handler may take long to be compiled.
    pub fn is_second(&self) {
        self.seen.store(false, Ordering::SeqCst);
    }

    /// From now on it does not end the process at once: somebody will look for it.
    pub fn is_looked_for(&self) {
        for id in self.at_once {
            unregister(id);
        }
    }

    /// Whether there were two signals. What was told of them stays.
    fn has_come(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        matches!(recv(&*self.told, &mut [0; 2], flags), Ok((2, _)))
    }

    /// Waits for `grace`, or until `is_done`, which is given how long it may wait
    /// itself. If there are `last_words`, a second signal that came before or comes
    /// meanwhile ends the process after them.
    pub fn wait(
        &self,
        grace: Duration,
        last_words: Option<&dyn Fn()>,
        mut is_done: impl FnMut(Duration) -> bool,
    ) {
        let Some(last_words) = last_words else {
            is_done(grace);
            return;
        };
        let begun = Instant::now();
        loop {
            let left = grace.saturating_sub(begun.elapsed());
            if is_done(left.min(LOOK)) || left.is_zero() {
                return;
            }
            if self.has_come() {
                last_words();
                let signal = self.last.load(Ordering::SeqCst);
                process::exit(i32::try_from(128 + signal).unwrap_or(1));
            }
        }
    }
}

/// Unblocks all signals, which a program may have inherited blocked: without those
/// of faults a trap of a guest would end the process, and without that of its timer
/// a forked one would not count CPU time.
///
/// And has the two signals do nothing whose defaults, or what this program was
/// started with, would keep it from serving. A file that may not grow (`ulimit -f`)
/// is an error of whoever writes to it, as in CPython, and not the end of the
/// process: guests write files and log lines. Who ignores the end of children, as
/// some parents have their programs do, is not told how they ended.
pub fn endure() -> io::Result<()> {
    SigSet::empty().thread_set_mask()?;
    for signal in [SIGXFSZ, SIGCHLD] {
        register(signal, Arc::default())?;
    }
    Ok(())
}

/// From now on signals are told of. The first SIGINT or SIGTERM ends the process at
/// once, with the exit code that a shell gives to a signal, until somebody says that
/// [the second is to](Second::is_second); and that one does so at once, unless it
/// [is looked for](Second::is_looked_for).
pub fn watch() -> io::Result<(Signals, Told)> {
    let (end, ends) = UnixStream::pair()?;
    let (print, prints) = UnixStream::pair()?;
    let attention = print.try_clone()?;
    let told = end.try_clone()?;
    let is_child = Arc::new(AtomicBool::new(false));
    let seen = Arc::new(AtomicBool::new(true));
    let last = Arc::new(AtomicUsize::new(0));
    let mut descriptors: Vec<RawFd> =
        [&end, &told, &print, &attention, &prints].map(AsRawFd::as_raw_fd).into();
    let has_come = Arc::new(AtomicBool::new(false));
    // In this order: nothing stays readable that nobody will see.
    pipe::register(SIGUSR1, prints)?;
    register(SIGUSR1, Arc::clone(&has_come))?;
    let mut watch = |signal| {
        // In this order: a child does not tell its parent, and the first signal
        // does not find itself seen.
        register_conditional_shutdown(signal, 128 + signal, Arc::clone(&is_child))?;
        let at_once = register_conditional_shutdown(signal, 128 + signal, Arc::clone(&seen))?;
        register_usize(signal, Arc::clone(&last), signal.unsigned_abs() as usize)?;
        register(signal, Arc::clone(&seen))?;
        let ends = ends.try_clone()?;
        descriptors.push(ends.as_raw_fd());
        pipe::register(signal, ends)?;
        io::Result::Ok(at_once)
    };
    let at_once = [watch(SIGINT)?, watch(SIGTERM)?];
    let second = Second { at_once, seen, told: Arc::new(told), last };
    let print = Asked { has_come, told: print };
    let told = Told { end: end.into(), attention: attention.into(), print, second };
    Ok((Signals { is_child, process: Some(getpid()), descriptors }, told))
}

impl Signals {
    /// What a forked process does with signals: SIGTERM ends it, SIGINT and
    /// SIGUSR1, which a terminal or a supervisor sends to all of them, are left to
    /// the parent, and it does not outlive that.
    ///
    /// Errors: the parent is gone.
    pub fn in_child(&self) -> io::Result<()> {
        self.is_child.store(true, Ordering::SeqCst);
        let mut of_parent = SigSet::empty();
        of_parent.add(Signal::SIGINT);
        // What tells of it may be closed here, and its number that of a connection.
        of_parent.add(Signal::SIGUSR1);
        of_parent.thread_block()?;
        set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        if getppid() == self.process {
            Ok(())
        } else {
            Err(io::Error::other("the parent process is gone"))
        }
    }
}

impl Signals {
    /// The descriptors that only this process needs, and none that it forks: a
    /// signal ends those before they would be told.
    pub fn descriptors(&self) -> &[RawFd] {
        &self.descriptors
    }
}

/// Ends the process when `grace` is over after the first signal, whatever still
/// runs, after `last_words`, if there are some: for a server that runs its requests
/// in the thread that serves. When the signal comes, `stop_listening` is called first.
pub fn cut_off(
    signalled: &OwnedFd,
    grace: Duration,
    stop_listening: impl FnOnce() + Send + 'static,
    second: Second,
    last_words: Option<impl Fn() + Send + 'static>,
) -> io::Result<()> {
    let signalled = signalled.try_clone()?;
    thread::Builder::new().name("grace".to_owned()).spawn(move || {
        let mut fds = [PollFd::from_borrowed_fd(signalled.as_fd(), PollFlags::IN)];
        while poll(&mut fds, None) == Err(Errno::INTR) {}
        stop_listening();
        ending(Some(grace));
        let last_words = last_words.as_ref().map(|say| say as &dyn Fn());
        second.wait(grace, last_words, |some| {
            thread::sleep(some);
            false
        });
        still_in_flight(grace);
        if let Some(last_words) = last_words {
            last_words();
        }
        process::exit(0);
    })?;
    Ok(())
}

/// Says that a signal has come, and how long clients that have come are served, if they
/// are waited for.
pub fn ending(grace: Option<Duration>) {
    if let Some(grace) = grace {
        tracing::info!(
            "ending: clients that have come have {grace:?} to be served; another signal ends it now"
        );
    } else {
        tracing::info!("ending: requests in flight are not waited for");
    }
}

/// Says that time was not enough.
pub fn still_in_flight(grace: Duration) {
    tracing::warn!(
        "clients were still being served, or waiting, after {grace:?}; they are cut off"
    );
}
